"""Partial volume: a pixel at a border holds some of both tissues."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from synthspine.gen.core.counter_rng import SampleRandom
from synthspine.gen.core.feature import Batch, Range, check, check_within
from synthspine.gen.core.filters import gaussian_blur

REACH_MM = 2.0
"""Where the kernel ends: at least 2.5 standard deviations."""
WIDEST_MM = 0.8


@dataclass(frozen=True, kw_only=True, slots=True)
class PartialVolumeConfig:
    """Blur of the tissue means, before their texture."""

    probability: float = 0.8
    """Probability of partial volume."""
    sigma_mm: Range = (0.3, 0.7)
    """Standard deviation of the Gaussian that mixes neighbouring tissues, mm.

    A pixel's own width has the standard deviation of a box, 0.29 of its spacing; below a third of the
    spacing the sampled Gaussian mixes nothing.
    """

    def __post_init__(self) -> None:
        check(self)
        check_within(self, sigma_mm=(0.0, WIDEST_MM))


@dataclass(frozen=True, kw_only=True, slots=True)
class PartialVolumeParams(Batch):
    """Blur of the tissue means.

    Attributes:
        sigma_mm: standard deviation, mm, the same along every axis, ``(B,)``; 0 leaves the sample as it is.
    """

    sigma_mm: Tensor


def draw_partial_volume(config: PartialVolumeConfig, random: SampleRandom) -> PartialVolumeParams | None:
    """Draw the blur; None if there is never any."""
    if config.probability == 0 or config.sigma_mm[1] == 0:
        return None
    on = random.chance("partial_volume_on", config.probability)
    sigma_mm = random.uniform("partial_volume_mm", *config.sigma_mm)
    return PartialVolumeParams(sigma_mm=torch.where(on, sigma_mm, 0.0))


def blur_tissues(image: Tensor, params: PartialVolumeParams | None, spacing_mm: Sequence[float]) -> Tensor:
    """Mix neighbouring tissues; constant areas stay what they are.

    Args:
        image: tissue means without texture, float32 ``(B, *grid)``.
        params: what was drawn; None returns the image.
        spacing_mm: grid spacing per axis, mm.

    Returns:
        Image, ``(B, *grid)``.
    """
    if params is None:
        return image
    sigma_mm = params.sigma_mm.unsqueeze(1).expand(-1, len(spacing_mm))
    return gaussian_blur(image, sigma_mm, spacing_mm, REACH_MM)
