"""Shading: slow changes of brightness across the image, by a bias field and by a surface coil."""

from dataclasses import dataclass

import torch
from torch import Tensor

from synthspine.gen.core.counter_rng import SampleRandom
from synthspine.gen.core.drawing import Feature, showcase
from synthspine.gen.core.feature import Batch, Range, Spacing, within
from synthspine.gen.core.filters import smooth_field
from synthspine.gen.core.masks import per_sample

FINEST_BIAS_MM = 24.0
"""Least correlation length of the bias field: it is drawn on a grid this coarse."""
WIDEST_BIAS = 5
"""Greatest correlation length, as a multiple of the least."""
_STEEPNESS = 4.0
"""A logistic step climbs from 12 to 88 % of its height over ``width_mm``."""


@dataclass(frozen=True, kw_only=True, slots=True)
class BiasParams(Batch):
    """Bias field; ``key`` is that of its random numbers, int32 ``(B, 2)``."""

    key: Tensor
    log_std: Tensor
    correlation_mm: Tensor


@dataclass(frozen=True, kw_only=True, slots=True)
class BiasConfig(Feature[BiasParams]):
    """Bias field: the exponential of a smooth Gaussian random field."""

    probability: float = 0.9
    """Probability of a bias field."""
    log_std: Range = (0.0, 0.35)
    """Standard deviation of the logarithm of the field."""
    correlation_mm: Range = (40.0, 120.0)
    """Correlation length of the field, mm."""

    bounds = within(log_std=(0.0, 3.0), correlation_mm=(FINEST_BIAS_MM, WIDEST_BIAS * FINEST_BIAS_MM))
    shown = showcase(log_std=(0.5, 0.5), correlation_mm=(60.0, 60.0))

    def sample(self, random: SampleRandom) -> BiasParams:
        """Draw the bias field."""
        on = random.chance("bias", self.probability)
        return BiasParams(
            key=random.key("bias_field"),
            log_std=random.uniform("bias_log_std", *self.log_std) * on,
            correlation_mm=random.uniform("bias_correlation", *self.correlation_mm),
        )


@dataclass(frozen=True, kw_only=True, slots=True)
class CoilParams(Batch):
    """Fall-off of the signal; ``floor`` is 1 for none."""

    floor: Tensor
    half_mm: Tensor
    width_mm: Tensor


@dataclass(frozen=True, kw_only=True, slots=True)
class CoilConfig(Feature[CoilParams]):
    """Surface coil behind the back, or saturation band in front of the spine: less signal in front."""

    probability: float = 0.7
    """Probability of a fall-off."""
    floor: Range = (0.0, 0.6)
    """Share of the signal that is left far in front."""
    half_mm: Range = (45.0, 110.0)
    """Distance in front of the canal's middle at which half of the loss is reached, mm."""
    width_mm: Range = (3.0, 50.0)
    """Width of the fall-off, mm; narrow is a saturation band."""

    bounds = within("floor", width_mm=(0.1, 1e6))
    along_spine = True
    shown = showcase(floor=(0.1, 0.1), width_mm=(20.0, 30.0))

    def sample(self, random: SampleRandom) -> CoilParams:
        """Draw the fall-off."""
        on = random.chance("coil", self.probability)
        return CoilParams(
            floor=torch.where(on, random.uniform("coil_floor", *self.floor), 1.0),
            half_mm=random.uniform("coil_half", *self.half_mm),
            width_mm=random.uniform("coil_width", *self.width_mm),
        )


def add_bias(image: Tensor, bias: BiasParams | None, spacing_mm: Spacing) -> Tensor:
    """Multiply by ``exp(log_std * field)``; the field has mean 0 and variance 1 at every point."""
    if bias is None:
        return image
    size_mm, grid = bias.correlation_mm, image.shape[1:]
    field = smooth_field(bias.key, "bias", grid, spacing_mm, size_mm, FINEST_BIAS_MM, WIDEST_BIAS)
    return image * (field * per_sample(bias.log_std, image)).exp_()


def add_coil(image: Tensor, coil: CoilParams | None, behind_mm: Tensor) -> Tensor:
    """Multiply by the sensitivity of a coil: 1 at the spine and behind it, ``floor`` far in front.

    ``behind_mm`` is the distance behind the middle of the canal, the shape of the image.
    """
    if coil is None:
        return image
    slope = _STEEPNESS / coil.width_mm
    start, slope, floor = (per_sample(value, image) for value in (slope * coil.half_mm, slope, coil.floor))
    # The logistic function of torch rounds otherwise at the end of a tensor, and so in another batch.
    step = (behind_mm * -slope).sub_(start).exp_().add_(1).reciprocal_()
    return image * step.mul_(1 - floor).add_(floor)
