"""Named configurations."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from synthspine.gen.config import GeneratorConfig, config_from_text, plain
from synthspine.gen.core.documents import MOST_YAML_BYTES, UnfitFile, read_text
from synthspine.gen.core.feature import Range
from synthspine.gen.geometry.affine import AffineConfig
from synthspine.gen.geometry.deformation import DeformationConfig
from synthspine.gen.geometry.flip import FlipConfig
from synthspine.gen.intensity.contrast import ContrastConfig, measured_contrast
from synthspine.gen.intensity.texture import TextureConfig
from synthspine.gen.scanner.acquisition import ResolutionConfig
from synthspine.gen.scanner.display import GammaConfig
from synthspine.gen.scanner.shading import BiasConfig

CONFIG_SUFFIXES = (".yaml", ".yml", ".json")
MOTION_PROBABILITY = 0.3
"""Probability of motion in k-space, and of motion blur, where motion is requested."""


def _synthseg() -> GeneratorConfig:
    """The generator of SynthSeg with its published numbers, nothing of the spine's anatomy.

    Source: Billot et al. 2023, Table 1 and the public code: grey values there go to 255 (clipped at 300),
    lengths are voxels of 1 mm, and the coarse grids of deformation and bias (0.04 and 0.025 of the shape)
    are written here as correlation lengths for 256 voxels: half the distance of their nodes, for the bias the
    least that a field can have (24 mm instead of 20).
    """
    return replace(
        plain(GeneratorConfig()),
        affine=AffineConfig(
            scale=(0.8, 1.2),
            rotation_deg=(-15.0, 15.0),
            tilt_deg=(-15.0, 15.0),
            shear=(-0.012, 0.012),
            translation_mm=(0.0, 0.0),
        ),
        deformation=DeformationConfig(velocity_mm=(0.0, 4.0), velocity_correlation_mm=(12.5, 12.5)),
        flip=FlipConfig(left_right_probability=0.5),
        contrast=ContrastConfig(
            random_weight=1.0,
            measured_weight=0.0,
            physical_weight=0.0,
            random_mean=(0.0, 250 / 255),
            dark_air_probability=0.0,
            instance_jitter=(0.0, 0.0),
        ),
        texture=TextureConfig(
            strength=(0.0, 30 / 255), correlated=(0.0, 0.0), marrow=(0.0, 0.0), air_factor=1.0
        ),
        bias=BiasConfig(probability=0.95, log_std=(0.0, 0.7), correlation_mm=(24.0, 24.0)),
        gamma=GammaConfig(log_gamma=(0.0, 0.0), normal_std=0.5, before_acquisition=True),
        resolution=ResolutionConfig(
            native_probability=0.05,
            isotropic_probability=0.1,
            isotropic=(1.0, 4.0),
            single_axis=(1.0, 8.0),
            uniform_in="factor",
            thickness_from="grid_to_spacing",
            sigma_per_thickness=0.75,
            native_sigma=0.5,
        ),
    )


PRESETS: dict[str, GeneratorConfig] = {
    "spine": GeneratorConfig(),
    "random": GeneratorConfig(
        contrast=ContrastConfig(random_weight=1.0, measured_weight=0.0, physical_weight=0.0)
    ),
    "t1": GeneratorConfig(contrast=measured_contrast(0.0)),
    "t2": GeneratorConfig(contrast=measured_contrast(1.0)),
    "synthseg": _synthseg(),
}


def preset(name: str, *, spacing_mm: float = GeneratorConfig().spacing_mm) -> GeneratorConfig:
    """The configuration of that name: ``spine`` (for training), ``random``, ``t1``, ``t2`` or ``synthseg``.

    Args:
        name: name of the preset; upper case is fine.
        spacing_mm: in-plane spacing of the label maps it will be used on, mm.

    Raises:
        TypeError: the name is not text.
        ValueError: no such preset.
    """
    if not isinstance(name, str):
        raise TypeError(f"the name of a preset is text, not {name!r}")
    if name.lower() not in PRESETS:
        raise ValueError(f"no preset is called {name!r}; there are {', '.join(PRESETS)}")
    return replace(PRESETS[name.lower()], spacing_mm=spacing_mm)


def preset_or_file(name: str, *, spacing_mm: float) -> GeneratorConfig:
    """The preset of that name, or ``spine`` with the changes of a YAML or JSON file; as :func:`preset`.

    Raises:
        OSError: the file cannot be read.
        ValueError: no such preset, or a file with an unknown setting, or a value of the wrong kind or out of
            bounds.
    """
    if Path(name).suffix not in CONFIG_SUFFIXES:
        return preset(name, spacing_mm=spacing_mm)
    try:
        config = config_from_text(read_text(Path(name), MOST_YAML_BYTES), preset("spine"))
    except UnfitFile as error:
        raise UnfitFile(f"{name}: {error}") from None
    except (TypeError, ValueError) as error:
        raise ValueError(f"{name}: {error}") from error
    return replace(config, spacing_mm=spacing_mm)


def switched_preset(
    contrast_type: str, resolution_range: Range, add_bias_field: bool, add_noise: bool, add_motion: bool
) -> GeneratorConfig:
    """A preset with its range of acquired spacing, and bias field, noise and motion on or off.

    Arguments as in ``gen.dataset.SpineSynthGenerator``.

    Raises:
        TypeError: an argument of another kind.
        ValueError: no such preset, or a range that is empty or out of bounds.
    """
    if not isinstance(contrast_type, str):
        raise TypeError(f"contrast_type is {contrast_type!r}; want the name of a preset")
    config = preset(contrast_type)
    switches = {"add_bias_field": add_bias_field, "add_noise": add_noise, "add_motion": add_motion}
    for name, switch in switches.items():
        if not isinstance(switch, bool | np.bool_):
            raise TypeError(f"{name} is {switch!r}; want true or false")
    if not isinstance(resolution_range, Sequence) or len(resolution_range) != 2:
        raise ValueError(f"resolution_range is {resolution_range}; want (least, greatest) factor")
    least, greatest = resolution_range
    resolution = replace(config.resolution, isotropic=(least, greatest), single_axis=(least, greatest))
    if least > 1:
        resolution = replace(resolution, native_probability=0.0)
    config = replace(config, resolution=resolution)
    if not add_bias_field:
        config = replace(config, bias=_never(config.bias), coil=_never(config.coil))
    if not add_noise:
        config = replace(config, noise=_never(config.noise))
    motion = MOTION_PROBABILITY if add_motion else 0.0
    return replace(
        config,
        kspace_motion=replace(config.kspace_motion, probability=motion),
        motion_blur=replace(config.motion_blur, probability=motion),
    )


def _never(feature: Any) -> Any:
    return replace(feature, probability=0.0)
