"""SynthSpine: segment lumbar-spine MRI with networks that never saw a real image.

The four packages are ``synthspine.gen``, ``synthspine.shards``, ``synthspine.train`` and ``synthspine.eval``;
each imports only from those before it. The names below are loaded on first use, so that importing the
generator does not import the evaluation.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from synthspine.eval import evaluate_model
    from synthspine.gen import SpineSynthGenerator, SyntheticDataset, SyntheticStream, preset
    from synthspine.train import UNet, load_model

_PACKAGE_OF = {
    "SpineSynthGenerator": "gen",
    "SyntheticDataset": "gen",
    "SyntheticStream": "gen",
    "preset": "gen",
    "UNet": "train",
    "load_model": "train",
    "evaluate_model": "eval",
}

__all__ = [
    "SpineSynthGenerator",
    "SyntheticDataset",
    "SyntheticStream",
    "UNet",
    "evaluate_model",
    "load_model",
    "preset",
]


def __getattr__(name: str) -> Any:
    """Load a public name from its package."""
    if name not in _PACKAGE_OF:
        raise AttributeError(f"module 'synthspine' has no attribute {name!r}")
    return getattr(import_module(f"synthspine.{_PACKAGE_OF[name]}"), name)
