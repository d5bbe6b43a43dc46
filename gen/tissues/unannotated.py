"""What a picture shows where nothing is annotated: black, as beyond the field of view, or tissue."""

from dataclasses import dataclass

import torch
from torch import Tensor

from synthspine.gen.core.anatomy import BACKGROUND, IGNORE
from synthspine.gen.core.counter_rng import SampleRandom
from synthspine.gen.core.feature import Batch, check
from synthspine.gen.core.masks import at_most, has_code, overpaint, per_sample
from synthspine.gen.tissues.palette import OUTSIDE


@dataclass(frozen=True, kw_only=True, slots=True)
class OutsideConfig:
    """Pixels of code 255: beyond the map, or left out by its annotator."""

    probability: float = 0.9
    """Probability that they are black; otherwise they are painted as background."""

    def __post_init__(self) -> None:
        check(self)


@dataclass(frozen=True, kw_only=True, slots=True)
class OutsideParams(Batch):
    """Whether pixels that are not annotated are black.

    Attributes:
        black: 1 if they are, 0 if they are painted as background, ``(B,)``.
    """

    black: Tensor


def draw_outside(config: OutsideConfig, random: SampleRandom) -> OutsideParams | None:
    """Draw which samples are black there; None if none ever is."""
    if config.probability == 0:
        return None
    return OutsideParams(black=random.chance("outside", config.probability).float())


def black_pixels(codes: Tensor, params: OutsideParams | None) -> Tensor | None:
    """1 where the picture is black, else 0: uint8, shape of ``codes`` ``(B, *grid)``; None if nowhere."""
    if params is None:
        return None
    return has_code(codes, IGNORE) * per_sample(params.black.to(torch.uint8), codes)


def unlabelled(codes: Tensor, painted: Tensor) -> Tensor:
    """1 where tissue may be painted: on no structure and not on ``OUTSIDE``.

    Args:
        codes: dense codes, uint8 ``(B, *grid)``.
        painted: painted codes, the same shape.

    Returns:
        uint8, 0 or 1, the same shape.
    """
    # One more than not annotated is 0, one more than background is 1.
    return at_most(codes + (256 - IGNORE), BACKGROUND + 1) * (painted ^ OUTSIDE).clamp(max=1)


def paint_outside(painted: Tensor, background: Tensor, codes: Tensor, black: Tensor | None) -> Tensor:
    """Paint what is not annotated.

    Args:
        painted: painted codes, uint8 ``(B, *grid)``.
        background: painted codes where no structure is, the same shape.
        codes: dense codes, the same shape.
        black: from :func:`black_pixels`.
    """
    painted = overpaint(painted, background, has_code(codes, IGNORE))
    return painted if black is None else overpaint(painted, OUTSIDE, black)
