"""What ails vertebrae: haemangioma-like spots here, end plates in ``gen.tissues.end_plates``.

Lesions are painted, not asked for: the target stays vertebra.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from synthspine.gen.core.anatomy import STRUCTURES
from synthspine.gen.core.counter_rng import SampleRandom
from synthspine.gen.core.feature import Batch, Range, check, check_within
from synthspine.gen.core.filters import centred_positions
from synthspine.gen.core.masks import above, overpaint
from synthspine.gen.tissues.end_plates import (
    ModicParams,
    SchmorlParams,
    end_plates,
    paint_modic,
    paint_schmorl,
)
from synthspine.gen.tissues.palette import HAEMANGIOMA

SPOTS = 11
"""Spots that a picture may have, one above the other."""
PITCH_MM = 25.0
"""Height of a spot above the one below it; no two share a row."""
SHELL_MM = 1.5
"""Compact bone at the surface of a vertebra, free of haemangiomas."""


@dataclass(frozen=True, kw_only=True, slots=True)
class HaemangiomaConfig:
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

    def __post_init__(self) -> None:
        check(self)
        check_within(self, radius_mm=(0.0, PITCH_MM / 2))


@dataclass(frozen=True, kw_only=True, slots=True)
class HaemangiomaParams(Batch):
    """Round spots inside vertebrae, all ``(B, 11)``, mm.

    Attributes:
        radius_mm: 0 for no spot.
        above_mm: middle above the middle of the picture.
        behind_mm: middle behind the middle of the canal.
        across_mm: middle across the slices, from the middle of the volume.
    """

    radius_mm: Tensor
    above_mm: Tensor
    behind_mm: Tensor
    across_mm: Tensor


def draw_haemangioma(config: HaemangiomaConfig, random: SampleRandom) -> HaemangiomaParams | None:
    """Draw spots inside vertebrae; None if there never are any."""
    if 0 in (config.probability, config.spot_probability):
        return None
    spots = (SPOTS,)
    on = random.chance("haemangioma_on", config.probability).unsqueeze(1)
    on = on & (random.uniform("haemangioma_spots", shape=spots) < config.spot_probability)
    radius = random.uniform("haemangioma_radius", *config.radius_mm, shape=spots)
    middle = centred_positions(SPOTS, PITCH_MM, radius.device)
    room = PITCH_MM / 2 - radius
    return HaemangiomaParams(
        radius_mm=radius * on,
        above_mm=middle + room * random.uniform("haemangioma_above", -1.0, 1.0, shape=spots),
        behind_mm=random.uniform("haemangioma_behind", *config.behind_mm, shape=spots),
        across_mm=random.uniform("haemangioma_across", *config.across_mm, shape=spots),
    )


def paint_lesions(
    painted: Tensor,
    codes: Tensor,
    depth_mm: Tensor,
    behind_mm: Tensor,
    spacing_mm: Sequence[float],
    *,
    modic: ModicParams | None = None,
    haemangioma: HaemangiomaParams | None = None,
    schmorl: SchmorlParams | None = None,
) -> Tensor:
    """Paint all lesions; what is None is left out.

    Args:
        painted: painted codes, uint8, shape ``(B, *grid)``.
        codes: dense codes, the same shape.
        depth_mm: distance inside the border of ``STRUCTURES``, mm, shape ``(B, 3, *grid)``.
        behind_mm: distance behind the middle of the canal, mm, shape ``(B, *grid)``.
        spacing_mm: grid spacing per axis, mm.
        modic: end-plate changes.
        haemangioma: spots.
        schmorl: nodes.

    Returns:
        Painted codes, uint8, shape ``(B, *grid)``.
    """
    with_spots = paint_haemangioma(painted, depth_mm, behind_mm, haemangioma, spacing_mm)
    if modic is None and schmorl is None:
        return with_spots
    plates = end_plates(codes, painted, spacing_mm)
    with_bands = paint_modic(with_spots, plates, modic, spacing_mm)
    return paint_schmorl(with_bands, plates, behind_mm, schmorl, spacing_mm)


def paint_haemangioma(
    painted: Tensor,
    depth_mm: Tensor,
    behind_mm: Tensor,
    params: HaemangiomaParams | None,
    spacing_mm: Sequence[float],
) -> Tensor:
    """Paint round spots inside the bone.

    A row meets one spot at most, so what a pixel is asked is how far it lies from the middle of its row's.
    """
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
