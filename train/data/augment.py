"""Augmentation of real images: what Model B gets instead of a generator.

Ordinary: small affine motion, brightness, contrast, gamma, mild blur and noise, about what nnU-Net does by
default, and no change of contrast between tissues. Strong: also random monotone curves, inversion, bias
fields and coarser resolution, which make one contrast look like others. A draw is a function of (seed,
position) alone.
"""

import math
from dataclasses import dataclass, field

import torch
import torch.nn.functional as functional
from torch import Tensor

from synthspine.gen.core.anatomy import IGNORE
from synthspine.gen.core.counter_rng import SampleRandom, normal_field, sample_keys
from synthspine.gen.scanner.display import (
    CurveConfig,
    InversionConfig,
    apply_curve,
    draw_curve,
    draw_inversion,
    invert,
)
from synthspine.gen.scanner.shading import BiasConfig, add_bias, draw_bias

BLUR_REACH_PIXELS = 4
MIDDLE_GREY = 0.5


@dataclass(frozen=True, kw_only=True, slots=True)
class AugmentConfig:
    """Ranges, ``(low, high)`` of a uniform distribution; the defaults are the ordinary augmentation."""

    rotation_deg: tuple[float, float] = (-15.0, 15.0)
    """Rotation in the plane, degrees."""
    scale: tuple[float, float] = (0.85, 1.15)
    """Magnification."""
    shift: tuple[float, float] = (-0.05, 0.05)
    """Shift, share of the height of the grid."""
    brightness: tuple[float, float] = (-0.1, 0.1)
    """Added to the intensity."""
    contrast: tuple[float, float] = (0.75, 1.3)
    """Factor about middle grey."""
    log_gamma: tuple[float, float] = (-0.4, 0.4)
    """Logarithm of the exponent."""
    blur_pixels: tuple[float, float] = (0.3, 1.2)
    """Standard deviation of the blur, pixels."""
    blur_probability: float = 0.3
    """Share of samples that are blurred."""
    noise: tuple[float, float] = (0.0, 0.05)
    """Standard deviation of the noise."""
    coarse_probability: float = 0.0
    """Share of samples that are made coarser and interpolated back."""
    coarse: tuple[float, float] = (1.0, 4.0)
    """Factor on their pixel size."""
    bias: BiasConfig = field(default_factory=lambda: BiasConfig(probability=0.0))
    """Bias field; its lengths count pixels."""
    curve: CurveConfig = field(default_factory=lambda: CurveConfig(probability=0.0))
    """Random monotone contrast curve."""
    inversion: InversionConfig = field(default_factory=InversionConfig)
    """Bright becomes dark."""


AUGMENTATIONS = {
    "ordinary": AugmentConfig(),
    "strong": AugmentConfig(
        contrast=(0.65, 1.35),
        log_gamma=(-0.5, 0.5),
        noise=(0.0, 0.08),
        coarse_probability=0.5,
        bias=BiasConfig(),
        curve=CurveConfig(probability=0.7),
        inversion=InversionConfig(probability=0.3),
    ),
}
"""What ``--augmentation`` names."""


def augment(
    images: Tensor, labels: Tensor, seed: int, positions: Tensor, config: AugmentConfig
) -> tuple[Tensor, Tensor]:
    """Augment a batch.

    Args:
        images: float32 in [0, 1], shape ``(B, 1, H, W)``.
        labels: dense codes, uint8, shape ``(B, H, W)``.
        seed: seed of the run.
        positions: place of each sample in the stream, int64, shape ``(B,)``, on the device of the images.
        config: ranges.

    Returns:
        Images and labels of the same shapes and types; label 255 and image 0 where the scan does not reach.
    """
    random = SampleRandom(sample_keys(seed, positions))
    grid = _sampling_grid(random, images.shape, config)
    images = functional.grid_sample(images, grid, mode="bilinear", align_corners=False)
    # Shifted by 255, so that the zeros outside of the scan come back as "not annotated".
    shifted = labels.unsqueeze(1).float() - IGNORE
    moved = functional.grid_sample(shifted, grid, mode="nearest", align_corners=False) + IGNORE
    labels = moved.squeeze(1).to(torch.uint8)

    images = _blur(images, _blur_widths(random, config))
    images = _coarsen(images, _coarse_factors(random, config))
    bias = draw_bias(config.bias, random)
    images = add_bias(images.squeeze(1), bias, (1.0, 1.0)).unsqueeze(1)
    images = (images - MIDDLE_GREY) * _column(random.uniform("contrast", *config.contrast)) + MIDDLE_GREY
    images = images + _column(random.uniform("brightness", *config.brightness))
    gamma = _column(random.uniform("gamma", *config.log_gamma)).exp()
    images = images.clamp(0, 1).pow(gamma)
    images = invert(
        apply_curve(images, draw_curve(config.curve, random)), draw_inversion(config.inversion, random)
    )
    pixels = images.shape[-2] * images.shape[-1]
    noise = normal_field(random.key("noise field"), "noise field", pixels).view_as(images)
    images = (images + noise * _column(random.uniform("noise", *config.noise))).clamp(0, 1)
    return images * (labels != IGNORE).unsqueeze(1), labels


def _column(values: Tensor) -> Tensor:
    return values.view(-1, 1, 1, 1)


def _sampling_grid(random: SampleRandom, shape: torch.Size, config: AugmentConfig) -> Tensor:
    """Where each pixel is taken from, in the coordinates of ``grid_sample``; pixels are square."""
    height, width = shape[-2:]
    angle = random.uniform("rotation", *config.rotation_deg) * (math.pi / 180)
    scale = random.uniform("scale", *config.scale)
    shift = random.uniform("shift", *config.shift, shape=(2,)) * 2
    cosine, sine = angle.cos() / scale, angle.sin() / scale
    aspect = height / width
    rows = (
        torch.stack((cosine, -sine * aspect, shift[:, 0] * aspect), dim=1),
        torch.stack((sine / aspect, cosine, shift[:, 1]), dim=1),
    )
    return functional.affine_grid(torch.stack(rows, dim=1), list(shape), align_corners=False)


def _blur_widths(random: SampleRandom, config: AugmentConfig) -> Tensor:
    """Standard deviations in pixels, shape (B,); so small that nothing happens where there is no blur."""
    widths = random.uniform("blur", *config.blur_pixels)
    return torch.where(random.chance("blurred", config.blur_probability), widths, 1e-2)


def _blur(images: Tensor, sigma: Tensor) -> Tensor:
    """Gaussian blur with its own width per sample, edges repeated."""
    offsets = torch.arange(-BLUR_REACH_PIXELS, BLUR_REACH_PIXELS + 1, device=images.device)
    taps = torch.exp(-0.5 * (offsets / sigma.unsqueeze(1)) ** 2)
    taps = taps / taps.sum(dim=1, keepdim=True)
    padded = functional.pad(images, [BLUR_REACH_PIXELS] * 4, mode="replicate").transpose(0, 1)
    batch = len(images)
    rows = functional.conv2d(padded, taps.view(batch, 1, -1, 1), groups=batch)
    return functional.conv2d(rows, taps.view(batch, 1, 1, -1), groups=batch).transpose(0, 1)


def _coarse_factors(random: SampleRandom, config: AugmentConfig) -> list[float]:
    """Factor on the pixel size of every sample; empty where none is ever coarser."""
    if config.coarse_probability == 0:
        return []
    factors = random.uniform("coarse", *config.coarse)
    drawn: list[float] = torch.where(
        random.chance("coarser", config.coarse_probability), factors, 1.0
    ).tolist()
    return drawn


def _coarsen(images: Tensor, factors: list[float]) -> Tensor:
    """Fewer pixels, each the mean of what it covers, interpolated back; no factors leave all as they are."""
    if not factors:
        return images
    size = images.shape[-2:]
    coarser = []
    for image, factor in zip(images.split(1), factors, strict=True):
        small = [max(1, round(side / factor)) for side in size]
        means = functional.interpolate(image, small, mode="bilinear", antialias=True, align_corners=False)
        coarser.append(functional.interpolate(means, list(size), mode="bilinear", align_corners=False))
    return torch.cat(coarser)
