"""Display: how intensities end up in [0, 1], by clipping, gamma, a contrast curve, inversion."""

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from synthspine.gen.core.counter_rng import SampleRandom
from synthspine.gen.core.feature import Batch, Range, check, check_within
from synthspine.gen.core.masks import per_sample
from synthspine.gen.core.quantiles import quantiles

DEGREE = 4
"""Degree of the contrast curve: three control points are free."""
_DARKEST = 1e-6
"""Least value that gamma is applied to: the gradient of a power below 1 is infinite at 0."""


@dataclass(frozen=True, kw_only=True, slots=True)
class ClipConfig:
    """Percentile clipping, as scanners and archives do: the darkest and brightest pixels saturate."""

    probability: float = 1.0
    """Probability of clipping; without it the picture's range becomes [0, 1]."""
    low: Range = (0.0, 0.03)
    """Share of the darkest pixels that are clipped."""
    high: Range = (0.0, 0.05)
    """Share of the brightest pixels that are clipped."""

    def __post_init__(self) -> None:
        check(self)
        check_within(self, low=(0.0, 0.49), high=(0.0, 0.49))


@dataclass(frozen=True, kw_only=True, slots=True)
class ClipParams(Batch):
    """Clipped shares of the pixels, 0 for none, ``(B,)``.

    Attributes:
        low: of the darkest.
        high: of the brightest.
    """

    low: Tensor
    high: Tensor


@dataclass(frozen=True, kw_only=True, slots=True)
class GammaConfig:
    """Power law ``x ** exp(uniform + normal)``."""

    probability: float = 1.0
    """Probability of a gamma other than 1."""
    log_gamma: Range = (-0.5, 0.5)
    """Logarithm of the exponent, its uniform part."""
    normal_std: float = 0.0
    """Standard deviation of its normal part."""
    before_acquisition: bool = False
    """Whether gamma bends the tissues' intensities before resolution and noise, as in SynthSeg."""

    def __post_init__(self) -> None:
        check(self)
        check_within(self, log_gamma=(-5.0, 5.0), normal_std=(0.0, 5.0))


@dataclass(frozen=True, kw_only=True, slots=True)
class GammaParams(Batch):
    """Gamma of every sample.

    Attributes:
        gamma: exponent, 1 for none, ``(B,)``.
    """

    gamma: Tensor


@dataclass(frozen=True, kw_only=True, slots=True)
class CurveConfig:
    """Random monotone contrast curve from (0, 0) to (1, 1)."""

    probability: float = 0.1
    """Probability of a curve."""
    strength: Range = (0.3, 1.2)
    """Standard deviation of the logarithm of the steps between control points; 0 is a straight line."""

    def __post_init__(self) -> None:
        check(self)
        check_within(self, strength=(0.0, 5.0))


@dataclass(frozen=True, kw_only=True, slots=True)
class CurveParams(Batch):
    """Contrast curve of every sample.

    Attributes:
        points: heights of the control points, rising from 0 to 1, evenly spaced for a straight line,
            ``(B, DEGREE + 1)``.
    """

    points: Tensor


@dataclass(frozen=True, kw_only=True, slots=True)
class InversionConfig:
    """Bright becomes dark. Off by default: no sequence shows air brighter than all tissues."""

    probability: float = 0.0
    """Probability of inversion."""

    def __post_init__(self) -> None:
        check(self)


@dataclass(frozen=True, kw_only=True, slots=True)
class InversionParams(Batch):
    """Inversion of every sample.

    Attributes:
        inverted: 1 if inverted, else 0, ``(B,)``.
    """

    inverted: Tensor


def draw_clip(config: ClipConfig, random: SampleRandom) -> ClipParams | None:
    """Draw the clipped shares; None if the configuration never clips."""
    if config.probability == 0:
        return None
    on = random.chance("clip", config.probability)
    return ClipParams(
        low=random.uniform("clip_low", *config.low) * on, high=random.uniform("clip_high", *config.high) * on
    )


def draw_gamma(config: GammaConfig, random: SampleRandom) -> GammaParams | None:
    """Draw the exponents; None if the configuration has no other than 1."""
    if config.probability == 0 or (config.log_gamma == (0, 0) and config.normal_std == 0):
        return None
    on = random.chance("gamma", config.probability)
    log_gamma = random.uniform("gamma_log", *config.log_gamma)
    if config.normal_std > 0:
        log_gamma = log_gamma + config.normal_std * random.normal("gamma_normal")
    return GammaParams(gamma=torch.exp(log_gamma * on))


def draw_curve(config: CurveConfig, random: SampleRandom) -> CurveParams | None:
    """Draw the contrast curves; None if the configuration never has one."""
    if config.probability == 0:
        return None
    on = random.chance("curve", config.probability)
    strength = random.uniform("curve_strength", *config.strength) * on
    steps = torch.softmax(strength.unsqueeze(1) * random.normal("curve_steps", shape=(DEGREE,)), dim=1)
    heights = [torch.zeros_like(strength)]
    for step in steps[:, :-1].unbind(1):
        heights.append(heights[-1] + step)
    return CurveParams(points=torch.stack((*heights, torch.ones_like(strength)), dim=1))


def draw_inversion(config: InversionConfig, random: SampleRandom) -> InversionParams | None:
    """Draw which samples are inverted; None if the configuration inverts none."""
    if config.probability == 0:
        return None
    return InversionParams(inverted=random.chance("inversion", config.probability).float())


def display(
    image: Tensor,
    seen: Tensor | None,
    clip: ClipParams | None,
    gamma: GammaParams | None,
    curve: CurveParams | None,
    inversion: InversionParams | None,
) -> Tensor:
    """Bring a picture to [0, 1], by clipping, then gamma, curve, inversion.

    Args:
        image: ``(B, *grid)``.
        seen: pixels inside the field of view, bool, same shape; the others become 0. None if all are.
        clip: clipped shares; None to scale from the least to the greatest value.
        gamma: exponents; None for 1.
        curve: contrast curves; None for straight lines.
        inversion: which samples are inverted; None for none.
    """
    shown = rescale(image, seen) if clip is None else clip_percentiles(image, seen, clip)
    shown = invert(bend(apply_gamma(shown, gamma), curve), inversion)
    return shown if seen is None else torch.where(seen, shown, 0.0)


def rescale(image: Tensor, seen: Tensor | None = None) -> Tensor:
    """Scale so that the least value seen becomes 0 and the greatest 1; a constant picture becomes 0."""
    lowest, highest = image, image
    if seen is not None:
        lowest, highest = image.where(seen, math.inf), image.where(seen, -math.inf)
    axes = tuple(range(1, image.dim()))
    return _stretch(image, lowest.amin(axes, keepdim=True), highest.amax(axes, keepdim=True))


def clip_percentiles(image: Tensor, seen: Tensor | None, clip: ClipParams) -> Tensor:
    """Scale so that the drawn shares of the pixels seen lie at 0 and at 1."""
    low, high = quantiles(image, seen, clip.low, 1 - clip.high)
    return _stretch(image, low, high)


def _stretch(image: Tensor, low: Tensor, high: Tensor) -> Tensor:
    return ((image - low) / (high - low).clamp(min=1e-6)).clamp(0, 1)


def bend_signal(image: Tensor, tone: GammaParams | None) -> Tensor:
    """Scale to [0, 1] and apply gamma before the picture is acquired, as SynthSeg does; None for neither."""
    return image if tone is None else apply_gamma(rescale(image), tone)


def apply_gamma(image: Tensor, gamma: GammaParams | None) -> Tensor:
    """``x ** gamma`` of a picture ``(B, *grid)`` in [0, 1]; 0 counts as 1e-6."""
    if gamma is None:
        return image
    return torch.pow(image.clamp(min=_DARKEST), per_sample(gamma.gamma, image))


def bend(image: Tensor, curve: CurveParams | None) -> Tensor:
    """Apply the contrast curve to a picture ``(B, *grid)`` in [0, 1].

    The curve is a polynomial in Bernstein form: it rises because its control points do. The idea is the
    monotone Bezier transform of Models Genesis (Zhou et al. 2021).
    """
    if curve is None:
        return image
    each = (-1, *[1] * (image.dim() - 1))
    # Power form: coefficient j is C(n, j) times the j-th forward difference of the control points at 0.
    differences, powers = curve.points, []
    for power in range(DEGREE + 1):
        powers.append((math.comb(DEGREE, power) * differences[:, 0]).view(each))
        differences = differences[:, 1:] - differences[:, :-1]
    bent = image * powers[DEGREE] + powers[DEGREE - 1]
    for coefficient in powers[DEGREE - 2 :: -1]:
        bent = torch.addcmul(coefficient, bent, image)
    return bent.clamp(0, 1)


def invert(image: Tensor, inversion: InversionParams | None) -> Tensor:
    """``1 - x`` where inverted, of a picture ``(B, *grid)`` in [0, 1]."""
    if inversion is None:
        return image
    return torch.lerp(image, 1 - image, per_sample(inversion.inverted, image))
