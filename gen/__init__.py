"""Synthetic lumbar-spine MRI from label maps."""

from gen.anatomy import LabelScheme, label_scheme
from gen.config import GeneratorConfig
from gen.dataset import SpineSynthGenerator, SyntheticDataset
from gen.generator import draw, render
from gen.params import Params
from gen.phantom import phantom_series
from gen.presets import preset

__all__ = [
    "GeneratorConfig",
    "LabelScheme",
    "Params",
    "SpineSynthGenerator",
    "SyntheticDataset",
    "draw",
    "label_scheme",
    "phantom_series",
    "preset",
    "render",
]
