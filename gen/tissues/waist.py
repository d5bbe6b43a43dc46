"""The waist of vertebral bodies in slices that graze their sides: muscle and segmental vessels fill it.

Annotators draw the side of a body from end plate to end plate, though halfway between them the slice shows
the psoas and the segmental vessels, which run around the narrowest part of the body.
"""

from dataclasses import dataclass

import torch
from torch import Tensor

from synthspine.gen.core.anatomy import MAX_RANK, vertebra_code
from synthspine.gen.core.counter_rng import SampleRandom
from synthspine.gen.core.drawing import Feature, showcase
from synthspine.gen.core.feature import Batch, Range, Spacing, within
from synthspine.gen.core.masks import (
    above,
    between,
    columns_of,
    greatest_ahead,
    overpaint,
    per_sample,
    with_columns,
)
from synthspine.gen.core.touched import where_changed
from synthspine.gen.geometry.spine_frame import BEFORE_CANAL_MM, BODY_TO_CANAL_MM, SpineFrame, is_beside
from synthspine.gen.tissues.palette import FAT, FLUID, VESSEL

VESSELS = (VESSEL, FLUID, FAT)
"""What the vessels may look like: without signal, bright with flow, or lost in the fat around them."""
BODY_MM = (10.0, 45.0)
"""Heights of one body in a column; more is two bodies whose disc is not labelled, or a pedicle."""
DEPTH_MM = (36.0, 24.0)
"""Mean depth of the bodies of a slice, from front to back, at which it begins to graze them, and does so in
full: the first is that of a slice through their middle."""


@dataclass(frozen=True, kw_only=True, slots=True)
class WaistParams(Batch):
    """Waists of a batch; ``height_mm`` is 0 for none, ``vessel`` is a painted code."""

    height_mm: Tensor
    slope: Tensor
    vessel_mm: Tensor
    vessel: Tensor

    def touched(self) -> Tensor:
        """Which samples it changes."""
        return self.height_mm > 0


@dataclass(frozen=True, kw_only=True, slots=True)
class WaistConfig(Feature[WaistParams]):
    """Muscle and vessels over the middle of bodies in slices that graze them."""

    probability: float = 0.5
    """Probability in slices that do not show the canal."""
    height_mm: Range = (3.0, 18.0)
    """Height of what covers the middle of a body that the slice grazes, mm; less where it cuts more of it."""
    slope: Range = (-0.4, 0.4)
    """Way downwards of the waist, mm per mm backwards."""
    vessel_mm: Range = (0.0, 3.5)
    """Height of the vessels in it, mm."""

    bounds = within(height_mm=(0.0, 40.0), slope=(-2.0, 2.0), vessel_mm=(0.0, 40.0))
    along_spine = True
    hidden_with = ("vertebra", "height_mm")
    shown = showcase("middle_disc", without_canal=True, also={"beside": {"probability": 1.0}},
                     height_mm=(40.0, 40.0), slope=(0.0, 0.0), vessel_mm=(3.0, 3.0))  # fmt: skip

    def sample(self, random: SampleRandom) -> WaistParams:
        """Draw the waists of every sample."""
        kind = (random.uniform("waist_kind") * len(VESSELS)).long().clamp(max=len(VESSELS) - 1)
        return WaistParams(
            height_mm=random.uniform("waist_height", *self.height_mm)
            * random.chance("waist", self.probability),
            slope=random.uniform("waist_slope", *self.slope),
            vessel_mm=random.uniform("waist_vessel", *self.vessel_mm),
            vessel=torch.tensor(VESSELS, dtype=torch.float32, device=kind.device)[kind],
        )


def paint_waist(
    painted: Tensor,
    codes: Tensor,
    around: Tensor,
    frame: SpineFrame,
    params: WaistParams | None,
    spacing_mm: Spacing,
) -> Tensor:
    """Paint ``around`` and vessels over the middle of bodies, in slices beside the canal alone.

    ``painted``, ``codes``, ``around`` (painted codes of the surroundings) and the result are uint8
    ``(B, *grid)``. The middle is that of the body's pixels in a column.
    """
    if params is None:
        return painted
    beside = is_beside(frame).reshape(len(codes), -1).any(1)
    return where_changed(_paint_beside, beside, painted, codes, around, frame, params, spacing_mm)


def _paint_beside(
    painted: Tensor,
    codes: Tensor,
    around: Tensor,
    frame: SpineFrame,
    params: WaistParams,
    spacing_mm: Spacing,
) -> Tensor:
    row_mm, column_mm = spacing_mm[-2:]
    bodies = between(codes, vertebra_code(1), vertebra_code(MAX_RANK))
    bodies = bodies * is_beside(frame)[..., None, None].to(torch.uint8)
    bodies = bodies * above(-frame.behind_mm, BEFORE_CANAL_MM)
    share = _grazed(bodies, column_mm)
    columns = columns_of(bodies)
    whole = painted
    painted, bodies, around = (each[..., columns] for each in (painted, bodies, around))
    behind = frame.behind_mm[..., columns] + BODY_TO_CANAL_MM

    least, most = BODY_MM
    over, under = (_rows_to_end(bodies, int(most / row_mm) + 1, step) for step in (-1, 1))
    height = (over + under - 1) * row_mm
    where = bodies * above(height, least) * above(-height, -most)
    off = ((over - under) * (row_mm / 2) - per_sample(params.slope, height) * behind).abs_()
    half = per_sample(params.height_mm / 2, off) * share
    painted = overpaint(painted, around, where * above(half - off, 0.0))
    vessel = where * above(torch.minimum(per_sample(params.vessel_mm / 2, off), half) - off, 0.0)
    painted = overpaint(painted, per_sample(params.vessel.to(torch.uint8), painted), vessel)
    return with_columns(whole, columns, painted)


def _grazed(bodies: Tensor, column_mm: float) -> Tensor:
    """How much a slice grazes the bodies it shows, 0..1, ``(B, *grid[:-2], 1, 1)``, by their mean depth."""
    depth = bodies.sum(-1, keepdim=True, dtype=torch.int32)
    rows = (depth > 0).sum(-2, keepdim=True)
    full, grazing = DEPTH_MM
    mean_mm = depth.sum(-2, keepdim=True) * column_mm / rows.clamp(min=1)
    return ((full - mean_mm) * (1 / (full - grazing))).clamp_(0, 1)


def _rows_to_end(mask: Tensor, most: int, step: int) -> Tensor:
    """Rows from a pixel to the next one outside of the mask, ``most`` at most, float32 ``(..., H, W)``.

    Downwards for ``step`` 1, upwards for -1; the end of the picture is no end of the mask.
    """
    outside = (1 - mask.short()) * most
    return (most - greatest_ahead(outside, most, step, fade=1)).float()
