"""The waist of vertebral bodies in slices that graze their sides: muscle and segmental vessels fill it.

Annotators draw the side of a body from end plate to end plate, though halfway between them the slice shows
the psoas and the segmental vessels, which run around the narrowest part of the body.
"""

from dataclasses import dataclass

import torch
from torch import Tensor

from synthspine.gen.core.anatomy import MAX_RANK, disc_code, vertebra_code
from synthspine.gen.core.counter_rng import SampleRandom
from synthspine.gen.core.drawing import Feature, showcase
from synthspine.gen.core.feature import Batch, Range, Spacing, within
from synthspine.gen.core.masks import above, between, overpaint, per_sample
from synthspine.gen.geometry.spine_frame import BEFORE_CANAL_MM, SpineFrame, is_beside
from synthspine.gen.tissues.palette import FAT, FLUID, VESSEL

VESSELS = (VESSEL, FLUID, FAT)
"""What the vessels may look like: without signal, bright with flow, or lost in the fat around them."""
BODY_MM = (12.0, 45.0)
"""Heights between two discs that hold one body."""
MIDDLE_MM = -25.0
"""Place of a body's middle behind that of the canal: the slanted waist passes through it."""


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
    """Muscle and vessels over the middle of bodies in slices beside the canal."""

    probability: float = 0.3
    """Probability in slices that do not show the canal."""
    height_mm: Range = (3.0, 16.0)
    """Height of what covers a body halfway between two discs, mm."""
    slope: Range = (-0.4, 0.4)
    """Way downwards of the waist, mm per mm backwards."""
    vessel_mm: Range = (0.0, 3.5)
    """Height of the vessels in it, mm."""

    bounds = within(height_mm=(0.0, 40.0), slope=(-2.0, 2.0), vessel_mm=(0.0, 40.0))
    along_spine = True
    hidden_with = ("vertebra", "height_mm")
    shown = showcase(
        "middle_disc", beside=True, height_mm=(14.0, 14.0), slope=(0.0, 0.0), vessel_mm=(3.0, 3.0)
    )

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
    ``(B, *grid)``. The middle is that of the column between the discs above and below a pixel.
    """
    if params is None:
        return painted
    row_mm = spacing_mm[-2]
    discs = between(codes, disc_code(1), disc_code(MAX_RANK))
    upper, lower = _nearest_discs(discs)
    height = (lower - upper) * row_mm
    rows = torch.arange(codes.shape[-2], device=codes.device, dtype=torch.float32).unsqueeze(1)
    slant = per_sample(params.slope, height) * (frame.behind_mm - MIDDLE_MM)
    off = ((rows - (upper + lower) / 2) * row_mm - slant).abs_()
    low, high = BODY_MM
    where = between(codes, vertebra_code(1), vertebra_code(MAX_RANK))
    where = where * is_beside(frame)[..., None, None].to(torch.uint8)
    where = where * above(height, low) * above(-height, -high) * above(-frame.behind_mm, BEFORE_CANAL_MM)
    half = per_sample(params.height_mm / 2, off)
    painted = overpaint(painted, around, where * above(half, off))
    vessel = where * above(torch.minimum(per_sample(params.vessel_mm / 2, off), half), off)
    return overpaint(painted, per_sample(params.vessel.to(torch.uint8), painted), vessel)


def _nearest_discs(discs: Tensor) -> tuple[Tensor, Tensor]:
    """Rows of the nearest disc above and below every pixel, in its column, float32 ``(..., H, W)``.

    ``discs`` is uint8. Where there is none they are far outside of the picture.
    """
    count = discs.shape[-2]
    far = 10.0 * count
    rows = torch.arange(count, device=discs.device, dtype=torch.float32).unsqueeze(1)
    seen = discs.float()
    upper = (seen * (rows + far) - far).cummax(-2).values
    lower = (far - seen * (far - rows)).flip(-2).cummin(-2).values.flip(-2)
    return upper, lower
