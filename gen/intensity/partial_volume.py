"""Partial volume: a pixel at a border holds some of both tissues."""

from dataclasses import dataclass

import torch
from torch import Tensor

from synthspine.gen.core.counter_rng import SampleRandom
from synthspine.gen.core.drawing import Feature, showcase
from synthspine.gen.core.feature import Batch, Range, Spacing, within
from synthspine.gen.core.filters import gaussian_blur

REACH_MM = 2.0
"""Reach of the kernel: at least 2.5 standard deviations."""
WIDEST_MM = 0.8


@dataclass(frozen=True, kw_only=True, slots=True)
class PartialVolumeParams(Batch):
    """Standard deviation of the blur, mm, the same along every axis, ``(B,)``; 0 for none."""

    sigma_mm: Tensor


@dataclass(frozen=True, kw_only=True, slots=True)
class PartialVolumeConfig(Feature[PartialVolumeParams]):
    """Blur of the tissue means, before their texture."""

    probability: float = 0.8
    """Probability of partial volume."""
    sigma_mm: Range = (0.3, 0.7)
    """Standard deviation of the Gaussian that mixes neighbouring tissues, mm; below a third of the grid
    spacing it mixes nothing."""

    bounds = within(sigma_mm=(0.0, WIDEST_MM))
    shown = showcase(
        "middle_disc",
        sigma_mm=(0.7, 0.7),
        also={"cortex": {"probability": 0.0, "end_plate_probability": 0.0}},
    )

    def never(self) -> bool:
        """Whether the configuration leaves it out."""
        return self.probability == 0 or self.sigma_mm[1] == 0

    def sample(self, random: SampleRandom) -> PartialVolumeParams:
        """Draw the blur."""
        on = random.chance("partial_volume_on", self.probability)
        sigma_mm = random.uniform("partial_volume_mm", *self.sigma_mm)
        return PartialVolumeParams(sigma_mm=torch.where(on, sigma_mm, 0.0))


def blur_tissues(image: Tensor, params: PartialVolumeParams | None, spacing_mm: Spacing) -> Tensor:
    """Mix neighbouring tissues of an image of tissue means; constant areas stay as they are."""
    if params is None:
        return image
    sigma_mm = params.sigma_mm.unsqueeze(1).expand(-1, len(spacing_mm))
    return gaussian_blur(image, sigma_mm, spacing_mm, REACH_MM)
