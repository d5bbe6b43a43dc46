"""Display: how intensities are mapped to [0, 1] by clipping, gamma, a contrast curve and inversion."""

import math
from dataclasses import dataclass

import torch
from kornia import enhance
from torch import Tensor

from synthspine.gen.core.counter_rng import SampleRandom
from synthspine.gen.core.drawing import Drawing, Feature, showcase
from synthspine.gen.core.feature import Batch, Range, within
from synthspine.gen.core.masks import per_sample
from synthspine.gen.core.quantiles import quantiles
from synthspine.gen.core.touched import where_changed

DEGREE = 4
"""Degree of the contrast curve: three control points are free."""
_DARKEST = 1e-6
"""Least value that gamma is applied to: the gradient of a power below 1 is infinite at 0."""


@dataclass(frozen=True, kw_only=True, slots=True)
class ClipParams(Batch):
    """Clipped shares of the darkest (``low``) and brightest (``high``) pixels, 0 for none, ``(B,)``."""

    low: Tensor
    high: Tensor


@dataclass(frozen=True, kw_only=True, slots=True)
class ClipConfig(Feature[ClipParams]):
    """Percentile clipping, as scanners and archives do: the darkest and brightest pixels saturate."""

    probability: float = 1.0
    """Probability of clipping; without it the image's range becomes [0, 1]."""
    low: Range = (0.0, 0.03)
    """Share of the darkest pixels that are clipped."""
    high: Range = (0.0, 0.05)
    """Share of the brightest pixels that are clipped."""

    bounds = within(low=(0.0, 0.49), high=(0.0, 0.49))
    shown = showcase(low=(0.03, 0.03), high=(0.2, 0.2))

    def sample(self, random: SampleRandom) -> ClipParams:
        """Draw the clipped shares."""
        on = random.chance("clip", self.probability)
        return ClipParams(
            low=random.uniform("clip_low", *self.low) * on, high=random.uniform("clip_high", *self.high) * on
        )


@dataclass(frozen=True, kw_only=True, slots=True)
class GammaParams(Batch):
    """Exponent ``gamma`` of every sample, above 0, 1 for none, ``(B,)``."""

    gamma: Tensor


@dataclass(frozen=True, kw_only=True, slots=True)
class GammaConfig(Feature[GammaParams]):
    """Power law ``x ** exp(uniform + normal)``."""

    probability: float = 1.0
    """Probability of a gamma other than 1."""
    log_gamma: Range = (-0.5, 0.5)
    """Logarithm of the exponent, its uniform part."""
    normal_std: float = 0.0
    """Standard deviation of its normal part."""
    before_acquisition: bool = False
    """Whether gamma is applied before resolution and noise, as in SynthSeg."""

    bounds = within(log_gamma=(-5.0, 5.0), normal_std=(0.0, 5.0))
    shown = showcase(log_gamma=(0.5, 0.5))

    def never(self) -> bool:
        """Whether the configuration leaves it out."""
        return self.probability == 0 or (self.log_gamma == (0, 0) and self.normal_std == 0)

    def sample(self, random: SampleRandom) -> GammaParams:
        """Draw the exponents."""
        on = random.chance("gamma", self.probability)
        log_gamma = random.uniform("gamma_log", *self.log_gamma)
        if self.normal_std > 0:
            log_gamma = log_gamma + self.normal_std * random.normal("gamma_normal")
        return GammaParams(gamma=torch.exp(log_gamma * on))

    def settle(self, own: GammaParams, drawing: Drawing) -> GammaParams | None:
        """Before the acquisition it is the ``tone`` instead."""
        if not self.before_acquisition:
            return own
        drawing.drawn["tone"] = own
        return None


class Tone(Feature[GammaParams]):
    """Gamma before the acquisition, which :class:`GammaConfig` draws: it has no settings of its own."""

    __slots__ = ()

    def never(self) -> bool:
        """It draws nothing itself."""
        return True


@dataclass(frozen=True, kw_only=True, slots=True)
class CurveParams(Batch):
    """Heights of the control points, rising from 0 to 1, ``(B, DEGREE + 1)``; evenly spaced for no curve."""

    points: Tensor

    def touched(self) -> Tensor:
        """Which samples it changes."""
        straight = torch.arange(DEGREE + 1, device=self.points.device) / DEGREE
        return (self.points != straight).any(1)


@dataclass(frozen=True, kw_only=True, slots=True)
class CurveConfig(Feature[CurveParams]):
    """Random monotone contrast curve from (0, 0) to (1, 1)."""

    probability: float = 0.1
    """Probability of a curve."""
    strength: Range = (0.3, 1.2)
    """Standard deviation of the logarithm of the steps between control points; 0 is a straight line."""

    bounds = within(strength=(0.0, 5.0))
    shown = showcase(strength=(1.2, 1.2))

    def sample(self, random: SampleRandom) -> CurveParams:
        """Draw the contrast curves."""
        on = random.chance("curve", self.probability)
        strength = random.uniform("curve_strength", *self.strength) * on
        steps = torch.softmax(strength.unsqueeze(1) * random.normal("curve_steps", shape=(DEGREE,)), dim=1)
        heights = [torch.zeros_like(strength)]
        for step in steps[:, :-1].unbind(1):
            heights.append(heights[-1] + step)
        return CurveParams(points=torch.stack((*heights, torch.ones_like(strength)), dim=1))


@dataclass(frozen=True, kw_only=True, slots=True)
class InversionParams(Batch):
    """Whether a sample is inverted: 1 or 0, ``(B,)``."""

    inverted: Tensor


@dataclass(frozen=True, kw_only=True, slots=True)
class InversionConfig(Feature[InversionParams]):
    """Bright becomes dark. Off by default: no sequence shows air brighter than all tissues."""

    probability: float = 0.0
    """Probability of inversion."""

    def sample(self, random: SampleRandom) -> InversionParams:
        """Draw which samples are inverted."""
        return InversionParams(inverted=random.chance("inversion", self.probability).float())


def display(
    image: Tensor,
    in_view: Tensor | None,
    clip: ClipParams | None,
    gamma: GammaParams | None,
    curve: CurveParams | None,
    inversion: InversionParams | None,
) -> Tensor:
    """Map an image to [0, 1] by clipping (by its whole range if ``clip`` is None), gamma, curve, inversion.

    ``in_view`` (1 or 0, or bool, the image's shape; None for all) says which pixels lie in the field of view;
    others become 0.
    """
    shown = rescale(image, in_view) if clip is None else clip_percentiles(image, in_view, clip)
    shown = invert(apply_curve(apply_gamma(shown, gamma), curve), inversion)
    return shown if in_view is None else shown * in_view


def rescale(image: Tensor, in_view: Tensor | None = None) -> Tensor:
    """Scale the range of the pixels in view to [0, 1]; an image of one value becomes 0."""
    lowest, highest = image, image
    if in_view is not None:
        lowest, highest = (image.where(in_view.bool(), end) for end in (math.inf, -math.inf))
    axes = tuple(range(1, image.dim()))
    return _scale(image, lowest.amin(axes), highest.amax(axes))


def clip_percentiles(image: Tensor, in_view: Tensor | None, clip: ClipParams) -> Tensor:
    """Scale such that the drawn shares of the pixels in view saturate at 0 and at 1."""
    low, high = quantiles(image, in_view, clip.low, 1 - clip.high)
    return _scale(image, low.flatten(), high.flatten())


def _scale(image: Tensor, low: Tensor, high: Tensor) -> Tensor:
    """Map ``low`` and ``high``, ``(B,)``, to 0 and 1, and clamp."""
    width = (high - low).clamp(min=1e-6)
    return (image - per_sample(low, image)).div_(per_sample(width, image)).clamp_(0, 1)


def apply_tone(image: Tensor, tone: GammaParams | None) -> Tensor:
    """Scale to [0, 1] and apply gamma before the acquisition, as SynthSeg does; None for neither."""
    return image if tone is None else apply_gamma(rescale(image), tone)


def apply_gamma(image: Tensor, gamma: GammaParams | None) -> Tensor:
    """``x ** gamma`` of an image in [0, 1]; values below 1e-6 count as 1e-6."""
    if gamma is None:
        return image
    # As a power, but at a third of its time; rounding may lead beyond 1.
    logarithm = image.clamp(min=_DARKEST).log_().mul_(per_sample(gamma.gamma, image))
    return logarithm.exp_().clamp(max=1)


def apply_curve(image: Tensor, curve: CurveParams | None) -> Tensor:
    """Apply the contrast curve to an image in [0, 1].

    The curve is a polynomial in Bernstein form; it rises because its control points do.

    Source: the monotone Bezier transform of Models Genesis (Zhou et al. 2021).
    """
    if curve is None:
        return image
    bent = curve.touched()
    return where_changed(_bend, bent, image, curve.points, bent)


def _bend(image: Tensor, points: Tensor, bent: Tensor) -> Tensor:
    """The image after the curve; the image itself in samples that are not ``bent``, bool ``(B,)``."""
    # Power form: coefficient j is C(n, j) times the j-th forward difference of the control points at 0.
    differences, powers = points, []
    for power in range(DEGREE + 1):
        powers.append(per_sample(math.comb(DEGREE, power) * differences[:, 0], image))
        differences = differences[:, 1:] - differences[:, :-1]
    curved = image * powers[DEGREE] + powers[DEGREE - 1]
    for coefficient in powers[DEGREE - 2 :: -1]:
        curved = torch.addcmul(coefficient, curved, image)
    return torch.lerp(image, curved.clamp_(0, 1), per_sample(bent.float(), image))


def invert(image: Tensor, inversion: InversionParams | None) -> Tensor:
    """``1 - x`` where a sample is inverted, of an image in [0, 1]."""
    if inversion is None:
        return image
    inverted = enhance.invert(image, image.new_ones(()))
    return torch.lerp(image, inverted, per_sample(inversion.inverted, image))
