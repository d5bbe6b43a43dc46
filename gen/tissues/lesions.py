"""Lesions of vertebrae: Modic-like bands along end plates, Schmorl nodes, haemangiomas.

They are painted only: the target stays vertebra. Every end plate has a state of its own; a plate is
identified by the disc next to it (rank 1..25) and by the side of that disc. The upper plate of a painted
sacrum is the one below the lowest disc.
"""

import math
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional

from synthspine.gen.core.anatomy import MAX_RANK, STRUCTURES
from synthspine.gen.core.counter_rng import SampleRandom
from synthspine.gen.core.drawing import Feature, showcase
from synthspine.gen.core.feature import Batch, Range, Spacing, within
from synthspine.gen.core.filters import centred_positions
from synthspine.gen.core.masks import above, between, greatest_ahead, has_code, overpaint, per_sample
from synthspine.gen.tissues.palette import DISCS, HAEMANGIOMA, MODIC, SACRUM, SCHMORL, VERTEBRAE

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
class ModicParams(Batch):
    """End-plate changes."""

    extent_mm: Tensor  # from the disc, of the plate above and below each disc, 0 for none, ``(B, 2, 25)``
    patchiness_mm: Tensor
    wave_mm: Tensor  # lengths of the waves along columns and across slices, ``(B, 2, 3)``
    phase: Tensor  # where the waves begin, in turns, ``(B, 3)``

    def touched(self) -> Tensor:
        """Which samples it changes."""
        return self.extent_mm.flatten(1).any(1)


@dataclass(frozen=True, kw_only=True, slots=True)
class ModicConfig(Feature[ModicParams]):
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

    bounds = within(extent_mm=(0.0, GREATEST_MM), patchiness_mm=(0.0, GREATEST_MM), wave_mm=(1.0, 1e4))
    near_borders = True
    shown = showcase("middle_disc", plate_probability=0.7)

    def never(self) -> bool:
        """Whether the configuration leaves it out."""
        return 0 in (self.probability, self.plate_probability)

    def sample(self, random: SampleRandom) -> ModicParams:
        """Draw end-plate changes."""
        on = _plates_on(random, "modic", self.probability, self.plate_probability)
        return ModicParams(
            extent_mm=random.uniform("modic_extent", *self.extent_mm, shape=(_SIDES, MAX_RANK)) * on,
            patchiness_mm=random.uniform("modic_patchiness", *self.patchiness_mm),
            wave_mm=random.uniform("modic_wave", *self.wave_mm, shape=(2, WAVES)),
            phase=random.uniform("modic_phase", shape=(WAVES,)),
        )


@dataclass(frozen=True, kw_only=True, slots=True)
class SchmorlParams(Batch):
    """Nodes, at most one per plate: ``(B, 2, 25)`` for the plate above and below each disc."""

    radius_mm: Tensor  # 0 for none
    behind_mm: Tensor
    across_mm: Tensor

    def touched(self) -> Tensor:
        """Which samples it changes."""
        return self.radius_mm.flatten(1).any(1)


@dataclass(frozen=True, kw_only=True, slots=True)
class SchmorlConfig(Feature[SchmorlParams]):
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

    bounds = within(radius_mm=(0.0, GREATEST_MM - GAP_MM))
    along_spine = near_borders = True
    shown = showcase("middle_disc", plate_probability=0.6, radius_mm=(4.0, 6.0))

    def never(self) -> bool:
        """Whether the configuration leaves it out."""
        return 0 in (self.probability, self.plate_probability)

    def sample(self, random: SampleRandom) -> SchmorlParams:
        """Draw Schmorl nodes."""
        on = _plates_on(random, "schmorl", self.probability, self.plate_probability)
        plates = (_SIDES, MAX_RANK)
        return SchmorlParams(
            radius_mm=random.uniform("schmorl_radius", *self.radius_mm, shape=plates) * on,
            behind_mm=random.uniform("schmorl_behind", *self.behind_mm, shape=plates),
            across_mm=random.uniform("schmorl_across", *self.across_mm, shape=plates),
        )


def _plates_on(random: SampleRandom, name: str, probability: float, each: float) -> Tensor:
    spine = random.chance(f"{name}_on", probability).view(-1, 1, 1)
    return spine & (random.uniform(f"{name}_plates", shape=(_SIDES, MAX_RANK)) < each)


class Plates(NamedTuple):
    """The end plate that every pixel of bone is nearest to, along its column."""

    # code of the disc below, or of the disc above plus 64; 0 or 64 without either; int64 ``(B, pixels)``
    entry: Tensor
    away_mm: Tensor  # from the disc, float32 ``(B, *grid)``; more than ``GREATEST_MM`` without plate


def end_plates(codes: Tensor, painted: Tensor, spacing_mm: Spacing) -> Plates:
    """Find the end plates; bone is what is painted as vertebra, sacrum or haemangioma."""
    rows = min(int(GREATEST_MM / spacing_mm[-2] + 0.5), 2**15 // _ROW_STEP - 2)
    disc = between(codes, DISCS.start, DISCS.stop - 1)
    # A disc's code, with how near it is in the higher bits: the greatest is the nearest.
    start = disc.short().mul_((rows + 1) * _ROW_STEP).add_(codes * disc)
    below = greatest_ahead(start, rows, 1, fade=_ROW_STEP)
    nearest = below.maximum(greatest_ahead(start + _SIDE_STEP, rows, -1, fade=_ROW_STEP))
    near = (nearest >> (_ROW_STEP.bit_length() - 1)).float()
    bone = between(painted, VERTEBRAE.start, VERTEBRAE.stop - 1)
    bone += has_code(painted, SACRUM) + has_code(painted, HAEMANGIOMA)
    entry = nearest.bitwise_and_(_ROW_STEP - 1).mul_(bone)
    return Plates(entry.flatten(1).long(), near.mul_(-spacing_mm[-2]).add_((rows + 1) * spacing_mm[-2]))


def paint_modic(painted: Tensor, plates: Plates, params: ModicParams | None, spacing_mm: Spacing) -> Tensor:
    """Paint end-plate changes: bone nearer to the disc than a distance that wavers along the plate."""
    if params is None:
        return painted
    extent = torch.where(params.extent_mm > 0, params.extent_mm, _NEVER)
    # Deviation of the extent, mm: one value per column (and slice) is enough, (B, [Z,] 1, W).
    columns_mm = centred_positions(painted.shape[-1], spacing_mm[-1], painted.device)
    turns = params.phase.unsqueeze(2) + columns_mm / params.wave_mm[:, 0].unsqueeze(2)
    if painted.dim() == 4:
        slices_mm = centred_positions(painted.shape[1], spacing_mm[0], painted.device)
        turns = turns.unsqueeze(2) + (slices_mm / params.wave_mm[:, 1].unsqueeze(2)).unsqueeze(3)
    waves = torch.cos((2 * math.pi) * turns).unbind(1)
    # Waves of amplitude 1 have the variance 1/2 each.
    wave = sum(waves[1:], waves[0]).unsqueeze(-2)
    wave = wave * per_sample(params.patchiness_mm * (2 / WAVES) ** 0.5, wave)
    reach = _of_plate(extent, plates, nowhere=_NEVER).add_(wave)
    return overpaint(painted, MODIC, above(reach, plates.away_mm))


def paint_schmorl(
    painted: Tensor, plates: Plates, behind_mm: Tensor, params: SchmorlParams | None, spacing_mm: Spacing
) -> Tensor:
    """Paint half balls into the bone, about points on its border."""
    if params is None:
        return painted
    room = _of_plate(params.radius_mm.square(), plates)
    away = _of_plate(params.behind_mm, plates).sub_(behind_mm).square_()
    away.add_((plates.away_mm - GAP_MM).clamp_(min=0).square_())
    if painted.dim() == 4:
        slices_mm = centred_positions(painted.shape[1], spacing_mm[0], painted.device)[:, None, None]
        away.add_(_of_plate(params.across_mm, plates).sub_(slices_mm).square_())
    return overpaint(painted, SCHMORL, above(room, away))


def _of_plate(values: Tensor, plates: Plates, nowhere: float = 0.0) -> Tensor:
    """Value, from ``(B, 2, 25)``, of the nearest plate, or ``nowhere`` without one; ``(B, *grid)``."""
    table = functional.pad(values, (DISCS.start, _SIDE_STEP - DISCS.stop), value=nowhere).flatten(1)
    return table.gather(1, plates.entry).reshape(plates.away_mm.shape)


SPOTS = 11
"""Spots that a picture may have, one above the other."""
PITCH_MM = 25.0
"""Height of a spot above the one below it; no two share a row."""
SHELL_MM = 1.5
"""Compact bone at the surface of a vertebra, free of haemangiomas."""


@dataclass(frozen=True, kw_only=True, slots=True)
class HaemangiomaParams(Batch):
    """Round spots inside vertebrae, ``(B, 11)`` each."""

    radius_mm: Tensor  # 0 for no spot
    above_mm: Tensor  # height of its middle above the middle of the picture
    behind_mm: Tensor
    across_mm: Tensor

    def touched(self) -> Tensor:
        """Which samples it changes."""
        return self.radius_mm.any(1)


@dataclass(frozen=True, kw_only=True, slots=True)
class HaemangiomaConfig(Feature[HaemangiomaParams]):
    """Round spots inside vertebrae."""

    probability: float = 0.15
    """Probability that a spine has any."""
    spot_probability: float = 0.3
    """Probability, in such a spine, of a spot at a given height (every 25 mm)."""
    radius_mm: Range = (2.0, 8.0)
    """Radius of a spot, mm; the bone's surface cuts it off."""
    behind_mm: Range = (-38.0, -14.0)
    """Its middle behind the middle of the canal, mm; negative is in front."""
    across_mm: Range = (-12.0, 12.0)
    """Its middle across the slices, from the middle of the volume, mm (3D only)."""

    bounds = within(radius_mm=(0.0, PITCH_MM / 2))
    near_borders = True
    shown = showcase("middle_disc", spot_probability=0.8, radius_mm=(4.0, 8.0))

    def never(self) -> bool:
        """Whether the configuration leaves it out."""
        return 0 in (self.probability, self.spot_probability)

    def sample(self, random: SampleRandom) -> HaemangiomaParams:
        """Draw spots inside vertebrae."""
        spots = (SPOTS,)
        on = random.chance("haemangioma_on", self.probability).unsqueeze(1)
        on = on & (random.uniform("haemangioma_spots", shape=spots) < self.spot_probability)
        radius = random.uniform("haemangioma_radius", *self.radius_mm, shape=spots)
        middle = centred_positions(SPOTS, PITCH_MM, radius.device)
        room = PITCH_MM / 2 - radius
        return HaemangiomaParams(
            radius_mm=radius * on,
            above_mm=middle + room * random.uniform("haemangioma_above", -1.0, 1.0, shape=spots),
            behind_mm=random.uniform("haemangioma_behind", *self.behind_mm, shape=spots),
            across_mm=random.uniform("haemangioma_across", *self.across_mm, shape=spots),
        )


def paint_end_plates(
    painted: Tensor,
    codes: Tensor,
    behind_mm: Tensor,
    lesions: tuple[ModicParams | None, SchmorlParams | None],
    spacing_mm: Spacing,
) -> Tensor:
    """Paint the lesions of end plates; ``behind_mm`` is that of the frame."""
    modic, schmorl = lesions
    if modic is None and schmorl is None:
        return painted
    plates = end_plates(codes, painted, spacing_mm)
    with_bands = paint_modic(painted, plates, modic, spacing_mm)
    return paint_schmorl(with_bands, plates, behind_mm, schmorl, spacing_mm)


def paint_haemangioma(
    painted: Tensor,
    depth_mm: Tensor,
    behind_mm: Tensor,
    params: HaemangiomaParams | None,
    spacing_mm: Spacing,
) -> Tensor:
    """Paint round spots inside the bone; a row meets one spot at most."""
    if params is None:
        return painted
    rows_mm = centred_positions(painted.shape[-2], spacing_mm[-2], painted.device)
    # Squared half width of every spot in every row, (B, spots, [slices,] rows).
    half = params.radius_mm.square().unsqueeze(2) - (rows_mm + params.above_mm.unsqueeze(2)).square()
    if painted.dim() == 4:
        slices_mm = centred_positions(painted.shape[1], spacing_mm[0], painted.device)
        across = (slices_mm - params.across_mm.unsqueeze(2)).square()
        half = half.unsqueeze(2) - across.unsqueeze(3)
    half, spot = half.max(1, keepdim=True)
    spots = params.behind_mm.view(-1, SPOTS, *[1] * (half.dim() - 2)).expand(-1, -1, *half.shape[2:])
    middle = spots.gather(1, spot)[:, 0].unsqueeze(-1)
    room = half[:, 0].unsqueeze(-1) - (behind_mm - middle).square_()
    inside = depth_mm[:, STRUCTURES.index("vertebra")] - SHELL_MM
    return overpaint(painted, HAEMANGIOMA, above(torch.minimum(room, inside), 0))
