"""Floor: what the picture ends in below the spine, air (the end of the coil or of the body) or fat."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from synthspine.gen.core.brush import above, overpaint, per_sample
from synthspine.gen.core.counter_rng import SampleRandom
from synthspine.gen.core.record import Batch
from synthspine.gen.core.settings import Range, check, check_within
from synthspine.gen.geometry.spine_frame import SpineFrame
from synthspine.gen.tissues.palette import AIR, FAT

NEVER_MM = 1e4
"""A distance that no picture reaches: a floor that is not there."""


@dataclass(frozen=True, kw_only=True, slots=True)
class FloorConfig:
    """An end of the body, or of what the coil sees of it, below the spine."""

    probability: float = 0.15
    """Probability of a floor."""
    below_mm: Range = (10.0, 70.0)
    """From the lowest row that shows a vertebra or a disc down to the floor, mm."""
    tilt_deg: Range = (-12.0, 12.0)
    """Its tilt against the rows of the picture, downwards to the back, degrees."""
    fat_probability: float = 0.3
    """Of these pictures, share that shows fat below, as of the buttocks, instead of air."""

    def __post_init__(self) -> None:
        check(self)
        check_within(self, tilt_deg=(-45.0, 45.0))


@dataclass(frozen=True, kw_only=True, slots=True)
class FloorParams(Batch):
    """Floor of a batch, ``(B,)``.

    Attributes:
        below_mm: lowest labelled row to the floor, mm, ``NEVER_MM`` for none.
        slope: mm that the floor falls per mm to the back.
        fat: 1 for fat, 0 for air.
    """

    below_mm: Tensor
    slope: Tensor
    fat: Tensor


def draw_floor(config: FloorConfig, random: SampleRandom) -> FloorParams | None:
    """Draw the floor of every sample; None if the configuration never has one."""
    if config.probability == 0:
        return None
    on = random.chance("floor", config.probability)
    return FloorParams(
        below_mm=torch.where(on, random.uniform("floor_below", *config.below_mm), NEVER_MM),
        slope=torch.tan(torch.deg2rad(random.uniform("floor_tilt", *config.tilt_deg))),
        fat=random.chance("floor_fat", config.fat_probability).float(),
    )


def paint_floor(
    painted: Tensor, params: FloorParams | None, frame: SpineFrame, spacing_mm: Sequence[float]
) -> Tensor:
    """Paint the floor over all that is not labelled.

    Args:
        painted: painted codes, uint8 ``(B, *grid)``.
        params: what was drawn; None leaves ``painted`` as it is.
        frame: where the spine lies in these maps.
        spacing_mm: grid spacing per axis, mm; the frame's.

    Returns:
        Painted codes, uint8 ``(B, *grid)``.
    """
    if params is None:
        return painted
    end = (frame.foot_mm + params.below_mm).view(-1, 1, 1)
    depth = frame.rows_mm.unsqueeze(1) - params.slope.view(-1, 1, 1) * frame.columns_mm
    below = above(depth, end)
    if painted.dim() == 4:
        below = below.unsqueeze(1)
    tissue = per_sample(params.fat, painted).to(torch.uint8) * (FAT ^ AIR) ^ AIR
    return overpaint(painted, tissue, below)
