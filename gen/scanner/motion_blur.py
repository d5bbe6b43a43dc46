"""Blur along a line: the patient drifts evenly while every line of k-space is averaged."""

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from synthspine.gen.core.counter_rng import SampleRandom
from synthspine.gen.core.feature import Batch, Range, check, check_within
from synthspine.gen.scanner.lines import Lines

NEAR_ZERO = 0.01
"""Below it sin(x) / x is 1 to 2e-5, and the quotient would lose as many digits."""


@dataclass(frozen=True, kw_only=True, slots=True)
class MotionBlurConfig:
    """Blur along a straight line in the sagittal plane."""

    probability: float = 0.1
    """Probability of blur."""
    length_mm: Range = (1.0, 6.0)
    """Length of the line, mm."""
    direction_deg: Range = (0.0, 180.0)
    """Its direction from head-foot towards front-back, degrees."""

    def __post_init__(self) -> None:
        check(self)
        check_within(self, length_mm=(0.0, 100.0), direction_deg=(-360.0, 360.0))


@dataclass(frozen=True, kw_only=True, slots=True)
class MotionBlurParams(Batch):
    """The line of the blur.

    Attributes:
        length_mm: its length, 0 without blur, mm, ``(B,)``.
        direction_deg: its direction from the rows' axis towards the columns' axis, degrees, ``(B,)``.
    """

    length_mm: Tensor
    direction_deg: Tensor

    def touched(self) -> Tensor:
        """Which samples it changes, bool ``(B,)``."""
        return self.length_mm > 0


def draw_motion_blur(config: MotionBlurConfig, random: SampleRandom) -> MotionBlurParams | None:
    """Draw the blur of every sample; None if there is never any."""
    if config.probability == 0:
        return None
    on = random.chance("motion_blur", config.probability)
    return MotionBlurParams(
        length_mm=random.uniform("motion_blur_mm", *config.length_mm) * on,
        direction_deg=random.uniform("motion_blur_deg", *config.direction_deg),
    )


def line_transfer(params: MotionBlurParams, lines: tuple[Lines, Lines]) -> Tensor:
    """Weights of k-space of a mean over a line: ``sin(x) / x`` with ``x = pi * length * frequency``.

    The sine of a sum of a row's and a column's part comes from their sines and cosines, so no sine is
    taken per pixel.

    Args:
        params: what was drawn.
        lines: of rows and columns.

    Returns:
        float32 ``(B, H, W // 2 + 1)``.
    """
    angle = torch.deg2rad(params.direction_deg)
    extents = (params.length_mm * torch.cos(angle), params.length_mm * torch.sin(angle))
    rows, columns = (
        each.number * (math.pi / (each.count * each.spacing_mm) * extent).unsqueeze(1)
        for each, extent in zip(lines, extents, strict=True)
    )
    rows, columns = rows.unsqueeze(2), columns.unsqueeze(1)
    x = rows + columns
    sine = torch.addcmul(torch.sin(rows) * torch.cos(columns), torch.cos(rows), torch.sin(columns))
    return torch.where(x.abs() < NEAR_ZERO, 1.0, sine / x)
