"""What ails end plates: Modic-like bands in the bone along a disc, and Schmorl nodes.

They are painted, not asked for: the target stays vertebra. Every end plate has a state of its own; a plate is
known by the disc next to it (rank 1..25) and by the side of the disc it lies on. The upper plate of a painted
sacrum is the one below the lowest disc.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional

from gen.anatomy import MAX_RANK, STRUCTURES
from gen.brush import above, has_code, overpaint, per_sample
from gen.byte_masks import at_most, between, greatest_above, greatest_below
from gen.counter_rng import SampleRandom
from gen.palette import DISCS, MODIC, SACRUM, SCHMORL, VERTEBRAE
from gen.record import Batch
from gen.separable import centred_positions, smooth_field
from gen.settings import Range, check, check_within

WAVE_MM, WAVE_GRID_MM = 7.0, 4.0
"""Correlation length of the field that makes a band waver along its plate, and its grid."""
GREATEST_MM = 5.5
"""Farthest that anything may reach from its disc: distances to borders end soon after."""
OBLIQUE = 1.4
"""A disc may lie this much farther along a row than its distance: 45 degrees."""
GAP_MM = 1.5
"""Annotators leave about this much between a disc and the bone; a node fills it."""
FLATNESS = 1.1
"""Radius of a node along its plate against its depth."""
_SIDES = 2
_SIDE_STEP = 64
"""Entries of one side in a table of plates: more than the greatest code of a disc."""
_NEVER = -1e4


@dataclass(frozen=True, kw_only=True, slots=True)
class ModicConfig:
    """Marrow changes along end plates."""

    probability: float = 0.15
    """Probability that a spine has any."""
    plate_probability: float = 0.35
    """Probability, in such a spine, that an end plate has it."""
    extent_mm: Range = (3.0, 5.5)
    """Mean distance from the disc to where the change ends, mm."""
    patchiness_mm: Range = (0.3, 2.0)
    """Standard deviation of that distance along the plate, mm."""

    def __post_init__(self) -> None:
        check(self)
        check_within(self, extent_mm=(0.0, GREATEST_MM), patchiness_mm=(0.0, GREATEST_MM))


@dataclass(frozen=True, kw_only=True, slots=True)
class ModicParams(Batch):
    """End-plate changes.

    Attributes:
        key: key of the field that shapes them, int32 ``(B, 2)``.
        extent_mm: distance from the disc, for the plate above and below each disc, ``(B, 2, 25)``; 0: none.
        patchiness_mm: its standard deviation along the plates, ``(B,)``.
    """

    key: Tensor
    extent_mm: Tensor
    patchiness_mm: Tensor


@dataclass(frozen=True, kw_only=True, slots=True)
class SchmorlConfig:
    """Half-round nodes of disc tissue in end plates."""

    probability: float = 0.15
    """Probability that a spine has any."""
    plate_probability: float = 0.25
    """Probability, in such a spine, that an end plate has one."""
    radius_mm: Range = (3.0, 4.4)
    """Radius of a node along its end plate, mm; into the bone it is a little flatter."""
    behind_mm: Range = (-36.0, -16.0)
    """Its middle, behind the middle of the canal, mm; negative is in front."""
    across_mm: Range = (-12.0, 12.0)
    """Its middle across the slices, from the middle of the volume, mm (3D only)."""

    def __post_init__(self) -> None:
        check(self)
        check_within(self, radius_mm=(0.0, FLATNESS * (GREATEST_MM - GAP_MM)))


@dataclass(frozen=True, kw_only=True, slots=True)
class SchmorlParams(Batch):
    """Nodes: one at most per plate, for the plate above and below each disc.

    Attributes:
        radius_mm: ``(B, 2, 25)``; 0 for none.
        behind_mm: position behind the middle of the canal, ``(B, 2, 25)``.
        across_mm: position across the slices from the middle of the volume, ``(B, 2, 25)``.
    """

    radius_mm: Tensor
    behind_mm: Tensor
    across_mm: Tensor


def draw_modic(config: ModicConfig, random: SampleRandom) -> ModicParams | None:
    """Draw end-plate changes; None if there never are any."""
    if 0 in (config.probability, config.plate_probability):
        return None
    on = _plates_on(random, "modic", config.probability, config.plate_probability)
    return ModicParams(
        key=random.key("modic_field"),
        extent_mm=random.uniform("modic_extent", *config.extent_mm, shape=(_SIDES, MAX_RANK)) * on,
        patchiness_mm=random.uniform("modic_patchiness", *config.patchiness_mm),
    )


def draw_schmorl(config: SchmorlConfig, random: SampleRandom) -> SchmorlParams | None:
    """Draw Schmorl nodes; None if there never are any."""
    if 0 in (config.probability, config.plate_probability):
        return None
    on = _plates_on(random, "schmorl", config.probability, config.plate_probability)
    plates = (_SIDES, MAX_RANK)
    return SchmorlParams(
        radius_mm=random.uniform("schmorl_radius", *config.radius_mm, shape=plates) * on,
        behind_mm=random.uniform("schmorl_behind", *config.behind_mm, shape=plates),
        across_mm=random.uniform("schmorl_across", *config.across_mm, shape=plates),
    )


def _plates_on(random: SampleRandom, name: str, probability: float, each: float) -> Tensor:
    spine = random.chance(f"{name}_on", probability).view(-1, 1, 1)
    return spine & (random.uniform(f"{name}_plates", shape=(_SIDES, MAX_RANK)) < each)


def end_plates(codes: Tensor, spacing_mm: Sequence[float]) -> Tensor:
    """Which end plate a pixel is near to: entry in a table of plates, 0 for none.

    Returns:
        int64, shape ``(B, pixels)``: the code of a disc that lies below, or that of one above plus 64.
    """
    rows = int(OBLIQUE * GREATEST_MM / spacing_mm[-2] + 0.5)
    discs = codes * between(codes, DISCS.start, DISCS.stop - 1)
    upper = greatest_above(discs, rows)
    plates = torch.maximum(greatest_below(discs, rows), upper + _SIDE_STEP * upper.clamp(max=1))
    return plates.flatten(1).long()


def paint_modic(
    painted: Tensor,
    plates: Tensor,
    depth_mm: Tensor,
    params: ModicParams | None,
    spacing_mm: Sequence[float],
) -> Tensor:
    """Paint end-plate changes: bone nearer to the disc than a distance that wavers along the plate."""
    if params is None:
        return painted
    extent = torch.where(params.extent_mm > 0, params.extent_mm, _NEVER)
    # The wave runs along the plates: one value per column (and slice) is enough.
    grid = (*painted.shape[1:-2], 1, painted.shape[-1])
    size = torch.full((len(painted), len(grid)), WAVE_MM, device=painted.device)
    wave = smooth_field(params.key, "modic", grid, spacing_mm, size, WAVE_GRID_MM)
    reach = _of_plate(extent, plates, painted, nowhere=_NEVER).add_(
        per_sample(params.patchiness_mm, wave) * wave
    )
    bone = between(painted, VERTEBRAE.start, VERTEBRAE.stop - 1) + has_code(painted, SACRUM)
    near = above(reach.clamp_(max=GREATEST_MM).add_(depth_mm[:, STRUCTURES.index("disc")]), 0)
    return overpaint(painted, MODIC, near * bone)


def paint_schmorl(
    painted: Tensor,
    codes: Tensor,
    plates: Tensor,
    depth_mm: Tensor,
    behind_mm: Tensor,
    params: SchmorlParams | None,
    spacing_mm: Sequence[float],
) -> Tensor:
    """Paint flat half balls into the bone, open to the disc across the line between the two."""
    if params is None:
        return painted
    radius, behind = (_of_plate(v, plates, painted) for v in (params.radius_mm, params.behind_mm))
    deep = (depth_mm[:, STRUCTURES.index("disc")] + GAP_MM).clamp_(max=0).mul_(FLATNESS)
    away = behind.sub_(behind_mm)
    room = radius.square_().sub_(deep.square_()).sub_(away.square_())
    if painted.dim() == 4:
        slices = centred_positions(painted.shape[1], spacing_mm[0], painted.device)[:, None, None]
        room.sub_((slices - _of_plate(params.across_mm, plates, painted)).square_())
    # In front of the bone there is no end plate to break through.
    bone = depth_mm[:, STRUCTURES.index("vertebra")] + GAP_MM
    inside = above(torch.minimum(room, bone), 0) * at_most(codes, VERTEBRAE.stop - 1)
    return overpaint(painted, SCHMORL, inside)


def _of_plate(values: Tensor, plates: Tensor, like: Tensor, nowhere: float = 0.0) -> Tensor:
    """Value, of ``(B, 2, 25)``, of the plate a pixel is near to; ``nowhere`` at none; shaped ``like``."""
    table = functional.pad(values, (DISCS.start, _SIDE_STEP - DISCS.stop), value=nowhere).flatten(1)
    return table.gather(1, plates).reshape(like.shape)
