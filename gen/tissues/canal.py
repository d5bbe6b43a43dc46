"""Inside the canal: cord and nerve roots.

Cerebrospinal fluid is the canal's own code. Cord and roots run along the canal: they are painted into a
narrow table over rows and distances behind the canal's middle, in which the pixels look them up.
"""

from dataclasses import dataclass

import torch
from torch import Tensor

from synthspine.gen.core.anatomy import CANAL, STRUCTURES
from synthspine.gen.core.counter_rng import SampleRandom
from synthspine.gen.core.drawing import Feature, showcase
from synthspine.gen.core.feature import Batch, Range, Spacing, within
from synthspine.gen.core.filters import WIDEST, centred_positions, smooth_field
from synthspine.gen.core.masks import above, columns_of, has_code, overpaint, per_sample, with_columns
from synthspine.gen.geometry.spine_frame import SpineFrame
from synthspine.gen.tissues.palette import CORD, ROOTS

FINEST_ROOT_LENGTH_MM = 12.0
FINEST_ROOT_WIDTH_MM = 1.0
FINEST_NARROW_MM = 8.0
"""Least correlation lengths: random fields are drawn on grids this coarse."""

CONE_MM = 30.0
"""The cord narrows to its end over this length."""
OVERLAP_MM = 10.0
"""The uppermost roots run beside the end of the cord for this length."""
ROOTS_FRONT_MM = -3.0
"""Roots keep to the back of the canal, where they sink to in a patient lying down; mm behind its middle."""
SINKING_MM = 100.0
"""From the end of the cord on, roots sink to their lowest place over this length."""
DISC_MM = -13.0
"""What lies here, mm behind the canal's middle, tells the rows of discs."""
DISC_EDGE_MM = (-4.0, -2.0)
"""Depths of a disc there at which a narrow canal begins to be crowded and is full of roots."""
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
    sink_mm: Tensor
    crowded: Tensor  # 0 without a narrow canal


@dataclass(frozen=True, kw_only=True, slots=True)
class CanalParams(Batch):
    """Contents of the canal beside fluid; ``cord_mm`` is 0 without a cord."""

    cord_mm: Tensor
    cord_offset_mm: Tensor
    conus_mm: Tensor
    alike: Tensor
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
    roots_share: Range = (0.0, 1.0)
    """Share of the back of the canal that roots fill."""
    root_length_mm: Range = (14.0, 14.0)
    """Correlation length of the roots along the canal, mm."""
    root_width_mm: Range = (1.2, 1.2)
    """Correlation length of the roots across the canal, mm."""
    sink_mm: Range = (0.0, 6.0)
    """How much farther back the roots lie at the lower end of the canal, mm."""
    crowded_probability: float = 0.3
    """Probability of a canal that is narrow at discs, where roots fill it and no fluid is seen."""
    crowded: Range = (0.2, 0.8)
    """Share of the discs at which it is narrow."""
    alike_probability: float = 0.7
    """Probability that cord, roots and fluid look alike, as most often on T1-weighted images."""
    alike: Range = (0.2, 1.0)
    """Share of their difference that is lost."""

    bounds = within(
        "roots_share",
        "crowded",
        "alike",
        sink_mm=(0.0, REACH_MM),
        cord_mm=(0.0, REACH_MM),
        cord_offset_mm=(-REACH_MM, REACH_MM),
        root_length_mm=(FINEST_ROOT_LENGTH_MM, WIDEST * FINEST_ROOT_LENGTH_MM),
        root_width_mm=(FINEST_ROOT_WIDTH_MM, WIDEST * FINEST_ROOT_WIDTH_MM),
    )
    along_spine = near_borders = True
    shown = showcase(
        "middle_disc",
        cord_probability=1.0,
        cord_mm=(3.0, 4.0),
        roots_probability=1.0,
        roots_share=(0.5, 0.5),
        crowded_probability=1.0,
        crowded=(0.6, 0.6),
        alike_probability=0.0,
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
            alike=random.uniform("alike", *self.alike) * random.chance("alike_on", self.alike_probability),
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
        sink_mm=random.uniform("roots_sink", *config.sink_mm),
        crowded=random.uniform("crowded", *config.crowded)
        * random.chance("crowded_on", config.crowded_probability),
    )


def mingle(mean: Tensor, params: CanalParams | None) -> Tensor:
    """Bring the means of cord, roots and fluid together; ``mean`` and result ``(B, PAINT_CODES)``."""
    if params is None:
        return mean
    half = params.alike.unsqueeze(1) / 2
    fluid, cord, roots = (mean[:, code : code + 1] for code in (CANAL, CORD, ROOTS))
    tissue = (cord + roots) / 2
    middle = (fluid + tissue) / 2
    mean = mean.clone()
    mean[:, CANAL : CANAL + 1] = torch.lerp(fluid, tissue, half)
    mean[:, CORD : CORD + 1] = torch.lerp(cord, middle, 2 * half)
    mean[:, ROOTS : ROOTS + 1] = torch.lerp(roots, middle, 2 * half)
    return mean


def paint_canal(
    painted: Tensor,
    codes: Tensor,
    depth_mm: Tensor,
    frame: SpineFrame,
    params: CanalParams | None,
    spacing_mm: Spacing,
) -> Tensor:
    """Paint cord and nerve roots where the codes say canal."""
    if params is None:
        return painted
    behind, step_mm = canal_columns(codes, spacing_mm)
    conus = frame.body_mm[:, 0] - params.conus_mm
    height = (conus.unsqueeze(1) - frame.rows_mm).view(len(codes), *[1] * (codes.dim() - 3), -1, 1)

    half_width = per_sample(params.cord_mm, codes) * (height / CONE_MM).clamp(0, 1)
    cord = above(half_width, (behind - per_sample(params.cord_offset_mm, codes)).abs())
    table = cord * CORD + (1 - cord) * CANAL
    if params.roots is not None:
        roots = params.roots
        full = _narrow(roots, depth_mm, frame, spacing_mm).unsqueeze(-1)
        sunk = per_sample(roots.sink_mm, height) * (height * (-1 / SINKING_MM)).clamp(0, 1)
        front = ROOTS_FRONT_MM + sunk - full * (2 * REACH_MM)
        below = above(-height, -OVERLAP_MM) * above(behind, front)
        strands = _strands(roots, full, (*codes.shape[1:-1], len(behind)), (*spacing_mm[:-1], step_mm))
        table = overpaint(table, ROOTS, strands * below * (1 - cord))
    canal = has_code(codes, CANAL)
    columns = columns_of(canal)
    found = look_up(table, frame.behind_mm[..., columns], step_mm)
    return with_columns(painted, columns, overpaint(painted[..., columns], found, canal[..., columns]))


def _narrow(roots: RootsParams, depth_mm: Tensor, frame: SpineFrame, spacing_mm: Spacing) -> Tensor:
    """How full of roots a row is because a disc narrows the canal there, 0..1, ``(B, *grid[:-1])``."""
    disc = beside_canal(depth_mm[:, STRUCTURES.index("disc")], frame, DISC_MM, spacing_mm)
    first, full = DISC_EDGE_MM
    some = smooth_field(
        roots.key, "narrow", disc.shape[1:], spacing_mm[:-1], roots.length_mm, FINEST_NARROW_MM
    )
    return ((disc - first) * (1 / (full - first))).clamp(0, 1) * fills(some, roots.crowded)


def beside_canal(values: Tensor, frame: SpineFrame, place_mm: Tensor | float, spacing_mm: Spacing) -> Tensor:
    """What ``values`` ``(B, *grid)`` hold at that distance behind the canal's middle, ``(B, *grid[:-1])``."""
    column = (place_mm - frame.behind_mm[..., 0]) * (1 / spacing_mm[-1]) + 0.5
    column = column.clamp(0, values.shape[-1] - 1).long().unsqueeze(-1)
    return values.gather(-1, column).squeeze(-1)


def canal_columns(codes: Tensor, spacing_mm: Spacing) -> tuple[Tensor, float]:
    """Distance behind the canal's middle of the columns of a table, mm, and their step."""
    step_mm = _STEP * min(1.0, spacing_mm[-1])
    return centred_positions(2 * int(REACH_MM / step_mm) + 1, step_mm, codes.device), step_mm


def look_up(table: Tensor, behind_mm: Tensor, step_mm: float) -> Tensor:
    """Entry ``(B, *grid)`` of every pixel in a table of rows and columns behind the canal's middle.

    ``behind_mm`` is the pixels' distance behind it, ``(B, *grid)``; of the grid any columns.
    """
    count = table.shape[-1]
    place = behind_mm * (1 / step_mm)
    place += count / 2
    place = place.clamp_(0, count - 1)
    return table.expand(*place.shape[:-1], count).gather(-1, place.long())


def _strands(roots: RootsParams, full: Tensor, grid: tuple[int, ...], spacing_mm: Spacing) -> Tensor:
    """1 in a root, else 0, uint8 ``(B, *grid)``, across the canal on the last axis.

    ``full`` is the share of the room between the roots, 0..1, ``(B, *grid[:-1], 1)``, that they fill as well.
    """
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
    share = per_sample(roots.share, field)
    return above(torch.special.ndtri(share + (1 - share) * full), field)


def fills(field: Tensor, share: Tensor) -> Tensor:
    """1 in that share of a standard normal field, else 0, uint8; ``share`` is ``(B,)``."""
    return above(per_sample(torch.special.ndtri(share), field), field)
