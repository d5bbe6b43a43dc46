"""Fat around the canal and in front of bodies.

Around the canal there are patches close outside of it, and pads between the laminae and around the sac. In
front of bodies it ends at discs, to which the ligament before the spine holds fast.
"""

from dataclasses import dataclass

import torch
from torch import Tensor

from synthspine.gen.core.anatomy import CANAL, MAX_RANK, STRUCTURES, vertebra_code
from synthspine.gen.core.counter_rng import SampleRandom
from synthspine.gen.core.drawing import Feature, showcase
from synthspine.gen.core.feature import Batch, Range, Spacing, within
from synthspine.gen.core.filters import WIDEST, smooth_field
from synthspine.gen.core.masks import (
    above,
    between,
    columns_of,
    has_code,
    overpaint,
    per_sample,
    with_columns,
)
from synthspine.gen.geometry.spine_frame import BODY_TO_CANAL_MM, NEVER_MM, SpineFrame
from synthspine.gen.tissues.canal import beside_canal, canal_columns, fills, look_up
from synthspine.gen.tissues.palette import EPIDURAL_FAT, FAT, SACRAL_DISC, SACRUM
from synthspine.gen.tissues.unannotated import unlabelled

FINEST_PATCH_MM = 4.5
"""Least correlation length of the patches, which are drawn on a grid this coarse."""
ATTACHED_MM = 3.0
"""No patch lies this near to a disc, to whose back the ligament holds fast."""


@dataclass(frozen=True, kw_only=True, slots=True)
class EpiduralFatParams(Batch):
    """Patches of fat around the canal; ``share`` is 0 for none."""

    key: Tensor
    share: Tensor
    thickness_mm: Tensor
    patch_mm: Tensor

    def touched(self) -> Tensor:
        """Which samples it changes."""
        return self.share > 0


@dataclass(frozen=True, kw_only=True, slots=True)
class EpiduralFatConfig(Feature[EpiduralFatParams]):
    """Patches of fat close outside the canal."""

    probability: float = 0.6
    """Probability of epidural fat."""
    share: Range = (0.2, 0.8)
    """Share of the canal's surroundings that it fills."""
    thickness_mm: Range = (1.0, 3.0)
    """Thickness of the patches, mm."""
    patch_mm: Range = (5.0, 12.0)
    """Correlation length of the patches, mm."""

    bounds = within("share", thickness_mm=(0.0, 4.0), patch_mm=(FINEST_PATCH_MM, WIDEST * FINEST_PATCH_MM))
    along_spine = near_borders = True
    hidden_with = ("canal", "share")
    shown = showcase("middle_disc", share=(0.7, 0.8))

    def sample(self, random: SampleRandom) -> EpiduralFatParams:
        """Draw the patches of fat."""
        on = random.chance("epidural_fat", self.probability)
        return EpiduralFatParams(
            key=random.key("epidural_fat_field"),
            share=random.uniform("epidural_fat_share", *self.share) * on,
            thickness_mm=random.uniform("epidural_fat_thickness", *self.thickness_mm),
            patch_mm=random.uniform("epidural_fat_patch", *self.patch_mm),
        )


def paint_epidural_fat(
    painted: Tensor,
    codes: Tensor,
    depth_mm: Tensor,
    frame: SpineFrame,
    params: EpiduralFatParams | None,
    spacing_mm: Spacing,
) -> Tensor:
    """Paint fat close outside the canal, over the background (also the sacrum) but over no structure.

    There is none beside discs, to whose back the ligament behind them holds fast.
    """
    if params is None:
        return painted
    behind, step_mm = canal_columns(codes, spacing_mm)
    grid, grid_mm = (*codes.shape[1:-1], len(behind)), (*spacing_mm[:-1], step_mm)
    field = smooth_field(params.key, "epidural_fat", grid, grid_mm, params.patch_mm, FINEST_PATCH_MM)
    near = above(depth_mm[:, STRUCTURES.index("canal")], -per_sample(params.thickness_mm, codes))
    columns = columns_of(near)
    patches = look_up(fills(field, params.share), frame.behind_mm[..., columns], step_mm)
    attached = above(depth_mm[:, STRUCTURES.index("disc")][..., columns], -ATTACHED_MM)
    there = painted[..., columns]
    fat = patches * near[..., columns] * (1 - attached) * unlabelled(codes[..., columns], there)
    return with_columns(painted, columns, overpaint(there, EPIDURAL_FAT, fat))


FINEST_LENGTH_MM = 5.0
"""Least correlation length of their thickness, which is drawn on a grid this coarse."""
_HIGH = 1.5
"""Where the random field is this high, a pad is as thick as drawn; it ends where the field falls to the level
that leaves its share of the rows."""
_LEAST_RISE = 0.5
"""Pads of the least shares, whose level is that high, become no steeper than this."""
_LEAST_SHARE = 1e-4
"""Shares keep this far from 0 and 1, where the level would be infinite."""
ARCH_MM = 4.0
"""Distance behind the canal at which a regular pad looks for arches."""
GAP_MM = 6.0
"""A regular pad is as thick as drawn this far from an arch, and ends at it."""
LEAST_FILLED = 0.6
"""Share of its thickness that a regular pad has everywhere."""
FRONT_LENGTH_MM = 40.0
"""Fat in front of the canal thickens over this length below the middle of the lowest vertebra."""


@dataclass(frozen=True, kw_only=True, slots=True)
class FatPadsParams(Batch):
    """Fat pads of a batch; ``thickness_mm`` is 0 for none."""

    key: Tensor
    share: Tensor
    thickness_mm: Tensor
    length_mm: Tensor
    regular: Tensor  # 1 where the pads are the triangles between the arches, else 0
    front_mm: Tensor

    def touched(self) -> Tensor:
        """Which samples it changes."""
        return self.thickness_mm + self.front_mm > 0


@dataclass(frozen=True, kw_only=True, slots=True)
class FatPadsConfig(Feature[FatPadsParams]):
    """Fat pads: the triangles between the laminae behind the canal, and the fat around the end of the sac."""

    probability: float = 0.6
    """Probability of fat pads."""
    share: Range = (0.3, 0.9)
    """Share of the canal's length that pads lie behind."""
    thickness_mm: Range = (2.0, 9.0)
    """Thickness of a pad where it is thickest, mm."""
    length_mm: Range = (5.0, 10.0)
    """Correlation length of their thickness along the canal, mm."""
    regular_probability: float = 0.6
    """Probability that a pad fills every gap between arches and narrows towards them, as a triangle."""
    front_probability: float = 0.6
    """Probability of fat in front of the canal where it parts from the lowest disc and the sacrum."""
    front_mm: Range = (2.0, 8.0)
    """Thickness of that fat at its lower end, mm."""

    bounds = within(
        "share",
        thickness_mm=(0.0, 30.0),
        front_mm=(0.0, 30.0),
        length_mm=(FINEST_LENGTH_MM, WIDEST * FINEST_LENGTH_MM),
    )
    along_spine = near_borders = True
    hidden_with = ("canal", "thickness_mm", "front_mm")
    shown = showcase(
        "canal",
        share=(0.8, 0.8),
        thickness_mm=(8.0, 9.0),
        length_mm=(5.0, 5.0),
        also={"contrast": {"alpha": (0.0, 0.0)}},
    )

    def never(self) -> bool:
        """Whether the configuration leaves it out."""
        return self.probability == 0 or self.thickness_mm[1] == 0

    def sample(self, random: SampleRandom) -> FatPadsParams:
        """Draw the pads."""
        on = random.chance("fat_pads", self.probability)
        return FatPadsParams(
            key=random.key("fat_pads_field"),
            share=random.uniform("fat_pads_share", *self.share),
            thickness_mm=random.uniform("fat_pads_thickness", *self.thickness_mm) * on,
            length_mm=random.uniform("fat_pads_length", *self.length_mm),
            regular=random.chance("fat_pads_regular", self.regular_probability).float(),
            front_mm=random.uniform("fat_pads_front", *self.front_mm)
            * (on & random.chance("fat_pads_front_on", self.front_probability)),
        )


def paint_fat_pads(
    painted: Tensor,
    codes: Tensor,
    depth_mm: Tensor,
    frame: SpineFrame,
    params: FatPadsParams | None,
    spacing_mm: Spacing,
) -> Tensor:
    """Paint the pads over the background (also the sacrum) but over no structure.

    A pad begins at the last pixel of the canal in its row, fat in front of the canal at the first one. Below
    the last row that shows the canal the pads lie around its course, on either side. Above the first row, and
    in slices without canal, there are none.
    """
    if params is None:
        return painted
    # First and last pixel of the canal, (B, *grid[:-1]), and the rows below the canal.
    place = has_code(codes, CANAL) * frame.behind_mm
    first, last = place.amin(-1), place.amax(-1)
    seen = above(last, 0.0)
    row = torch.arange(1, codes.shape[-2] + 1, device=codes.device)
    end = (seen * row).amax(-1, keepdim=True)
    below = (row > end) * (end > 0)
    thick = _thickness(params, depth_mm, frame, last, spacing_mm)
    lower = (frame.rows_mm - frame.body_mm[:, :1]) * frame.has_lowest.unsqueeze(1)
    front = params.front_mm.unsqueeze(1) * (lower * (1 / FRONT_LENGTH_MM)).clamp(0, 1)
    front = front.view(len(codes), *[1] * (codes.dim() - 3), -1)
    # A pad begins behind ``start`` and ends before ``stop``; in rows above the canal it has no room.
    start = seen * (first - front - 0.5 * spacing_mm[-1]) - below * thick
    stop = seen * (last + thick + 0.5 * spacing_mm[-1]) + below * thick
    pads = above(frame.behind_mm, start.unsqueeze(-1)) * above(stop.unsqueeze(-1), frame.behind_mm)
    pads *= per_sample(above(params.thickness_mm + params.front_mm, 0.0), pads)
    return overpaint(painted, EPIDURAL_FAT, pads * unlabelled(codes, painted))


def _thickness(
    params: FatPadsParams, depth_mm: Tensor, frame: SpineFrame, last_mm: Tensor, spacing_mm: Spacing
) -> Tensor:
    """Thickness of the pads in every row, mm, ``(B, *grid[:-1])``.

    ``last_mm`` is the last pixel of the canal. Irregular pads are missing in all but their share of the rows.
    """
    rows = last_mm.shape[1:]
    field = smooth_field(params.key, "fat_pads", rows, spacing_mm[:-1], params.length_mm, FINEST_LENGTH_MM)
    level = per_sample(-torch.special.ndtri(params.share.clamp(_LEAST_SHARE, 1 - _LEAST_SHARE)), field)
    rise = ((field - level) / (_HIGH - level).clamp(min=_LEAST_RISE)).clamp(0, 1)
    arch = beside_canal(depth_mm[:, STRUCTURES.index("vertebra")], frame, last_mm + ARCH_MM, spacing_mm)
    gap = (arch * (-1 / GAP_MM)).clamp(0, 1) * (LEAST_FILLED + (1 - LEAST_FILLED) * rise)
    return torch.lerp(rise, gap, per_sample(params.regular, field)) * per_sample(params.thickness_mm, field)


FRONT_ATTACHED_MM = 1.5
"""No fat lies this near to a disc."""
FRONT_RISE_MM = 2.0
"""Over this distance from there the fat becomes as thick as drawn."""


@dataclass(frozen=True, kw_only=True, slots=True)
class FrontFatParams(Batch):
    """Fat in front of the bodies of a batch; ``thickness_mm`` is 0 for none."""

    thickness_mm: Tensor

    def touched(self) -> Tensor:
        """Which samples it changes."""
        return self.thickness_mm > 0


@dataclass(frozen=True, kw_only=True, slots=True)
class FrontFatConfig(Feature[FrontFatParams]):
    """Fat in front of vertebral bodies, thinner towards discs."""

    probability: float = 0.75
    """Probability of fat there."""
    thickness_mm: Range = (2.0, 7.0)
    """Thickness in front of the middle of a body, mm."""

    bounds = within(thickness_mm=(0.0, 40.0))
    along_spine = near_borders = True
    hidden_with = ("vertebra", "thickness_mm")
    shown = showcase("middle_disc", thickness_mm=(7.0, 7.0))

    def sample(self, random: SampleRandom) -> FrontFatParams:
        """Draw the thickness of the fat."""
        thickness = random.uniform("front_fat_thickness", *self.thickness_mm)
        return FrontFatParams(thickness_mm=thickness * random.chance("front_fat", self.probability))


def paint_front_fat(
    painted: Tensor,
    codes: Tensor,
    depth_mm: Tensor,
    frame: SpineFrame,
    params: FrontFatParams | None,
    spacing_mm: Spacing,
) -> Tensor:
    """Paint the fat over the background, in rows that show a body, before its first pixel.

    ``painted``, ``codes`` and the result are uint8 ``(B, *grid)``; ``depth_mm`` comes from
    ``gen.intensity.cortex.depths``.
    """
    if params is None:
        return painted
    behind = frame.behind_mm
    bodies = between(codes, vertebra_code(1), vertebra_code(MAX_RANK)) * above(-behind, BODY_TO_CANAL_MM)
    front = torch.where(bodies > 0, behind, NEVER_MM).amin(-1, keepdim=True)
    free = unlabelled(codes, painted) * (1 - between(painted, SACRUM, SACRAL_DISC)) * above(front, behind)
    disc = depth_mm[:, STRUCTURES.index("disc")]
    rise = ((disc + FRONT_ATTACHED_MM) * (-1 / FRONT_RISE_MM)).clamp_(0, 1)
    reach = per_sample(params.thickness_mm, rise) * rise + spacing_mm[-1] / 2
    return overpaint(painted, FAT, free * above(behind + reach, front))
