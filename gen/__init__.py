"""Synthetic lumbar-spine MRI from label maps."""

from gen.anatomy import LabelScheme, label_scheme
from gen.config import GeneratorConfig
from gen.config_text import config_diff, config_from_text, config_to_json, config_to_yaml
from gen.dataset import SpineSynthGenerator, SyntheticDataset
from gen.generator import draw, render
from gen.params import Params
from gen.phantom import phantom_series
from gen.presets import preset
from gen.stream import SyntheticStream

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
