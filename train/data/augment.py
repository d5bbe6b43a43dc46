"""Augmentation of real images for Model B, with kornia's functional layer.

Ordinary: small affine motion, brightness, contrast, gamma, mild blur and noise, about what nnU-Net does by
default, and no change of contrast between tissues. Strong: also random monotone curves, inversion, bias
fields and coarser resolution, which make one contrast look like others. Parameters are drawn here per sample,
as functions of (seed, position); whole batches are processed and nothing waits for the device.
"""

from dataclasses import dataclass, field

import torch
from kornia.enhance import adjust_brightness, adjust_contrast, adjust_gamma
from kornia.filters import filter2d_separable, get_gaussian_kernel1d
from kornia.geometry.conversions import normalize_homography
from kornia.geometry.transform import get_affine_matrix2d, remap
from torch import Tensor
from torch.nn.functional import affine_grid

from synthspine.gen.core.anatomy import IGNORE
from synthspine.gen.core.counter_rng import SampleRandom, normal_field, sample_keys
from synthspine.gen.core.drawing import Drawing
from synthspine.gen.scanner.display import (
    CurveConfig,
    InversionConfig,
    apply_curve,
    invert,
)
from synthspine.gen.scanner.shading import BiasConfig, add_bias

BLUR_PIXELS = 9
"""Width of the window of the blur."""
MIDDLE_GREY = 0.5


@dataclass(frozen=True, kw_only=True, slots=True)
class AugmentConfig:
    """Ranges, ``(low, high)`` of a uniform distribution; the defaults are the ordinary augmentation."""

    rotation_deg: tuple[float, float] = (-15.0, 15.0)
    scale: tuple[float, float] = (0.85, 1.15)
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
    noise: tuple[float, float] = (0.0, 0.05)
    """Standard deviation of the noise."""
    coarse_probability: float = 0.0
    """Share of samples that are made coarser and interpolated back."""
    coarse: tuple[float, float] = (1.0, 4.0)
    """Factor on their pixel size."""
    bias: BiasConfig = field(default_factory=lambda: BiasConfig(probability=0.0))
    """Bias field; its lengths count pixels."""
    curve: CurveConfig = field(default_factory=lambda: CurveConfig(probability=0.0))
    inversion: InversionConfig = field(default_factory=InversionConfig)


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
        seed: of the run.
        positions: place of each sample in the stream, int64, shape ``(B,)``, on the device of the images.
        config: ranges to draw from.

    Returns:
        Images and labels of the same shapes and types; label 255 and image 0 where the scan does not reach.
    """
    random = Drawing(sample_keys(seed, positions))
    images, labels = _move(images, labels, random, config)
    sigma = random.uniform("blur", *config.blur_pixels)
    # So small a width changes nothing.
    images = _blur(images, torch.where(random.chance("blurred", config.blur_probability), sigma, 1e-2))
    if config.coarse_probability > 0:
        factors = random.uniform("coarse", *config.coarse)
        coarser = random.chance("coarser", config.coarse_probability)
        images = _coarsen(images, torch.where(coarser, factors, 1.0))
    bias = config.bias.draw(random)
    images = add_bias(images.squeeze(1), bias, (1.0, 1.0)).unsqueeze(1)
    contrast = random.uniform("contrast", *config.contrast)
    images = adjust_contrast(images - MIDDLE_GREY, contrast, clip_output=False)
    brightness = random.uniform("brightness", *config.brightness)
    images = adjust_brightness(images, brightness + MIDDLE_GREY, clip_output=True)
    gamma = random.uniform("gamma", *config.log_gamma).exp()
    images = adjust_gamma(images, gamma, gain=torch.ones_like(gamma))
    images = apply_curve(images, config.curve.draw(random))
    images = invert(images, config.inversion.draw(random))
    pixels = images.shape[-2] * images.shape[-1]
    noise = normal_field(random.key("noise field"), "noise field", pixels).view_as(images)
    noise_std = random.uniform("noise", *config.noise).view(-1, 1, 1, 1)
    images = (images + noise * noise_std).clamp(0, 1)
    return images * (labels != IGNORE).unsqueeze(1), labels


def _move(
    images: Tensor, labels: Tensor, random: SampleRandom, config: AugmentConfig
) -> tuple[Tensor, Tensor]:
    """Rotate, magnify and shift images (bilinear) and labels (nearest neighbour); pixels are square."""
    height, width = images.shape[-2:]
    angle_deg = random.uniform("rotation", *config.rotation_deg)
    scale = random.uniform("scale", *config.scale)
    shift = random.uniform("shift", *config.shift, shape=(2,)) * height
    centre = torch.stack((torch.full_like(scale, width - 1), torch.full_like(scale, height - 1)), dim=1) / 2
    # The matrix leads from the pixels of the result to those of the source, so that none is inverted.
    matrix = get_affine_matrix2d(shift, centre, (1 / scale).unsqueeze(1).expand(-1, 2), angle_deg)
    matrix = normalize_homography(matrix, (height, width), (height, width), align_corners=False)[:, :2]
    columns, rows = affine_grid(matrix, list(images.shape), align_corners=False).unbind(-1)
    images = remap(images, columns, rows, "bilinear", align_corners=False, normalized_coordinates=True)
    # Shifted by 255, so that the zeros outside of the scan come back as "not annotated".
    shifted = labels.unsqueeze(1).float() - IGNORE
    moved = remap(shifted, columns, rows, "nearest", align_corners=False, normalized_coordinates=True)
    return images, (moved + IGNORE).squeeze(1).to(torch.uint8)


def _blur(images: Tensor, sigma: Tensor) -> Tensor:
    """Gaussian blur with its own width per sample, edges repeated."""
    # kornia's gaussian_blur2d reads sigma on the host.
    kernel = get_gaussian_kernel1d(BLUR_PIXELS, sigma.unsqueeze(1))
    return filter2d_separable(images, kernel, kernel, "replicate")


def _coarsen(images: Tensor, factors: Tensor) -> Tensor:
    """Fewer pixels, each a triangular mean of what it covers, interpolated back linearly.

    The pixels of images ``(B, 1, H, W)`` become larger by ``factors``, ``(B,)``; their number is rounded.
    """
    height, width = images.shape[-2:]
    down_rows, rows = _resampling(height, factors)
    down_columns, columns = _resampling(width, factors)
    means = down_rows.unsqueeze(1) @ images @ down_columns.mT.unsqueeze(1)
    shape = (-1, height, width)
    maps = columns.unsqueeze(1).expand(shape), rows.unsqueeze(2).expand(shape)
    return remap(means, *maps, "bilinear", align_corners=False, normalized_coordinates=True)


def _resampling(size: int, factors: Tensor) -> tuple[Tensor, Tensor]:
    """How an axis is made coarser and interpolated back.

    Returns:
        Weights of the pixels in every coarse pixel, shape ``(B, size, size)``, those of
        ``torch.nn.functional.interpolate`` with antialiasing; rows beyond the coarse pixels are not used.
        Where every pixel lies among the coarse ones, shape ``(B, size)``, as ``grid_sample`` counts.
    """
    coarse = (size / factors).round().clamp(min=1).unsqueeze(1)
    centres = torch.arange(size, device=factors.device) + 0.5
    # Centres of the pixels in units of coarse pixels.
    places = centres * (coarse / size)
    weights = (1 - (places.unsqueeze(1) - centres.unsqueeze(1)).abs_()).clamp_(min=0)
    weights /= weights.sum(dim=2, keepdim=True).clamp_(min=1e-6)
    return weights, places.clamp(min=0.5).minimum(coarse - 0.5) * (2 / size) - 1
