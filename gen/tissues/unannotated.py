"""Pixels without annotation: black, as outside the field of view, or painted as background."""

from dataclasses import dataclass

import torch
from torch import Tensor

from synthspine.gen.core.anatomy import BACKGROUND, IGNORE
from synthspine.gen.core.counter_rng import SampleRandom
from synthspine.gen.core.drawing import Feature, showcase
from synthspine.gen.core.feature import Batch
from synthspine.gen.core.masks import at_most, has_code, overpaint, per_sample
from synthspine.gen.tissues.palette import OUTSIDE


@dataclass(frozen=True, kw_only=True, slots=True)
class OutsideParams(Batch):
    """``black`` is 1 where pixels without annotation are black, 0 where they are painted as background."""

    black: Tensor


@dataclass(frozen=True, kw_only=True, slots=True)
class OutsideConfig(Feature[OutsideParams]):
    """Pixels of code 255: beyond the map, or left out by its annotator."""

    probability: float = 0.9
    """Probability that they are black; otherwise they are painted as background."""

    shown = showcase(also={"view": {"probability": 1.0}})

    def sample(self, random: SampleRandom) -> OutsideParams:
        """Draw which samples are black there."""
        return OutsideParams(black=random.chance("outside", self.probability).float())


def black_pixels(codes: Tensor, params: OutsideParams | None) -> Tensor | None:
    """1 where the picture is black, else 0: uint8, shape of ``codes`` ``(B, *grid)``; None if nowhere."""
    if params is None:
        return None
    return has_code(codes, IGNORE) * per_sample(params.black.to(torch.uint8), codes)


def unlabelled(codes: Tensor, painted: Tensor) -> Tensor:
    """1 where tissue may be painted (on no structure, not on ``OUTSIDE``), else 0: uint8."""
    # One more than not annotated is 0, one more than background is 1.
    return at_most(codes + (256 - IGNORE), BACKGROUND + 1) * (painted ^ OUTSIDE).clamp(max=1)


def paint_outside(painted: Tensor, background: Tensor, codes: Tensor, black: Tensor | None) -> Tensor:
    """Paint pixels without annotation as ``background``, or black where ``black`` is 1."""
    painted = overpaint(painted, background, has_code(codes, IGNORE))
    return painted if black is None else overpaint(painted, OUTSIDE, black)
