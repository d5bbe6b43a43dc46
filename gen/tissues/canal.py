"""Inside and close around the canal: cord, nerve roots, epidural fat, fat pads.

Cerebrospinal fluid is the canal's own code. Cord, roots and patches of fat run along the canal: they are
painted into a narrow table over rows and distances behind the canal's middle, in which the pixels look them
up.
"""

from dataclasses import dataclass

import torch
from torch import Tensor

from synthspine.gen.core.anatomy import CANAL, STRUCTURES
from synthspine.gen.core.counter_rng import SampleRandom
from synthspine.gen.core.drawing import Feature, showcase
from synthspine.gen.core.feature import Batch, Range, Spacing, within
from synthspine.gen.core.filters import WIDEST, centred_positions, smooth_field
from synthspine.gen.core.masks import above, has_code, overpaint, per_sample
from synthspine.gen.geometry.spine_frame import SpineFrame
from synthspine.gen.tissues.palette import CORD, EPIDURAL_FAT, ROOTS
from synthspine.gen.tissues.unannotated import unlabelled

FINEST_ROOT_LENGTH_MM = 12.0
FINEST_ROOT_WIDTH_MM = 1.0
FINEST_PATCH_MM = 4.5
"""Least correlation lengths: random fields are drawn on grids this coarse."""

CONE_MM = 30.0
"""The cord narrows to its end over this length."""
OVERLAP_MM = 10.0
"""The uppermost roots run beside the end of the cord for this length."""
ROOTS_FRONT_MM = -3.0
"""Roots keep to the back of the canal, where they sink to in a patient lying down; mm behind its middle."""
REACH_MM = 16.0
"""Half of the table's width. A canal is 15 to 20 mm wide; what lies beyond looks up the edge."""
_STEP = 0.5
"""Step of the table, pixels, up to that much of a millimetre."""


@dataclass(frozen=True, kw_only=True, slots=True)
class RootsParams(Batch):
    """Nerve roots; ``share`` is 0 for none."""

    key: Tensor
    share: Tensor
    length_mm: Tensor
    width_mm: Tensor


@dataclass(frozen=True, kw_only=True, slots=True)
class CanalParams(Batch):
    """Contents of the canal beside fluid; ``cord_mm`` is 0 without a cord."""

    cord_mm: Tensor
    cord_offset_mm: Tensor
    conus_mm: Tensor
    roots: RootsParams | None  # None if the configuration never has nerve roots


@dataclass(frozen=True, kw_only=True, slots=True)
class CanalConfig(Feature[CanalParams]):
    """Cord and nerve roots inside the canal."""

    cord_probability: float = 0.7
    """Probability of a cord."""
    cord_mm: Range = (2.0, 5.0)
    """Half of its width, mm."""
    cord_offset_mm: Range = (-3.0, 3.0)
    """Its middle behind the middle of the canal, mm."""
    conus_mm: Range = (70.0, 170.0)
    """End of the cord above the middle of the lowest vertebra, mm. The roots follow, cord or not."""
    roots_probability: float = 0.7
    """Probability of nerve roots below the cord."""
    roots_share: Range = (0.0, 0.7)
    """Share of the back of the canal that roots fill."""
    root_length_mm: Range = (14.0, 14.0)
    """Correlation length of the roots along the canal, mm."""
    root_width_mm: Range = (1.2, 1.2)
    """Correlation length of the roots across the canal, mm."""

    bounds = within(
        "roots_share",
        cord_mm=(0.0, REACH_MM),
        cord_offset_mm=(-REACH_MM, REACH_MM),
        root_length_mm=(FINEST_ROOT_LENGTH_MM, WIDEST * FINEST_ROOT_LENGTH_MM),
        root_width_mm=(FINEST_ROOT_WIDTH_MM, WIDEST * FINEST_ROOT_WIDTH_MM),
    )
    along_spine = True
    shown = showcase(
        "middle_disc", cord_probability=1.0, cord_mm=(3.0, 4.0), roots_probability=1.0, roots_share=(0.5, 0.5)
    )

    def never(self) -> bool:
        """Whether the configuration leaves it out."""
        return self.cord_probability == 0 and self.roots_probability == 0

    def sample(self, random: SampleRandom) -> CanalParams:
        """Draw cord and roots."""
        cord = random.chance("cord", self.cord_probability)
        return CanalParams(
            cord_mm=random.uniform("cord_mm", *self.cord_mm) * cord,
            cord_offset_mm=random.uniform("cord_offset", *self.cord_offset_mm),
            conus_mm=random.uniform("cord_conus", *self.conus_mm),
            roots=_draw_roots(self, random),
        )


def _draw_roots(config: CanalConfig, random: SampleRandom) -> RootsParams | None:
    if config.roots_probability == 0:
        return None
    on = random.chance("roots", config.roots_probability)
    return RootsParams(
        key=random.key("roots_field"),
        share=random.uniform("roots_share", *config.roots_share) * on,
        length_mm=random.uniform("roots_length", *config.root_length_mm),
        width_mm=random.uniform("roots_width", *config.root_width_mm),
    )


def paint_canal(
    painted: Tensor, codes: Tensor, frame: SpineFrame, params: CanalParams | None, spacing_mm: Spacing
) -> Tensor:
    """Paint cord and nerve roots where the codes say canal."""
    if params is None:
        return painted
    behind, step_mm = _columns(codes, spacing_mm)
    conus = frame.body_mm[:, 0] - params.conus_mm
    height = (conus.unsqueeze(1) - frame.rows_mm).view(len(codes), *[1] * (codes.dim() - 3), -1, 1)

    half_width = per_sample(params.cord_mm, codes) * (height / CONE_MM).clamp(0, 1)
    cord = above(half_width, (behind - per_sample(params.cord_offset_mm, codes)).abs())
    table = cord * CORD + (1 - cord) * CANAL
    if params.roots is not None:
        below = above(-height, -OVERLAP_MM) * above(behind, ROOTS_FRONT_MM)
        strands = _strands(params.roots, (*codes.shape[1:-1], len(behind)), (*spacing_mm[:-1], step_mm))
        table = overpaint(table, ROOTS, strands * below * (1 - cord))
    return overpaint(painted, _look_up(table, frame, step_mm), has_code(codes, CANAL))


def _columns(codes: Tensor, spacing_mm: Spacing) -> tuple[Tensor, float]:
    """Distance behind the canal's middle of the columns of a table, mm, and their step."""
    step_mm = _STEP * min(1.0, spacing_mm[-1])
    return centred_positions(2 * int(REACH_MM / step_mm) + 1, step_mm, codes.device), step_mm


def _look_up(table: Tensor, frame: SpineFrame, step_mm: float) -> Tensor:
    """Entry ``(B, *grid)`` of every pixel in a table of rows and columns behind the canal's middle."""
    count = table.shape[-1]
    place = frame.behind_mm * (1 / step_mm)
    place += count / 2
    place = place.clamp_(0, count - 1)
    return table.expand(*place.shape[:-1], count).gather(-1, place.long())


def _strands(roots: RootsParams, grid: tuple[int, ...], spacing_mm: Spacing) -> Tensor:
    """1 in a root, else 0, uint8 ``(B, *grid)``, across the canal on the last axis."""
    # In units of the finest correlations one coarse grid fits both of these very different lengths.
    units = [FINEST_ROOT_LENGTH_MM] * (len(grid) - 1) + [FINEST_ROOT_WIDTH_MM]
    lengths = [roots.length_mm] * (len(grid) - 1) + [roots.width_mm]
    field = smooth_field(
        roots.key,
        "roots",
        grid,
        [spacing / unit for spacing, unit in zip(spacing_mm, units, strict=True)],
        torch.stack([length / unit for length, unit in zip(lengths, units, strict=True)], dim=1),
        smallest_mm=1.0,
    )
    return _fills(field, roots.share)


def _fills(field: Tensor, share: Tensor) -> Tensor:
    """1 in that share of a standard normal field, else 0, uint8; ``share`` is ``(B,)``."""
    return above(per_sample(torch.special.ndtri(share), field), field)


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
    thickness_mm: Range = (2.5, 2.5)
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
    """Paint fat close outside the canal, over the background (also the sacrum) but over no structure."""
    if params is None:
        return painted
    behind, step_mm = _columns(codes, spacing_mm)
    grid, grid_mm = (*codes.shape[1:-1], len(behind)), (*spacing_mm[:-1], step_mm)
    field = smooth_field(params.key, "epidural_fat", grid, grid_mm, params.patch_mm, FINEST_PATCH_MM)
    patches = _look_up(_fills(field, params.share), frame, step_mm)
    near = above(depth_mm[:, STRUCTURES.index("canal")], -per_sample(params.thickness_mm, codes))
    return overpaint(painted, EPIDURAL_FAT, patches * near * unlabelled(codes, painted))


FINEST_LENGTH_MM = 5.0
"""Least correlation length of their thickness, which is drawn on a grid this coarse."""
_HIGH = 1.5
"""Where the random field is this high, a pad is as thick as drawn; it ends where the field falls to the level
that leaves its share of the rows."""
_LEAST_RISE = 0.5
"""Pads of the least shares, whose level is that high, become no steeper than this."""
_LEAST_SHARE = 1e-4
"""Shares keep this far from 0 and 1, where the level would be infinite."""


@dataclass(frozen=True, kw_only=True, slots=True)
class FatPadsParams(Batch):
    """Fat pads of a batch; ``thickness_mm`` is 0 for none."""

    key: Tensor
    share: Tensor
    thickness_mm: Tensor
    length_mm: Tensor

    def touched(self) -> Tensor:
        """Which samples it changes."""
        return self.thickness_mm > 0


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

    bounds = within(
        "share", thickness_mm=(0.0, 30.0), length_mm=(FINEST_LENGTH_MM, WIDEST * FINEST_LENGTH_MM)
    )
    along_spine = True
    hidden_with = ("canal", "thickness_mm")
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
        )


def paint_fat_pads(
    painted: Tensor, codes: Tensor, frame: SpineFrame, params: FatPadsParams | None, spacing_mm: Spacing
) -> Tensor:
    """Paint the pads over the background (also the sacrum) but over no structure.

    A pad begins at the last pixel of the canal in its row. Below the last row that shows the canal the pads
    lie around its course, on either side. Above the first row, and in slices without canal, there are none.
    """
    if params is None:
        return painted
    # Thickness of every row, (B, *grid[:-1]), mm; 0 in all but the pads' share of the rows.
    grid = codes.shape[1:-1]
    field = smooth_field(params.key, "fat_pads", grid, spacing_mm[:-1], params.length_mm, FINEST_LENGTH_MM)
    level = per_sample(-torch.special.ndtri(params.share.clamp(_LEAST_SHARE, 1 - _LEAST_SHARE)), field)
    rise = ((field - level) / (_HIGH - level).clamp(min=_LEAST_RISE)).clamp(0, 1)
    thick = rise * per_sample(params.thickness_mm, field)
    # The last pixel of the canal, (B, *grid[:-1]), and the rows below the canal.
    border = (has_code(codes, CANAL) * frame.behind_mm).amax(-1)
    seen = above(border, 0.0)
    row = torch.arange(1, codes.shape[-2] + 1, device=codes.device)
    end = (seen * row).amax(-1, keepdim=True)
    below = (row > end) * (end > 0)
    # A pad's middle and half of its width; in rows above the canal it has none.
    middle = border + seen * (0.5 * thick + 0.25 * spacing_mm[-1])
    half = seen * (0.5 * thick + 0.25 * spacing_mm[-1]) + below * thick
    pads = above(half.unsqueeze(-1), (frame.behind_mm - middle.unsqueeze(-1)).abs_())
    return overpaint(painted, EPIDURAL_FAT, pads * unlabelled(codes, painted))
