"""Wrap-around (aliasing): anatomy beyond the field of view folds over onto the opposite border."""

from dataclasses import dataclass

import torch
from torch import Tensor

from synthspine.gen.core.counter_rng import SampleRandom
from synthspine.gen.core.drawing import Feature, showcase
from synthspine.gen.core.feature import Batch, Range, within
from synthspine.gen.scanner.lines import phase_along_rows, take


@dataclass(frozen=True, kw_only=True, slots=True)
class WrapParams(Batch):
    """The bands that fold over."""

    strength: Tensor  # brightness at the border, share of the original, 0 without wrap-around, ``(B,)``
    width: Tensor  # at first and last row, first and last column, share of the field of view, ``(B, 4)``

    def touched(self) -> Tensor:
        """Which samples it changes."""
        return self.strength > 0


@dataclass(frozen=True, kw_only=True, slots=True)
class WrapConfig(Feature[WrapParams]):
    """Wrap-around along the phase-encoding axis.

    Tissue beyond the field of view is unknown; the band inside the border replaces it.
    """

    probability: float = 0.05
    """Probability of wrap-around."""
    strength: Range = (0.1, 0.5)
    """Brightness of what folds over, at the border, share of the original."""
    width: Range = (0.03, 0.15)
    """Width of the band that folds over, share of the field of view."""
    both_probability: float = 0.5
    """Probability that both borders have it rather than one."""

    bounds = within("strength", width=(0.0, 0.5))
    shown = showcase(strength=(0.8, 0.8), width=(0.2, 0.2), both_probability=1.0)

    def sample(self, random: SampleRandom) -> WrapParams:
        """Draw the wrap-around."""
        on = random.chance("wrap", self.probability)
        width = random.uniform("wrap_width", *self.width, shape=(2,))
        both = random.chance("wrap_both", self.both_probability)
        border = random.integer("wrap_border", 2).unsqueeze(1)
        has = both.unsqueeze(1) | torch.cat((border == 0, border == 1), dim=1)
        width = width * has * on.unsqueeze(1)
        rows = phase_along_rows(random).unsqueeze(1)
        return WrapParams(
            strength=random.uniform("wrap_strength", *self.strength) * on,
            width=torch.cat((width * rows, width * ~rows), dim=1),
        )


def wrap_around(image: Tensor, params: WrapParams | None) -> Tensor:
    """Add the band of the opposite border, fading inwards.

    A band of ``w`` pixels adds ``strength * fade * numpy.roll(image, w)``; ``fade`` falls from 1 at the
    border to ``1 / w`` on the band's last pixel.
    """
    if params is None:
        return image
    rows, row_fade = _fold(params.width[:, :2], image.shape[-2])
    columns, column_fade = _fold(params.width[:, 2:], image.shape[-1])
    strength = params.strength.view(-1, 1, 1)
    weight = row_fade.unsqueeze(2) * strength + column_fade.unsqueeze(1) * strength
    weight = weight if image.dim() == 3 else weight.unsqueeze(1)
    return torch.addcmul(image, take(image, rows, columns), weight)


def _fold(width: Tensor, count: int) -> tuple[Tensor, Tensor]:
    """Index of what folds onto every pixel of an axis, int64 ``(B, count)``, and its brightness, float32."""
    pixels = torch.round(width * count)
    first, last = pixels[:, :1], pixels[:, 1:]
    here = torch.arange(count, device=width.device, dtype=torch.float32)
    from_end = count - here
    at_first, at_last = here < first, from_end <= last
    source = here + at_first * (count - first) - at_last * (count - last)
    fade_first = at_first * (first - here) / first.clamp(min=1)
    fade_last = at_last * (last - from_end + 1) / last.clamp(min=1)
    return source.long(), fade_first + fade_last
