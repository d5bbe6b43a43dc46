"""SynthSpine: segment lumbar-spine MRI with networks that never saw a real image.

The four packages are ``synthspine.gen``, ``synthspine.shards``, ``synthspine.train`` and ``synthspine.eval``;
each imports only from those before it. Their public names, and the ones below, are loaded on first use.
"""

from typing import TYPE_CHECKING

from synthspine.lazy import on_first_use

if TYPE_CHECKING:
    from synthspine.eval import evaluate_model, segment_scan
    from synthspine.gen import SpineSynthGenerator, SyntheticDataset, SyntheticStream, preset
    from synthspine.train import UNet, load_model

__all__ = [
    "SpineSynthGenerator",
    "SyntheticDataset",
    "SyntheticStream",
    "UNet",
    "evaluate_model",
    "load_model",
    "preset",
    "segment_scan",
]

__getattr__ = on_first_use(__name__)


def __dir__() -> list[str]:
    """The public names, for completion in notebooks."""
    return __all__
