"""The tissues that are painted: their codes, measured T1 and T2 intensities, relaxation and fat.

A painted map holds dense anatomical codes (``gen.core.anatomy``) where a structure is labelled, and the codes
of this table elsewhere. The means of vertebra, disc and canal come from 38 real SPIDER mid-slices (8-bit
values / 255: T1 .52 / .28 / .22, T2 .46 / .18 / .69, before shading and partial volume); the others follow
from what is known of the tissues: fat and marrow bright on both, muscle dark on T2, air and flow empty,
oedema dark on T1 and bright on T2, a haemangioma bright on both.
"""

from dataclasses import dataclass

from synthspine.gen.core.anatomy import CANAL, DISC_OFFSET, MAX_RANK

COARSE_REGIONS = 6
MEDIUM_REGIONS = 4
FINE_REGIONS = 4

FIRST_COARSE = 64
FIRST_MEDIUM = FIRST_COARSE + COARSE_REGIONS
FIRST_FINE = FIRST_MEDIUM + MEDIUM_REGIONS
MUSCLE = FIRST_FINE + FINE_REGIONS
MUSCLE_FAT = MUSCLE + 1
FAT = MUSCLE + 2
AIR = MUSCLE + 3
VESSEL = MUSCLE + 4
SACRUM = MUSCLE + 5
SACRAL_DISC = MUSCLE + 6
CORD = MUSCLE + 7
ROOTS = MUSCLE + 8
EPIDURAL_FAT = MUSCLE + 9
OUTSIDE = MUSCLE + 10
BOWEL_WALL = MUSCLE + 11
BOWEL_CONTENT = MUSCLE + 12
BOWEL_GAS = MUSCLE + 13
MODIC = MUSCLE + 14
HAEMANGIOMA = MUSCLE + 15
SCHMORL = MUSCLE + 16
IMPLANT = MUSCLE + 17
PAINT_CODES = IMPLANT + 1

VERTEBRAE = slice(1, MAX_RANK + 1)
DISCS = slice(DISC_OFFSET + 1, DISC_OFFSET + MAX_RANK + 1)
REGIONS = slice(FIRST_COARSE, MUSCLE)

Pair = tuple[float, float]


@dataclass(frozen=True, kw_only=True, slots=True)
class Tissue:
    """A tissue that is painted.

    Attributes:
        codes: painted codes that share it.
        t1: mean and standard deviation between patients and scanners on T1-weighted images, share of
            full scale.
        t2: the same on T2-weighted images.
        relaxation: two tissues of ``gen.intensity.spin_echo.TISSUES`` between which it lies, or twice the
            same; None where any relaxation is possible (random regions).
        blend: range of the share of the second of the two.
        fat: share of its signal that is lipid, 0..1; of random regions see ``FAT_FRACTION``.
    """

    codes: slice | int
    t1: Pair
    t2: Pair
    relaxation: tuple[str, str] | None
    blend: Pair = (0.0, 1.0)
    fat: float = 0.0


TISSUES: dict[str, Tissue] = {
    "background": Tissue(codes=REGIONS, t1=(0.30, 0.28), t2=(0.26, 0.28), relaxation=None),
    "vertebra": Tissue(
        codes=VERTEBRAE,
        t1=(0.54, 0.10),
        t2=(0.46, 0.11),
        relaxation=("marrow", "fat"),
        blend=(0.0, 0.4),
        fat=0.5,
    ),
    "disc": Tissue(codes=DISCS, t1=(0.27, 0.06), t2=(0.18, 0.07), relaxation=("annulus", "nucleus dry")),
    "csf": Tissue(
        codes=CANAL,
        t1=(0.19, 0.06),
        t2=(0.82, 0.13),
        relaxation=("cerebrospinal fluid", "cerebrospinal fluid"),
    ),
    "cord": Tissue(codes=CORD, t1=(0.30, 0.06), t2=(0.40, 0.10), relaxation=("cord", "cord")),
    "roots": Tissue(
        codes=ROOTS,
        t1=(0.27, 0.06),
        t2=(0.42, 0.12),
        relaxation=("nerve root", "cerebrospinal fluid"),
        blend=(0.0, 0.5),
    ),
    "muscle": Tissue(codes=MUSCLE, t1=(0.24, 0.08), t2=(0.14, 0.07), relaxation=("muscle", "muscle")),
    "muscle_fat": Tissue(
        codes=MUSCLE_FAT,
        t1=(0.70, 0.18),
        t2=(0.60, 0.18),
        relaxation=("muscle", "fat"),
        blend=(0.3, 1.0),
        fat=0.7,
    ),
    "fat": Tissue(codes=FAT, t1=(0.95, 0.12), t2=(0.85, 0.16), relaxation=("fat", "fat"), fat=1.0),
    "epidural_fat": Tissue(
        codes=EPIDURAL_FAT, t1=(0.85, 0.15), t2=(0.75, 0.18), relaxation=("fat", "fat"), fat=1.0
    ),
    "air": Tissue(codes=AIR, t1=(0.01, 0.02), t2=(0.01, 0.02), relaxation=("air", "air")),
    "vessel": Tissue(codes=VESSEL, t1=(0.10, 0.08), t2=(0.07, 0.06), relaxation=("flow void", "flow void")),
    "sacrum": Tissue(
        codes=SACRUM,
        t1=(0.54, 0.10),
        t2=(0.46, 0.11),
        relaxation=("marrow", "fat"),
        blend=(0.0, 0.4),
        fat=0.5,
    ),
    "sacral_disc": Tissue(
        codes=SACRAL_DISC, t1=(0.27, 0.06), t2=(0.18, 0.07), relaxation=("annulus", "nucleus dry")
    ),
    "bowel_wall": Tissue(
        codes=BOWEL_WALL, t1=(0.27, 0.09), t2=(0.24, 0.10), relaxation=("bowel wall", "bowel wall")
    ),
    "bowel_content": Tissue(
        codes=BOWEL_CONTENT,
        t1=(0.35, 0.20),
        t2=(0.45, 0.28),
        relaxation=("bowel content", "urine"),
        blend=(0.0, 0.6),
    ),
    "bowel_gas": Tissue(codes=BOWEL_GAS, t1=(0.02, 0.03), t2=(0.02, 0.03), relaxation=("air", "air")),
    "modic": Tissue(codes=MODIC, t1=(0.45, 0.22), t2=(0.60, 0.16), relaxation=("oedema", "fat"), fat=0.4),
    "haemangioma": Tissue(
        codes=HAEMANGIOMA, t1=(0.75, 0.14), t2=(0.75, 0.15), relaxation=("fat", "slow blood"), fat=0.6
    ),
    "schmorl": Tissue(
        codes=SCHMORL, t1=(0.27, 0.08), t2=(0.24, 0.12), relaxation=("annulus", "nucleus hydrated")
    ),
    "implant": Tissue(codes=IMPLANT, t1=(0.01, 0.02), t2=(0.01, 0.02), relaxation=("air", "air")),
}
"""Outside is empty and has no entry."""

FAT_REGION_STEP = 3
"""Every third random region is fatty: between organs lies fat, about a third of what a slice shows."""
REGION_FAT = 0.9


def codes_of(tissue: Tissue) -> range:
    """The painted codes that share a tissue."""
    codes = tissue.codes
    return range(codes.start, codes.stop) if isinstance(codes, slice) else range(codes, codes + 1)


def _fat_fraction() -> tuple[float, ...]:
    table = [0.0] * PAINT_CODES
    for tissue in TISSUES.values():
        for code in codes_of(tissue):
            table[code] = tissue.fat
    for code in range(REGIONS.start + 1, REGIONS.stop, FAT_REGION_STEP):
        table[code] = REGION_FAT
    return tuple(table)


FAT_FRACTION: tuple[float, ...] = _fat_fraction()
"""Share of the signal of every painted code that is lipid, ``PAINT_CODES`` numbers in 0..1."""
