"""Synthetic lumbar-spine MRI from label maps."""

if __name__ != "synthspine.gen":
    raise ImportError("this package is imported as synthspine.gen, not as gen")


from typing import TYPE_CHECKING

from synthspine.lazy import on_first_use

if TYPE_CHECKING:
    from synthspine.gen.config import (
        GeneratorConfig,
        config_diff,
        config_from_text,
        config_to_json,
        config_to_yaml,
    )
    from synthspine.gen.core.schemes import LabelScheme, label_scheme
    from synthspine.gen.dataset import SpineSynthGenerator, SyntheticDataset, SyntheticStream
    from synthspine.gen.generator import draw, render
    from synthspine.gen.params import Params
    from synthspine.gen.phantom.series import phantom_series
    from synthspine.gen.presets import preset

__all__ = [
    "GeneratorConfig",
    "LabelScheme",
    "Params",
    "SpineSynthGenerator",
    "SyntheticDataset",
    "SyntheticStream",
    "config_diff",
    "config_from_text",
    "config_to_json",
    "config_to_yaml",
    "draw",
    "label_scheme",
    "phantom_series",
    "preset",
    "render",
]

__getattr__ = on_first_use(__name__)
