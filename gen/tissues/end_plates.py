"""What ails end plates: Modic-like bands in the bone along a disc, and Schmorl nodes.

They are painted, not asked for: the target stays vertebra. Every end plate has a state of its own; a plate is
known by the disc next to it (rank 1..25) and by the side of the disc it lies on. The upper plate of a painted
sacrum is the one below the lowest disc.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional

from synthspine.gen.core.anatomy import MAX_RANK
from synthspine.gen.core.counter_rng import SampleRandom
from synthspine.gen.core.feature import Batch, Range, check, check_within
from synthspine.gen.core.filters import centred_positions
from synthspine.gen.core.masks import above, between, has_code, overpaint, per_sample
from synthspine.gen.tissues.palette import DISCS, MODIC, SACRUM, SCHMORL, VERTEBRAE

WAVES = 3
"""Plane waves that make a band waver along its plate."""
GREATEST_MM = 12.0
"""Farthest from its disc, along a column, that anything may reach."""
GAP_MM = 1.5
"""Annotators leave about this much between a disc and the bone."""
_SIDES = 2
_SIDE_STEP = 64
"""Entries of one side in a table of plates: more than the greatest code of a disc."""
_ROW_STEP = 2 * _SIDE_STEP
_NEVER = -1e4


@dataclass(frozen=True, kw_only=True, slots=True)
class ModicConfig:
    """Marrow changes along end plates."""

    probability: float = 0.15
    """Probability that a spine has any."""
    plate_probability: float = 0.35
    """Probability, in such a spine, that an end plate has it."""
    extent_mm: Range = (3.5, 11.0)
    """Mean distance from the disc to where the change ends, mm."""
    patchiness_mm: Range = (0.5, 3.0)
    """Standard deviation of that distance along the plate, mm."""
    wave_mm: Range = (12.0, 60.0)
    """Length of the waves that make it differ, mm."""

    def __post_init__(self) -> None:
        check(self)
        check_within(self, extent_mm=(0.0, GREATEST_MM), patchiness_mm=(0.0, GREATEST_MM), wave_mm=(1.0, 1e4))


@dataclass(frozen=True, kw_only=True, slots=True)
class ModicParams(Batch):
    """End-plate changes.

    Attributes:
        extent_mm: distance from the disc, for the plate above and below each disc, ``(B, 2, 25)``; 0: none.
        patchiness_mm: its standard deviation along the plates, ``(B,)``.
        wave_mm: lengths of the waves that make it differ, along columns and across slices, ``(B, 2, 3)``.
        phase: where these waves begin, turns, ``(B, 3)``.
    """

    extent_mm: Tensor
    patchiness_mm: Tensor
    wave_mm: Tensor
    phase: Tensor


@dataclass(frozen=True, kw_only=True, slots=True)
class SchmorlConfig:
    """Half-round nodes of disc tissue in end plates."""

    probability: float = 0.15
    """Probability that a spine has any."""
    plate_probability: float = 0.25
    """Probability, in such a spine, that an end plate has one."""
    radius_mm: Range = (2.5, 6.0)
    """Radius of a node about a point on its end plate, mm."""
    behind_mm: Range = (-36.0, -16.0)
    """That point, behind the middle of the canal, mm; negative is in front."""
    across_mm: Range = (-12.0, 12.0)
    """That point across the slices, from the middle of the volume, mm (3D only)."""

    def __post_init__(self) -> None:
        check(self)
        check_within(self, radius_mm=(0.0, GREATEST_MM - GAP_MM))


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
        extent_mm=random.uniform("modic_extent", *config.extent_mm, shape=(_SIDES, MAX_RANK)) * on,
        patchiness_mm=random.uniform("modic_patchiness", *config.patchiness_mm),
        wave_mm=random.uniform("modic_wave", *config.wave_mm, shape=(2, WAVES)),
        phase=random.uniform("modic_phase", shape=(WAVES,)),
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


class Plates(NamedTuple):
    """The end plate that every pixel of bone is nearest to, along its column.

    Attributes:
        entry: place in a table of plates: the code of a disc that lies below, or that of one above plus 64;
            0 or 64 where there is no plate or no bone; int64 ``(B, pixels)``.
        away_mm: distance from the disc, mm, float32 ``(B, *grid)``; more than ``GREATEST_MM`` at none.
    """

    entry: Tensor
    away_mm: Tensor


def end_plates(codes: Tensor, painted: Tensor, spacing_mm: Sequence[float]) -> Plates:
    """Find the end plates.

    Args:
        codes: dense codes, uint8, shape ``(B, *grid)``.
        painted: painted codes, the same shape: bone is what is painted as vertebra or sacrum.
        spacing_mm: grid spacing per axis, mm.
    """
    rows = min(int(GREATEST_MM / spacing_mm[-2] + 0.5), 2**15 // _ROW_STEP - 2)
    disc = between(codes, DISCS.start, DISCS.stop - 1)
    # A disc's code, with how near it is in the higher bits: the greatest is the nearest.
    start = disc.short().mul_((rows + 1) * _ROW_STEP).add_(codes * disc)
    nearest = torch.maximum(
        _fading(functional.pad(start, (0, 0, 0, rows)), rows, upward=True),
        _fading(functional.pad(start + _SIDE_STEP, (0, 0, rows, 0)), rows, upward=False),
    )
    near = (nearest >> (_ROW_STEP.bit_length() - 1)).float()
    bone = between(painted, VERTEBRAE.start, VERTEBRAE.stop - 1) + has_code(painted, SACRUM)
    entry = nearest.bitwise_and_(_ROW_STEP - 1).mul_(bone)
    return Plates(entry.flatten(1).long(), near.mul_(-spacing_mm[-2]).add_((rows + 1) * spacing_mm[-2]))


def _fading(values: Tensor, rows: int, *, upward: bool) -> Tensor:
    """Greatest of the next ``rows`` rows, each less by its distance; ``rows`` fewer come out."""
    seen = 1
    while seen <= rows:
        step = min(seen, rows + 1 - seen)
        count = values.shape[-2] - step
        first, last = values.narrow(-2, 0, count), values.narrow(-2, step, count)
        near, far = (first, last) if upward else (last, first)
        values = torch.maximum(near, far - step * _ROW_STEP)
        seen += step
    return values


def paint_modic(
    painted: Tensor, plates: Plates, params: ModicParams | None, spacing_mm: Sequence[float]
) -> Tensor:
    """Paint end-plate changes: bone nearer to the disc than a distance that wavers along the plate."""
    if params is None:
        return painted
    extent = torch.where(params.extent_mm > 0, params.extent_mm, _NEVER)
    reach = _of_plate(extent, plates, nowhere=_NEVER).add_(_wave(painted, params, spacing_mm))
    return overpaint(painted, MODIC, above(reach, plates.away_mm))


def _wave(painted: Tensor, params: ModicParams, spacing_mm: Sequence[float]) -> Tensor:
    """Deviation of the extent, mm: one value per column (and slice) is enough, ``(B, [Z,] 1, W)``."""
    columns_mm = centred_positions(painted.shape[-1], spacing_mm[-1], painted.device)
    turns = params.phase.unsqueeze(2) + columns_mm / params.wave_mm[:, 0].unsqueeze(2)
    if painted.dim() == 4:
        slices_mm = centred_positions(painted.shape[1], spacing_mm[0], painted.device)
        turns = turns.unsqueeze(2) + (slices_mm / params.wave_mm[:, 1].unsqueeze(2)).unsqueeze(3)
    waves = torch.cos((2 * math.pi) * turns).unbind(1)
    # Waves of amplitude 1 have the variance 1/2 each.
    wave = sum(waves[1:], waves[0]).unsqueeze(-2)
    return wave * per_sample(params.patchiness_mm * (2 / WAVES) ** 0.5, wave)


def paint_schmorl(
    painted: Tensor,
    plates: Plates,
    behind_mm: Tensor,
    params: SchmorlParams | None,
    spacing_mm: Sequence[float],
) -> Tensor:
    """Paint half balls into the bone, about points on its border."""
    if params is None:
        return painted
    room = _of_plate(params.radius_mm.square(), plates)
    away = _of_plate(params.behind_mm, plates).sub_(behind_mm).square_()
    away.add_((plates.away_mm - GAP_MM).clamp_(min=0).square_())
    if painted.dim() == 4:
        slices_mm = centred_positions(painted.shape[1], spacing_mm[0], painted.device)[:, None, None]
        away.add_((slices_mm - _of_plate(params.across_mm, plates)).square_())
    return overpaint(painted, SCHMORL, above(room, away))


def _of_plate(values: Tensor, plates: Plates, nowhere: float = 0.0) -> Tensor:
    """Value, of ``(B, 2, 25)``, of the plate a pixel is nearest to; ``nowhere`` at none; ``(B, *grid)``."""
    table = functional.pad(values, (DISCS.start, _SIDE_STEP - DISCS.stop), value=nowhere).flatten(1)
    return table.gather(1, plates.entry).reshape(plates.away_mm.shape)
