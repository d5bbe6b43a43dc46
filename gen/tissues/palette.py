"""The painted tissues: codes, T1 and T2 intensities, relaxation and fat.

A painted map holds dense anatomical codes (``gen.core.anatomy``) where a structure is labelled, and the codes
of this table elsewhere. Means and deviations of vertebra, disc and cerebrospinal fluid are measured on the
training patients of ``benchmarks/spider_mini_split.json`` (SPIDER, van der Graaf et al. 2024) by
``benchmarks/tissue_means.py``: 9 T1 and 10 T2 slices. The others are assumptions: fat is bright on both
weightings, muscle is dark on T2, air and flow are empty, oedema is dark on T1 and bright on T2.
"""

from dataclasses import dataclass, replace

from synthspine.gen.core.anatomy import CANAL, DISC_OFFSET, MAX_RANK

COARSE_REGIONS = 6
MEDIUM_REGIONS = 4
FINE_REGIONS = 4

FIRST_COARSE = 64
FIRST_MEDIUM = FIRST_COARSE + COARSE_REGIONS
FIRST_FINE = FIRST_MEDIUM + MEDIUM_REGIONS
MUSCLE = FIRST_FINE + FINE_REGIONS
PAINT_CODES = MUSCLE + 22
MUSCLE_FAT, FAT, AIR, VESSEL, SACRUM, SACRAL_DISC, CORD, ROOTS, EPIDURAL_FAT = range(MUSCLE + 1, MUSCLE + 10)
OUTSIDE, BOWEL_WALL, BOWEL_CONTENT, BOWEL_GAS, MODIC, HAEMANGIOMA, SCHMORL, IMPLANT = range(
    MUSCLE + 10, MUSCLE + 18
)
MARROW, CORTICAL_BONE, KIDNEY, FLUID = range(MUSCLE + 18, PAINT_CODES)

VERTEBRAE = slice(1, MAX_RANK + 1)
DISCS = slice(DISC_OFFSET + 1, DISC_OFFSET + MAX_RANK + 1)
REGIONS = slice(FIRST_COARSE, MUSCLE)

Pair = tuple[float, float]


@dataclass(frozen=True, kw_only=True, slots=True)
class Tissue:
    """A painted tissue."""

    codes: slice | int  # painted codes that share it
    t1: Pair  # mean and standard deviation between patients on T1-weighted images, share of full scale
    t2: Pair  # the same on T2-weighted images
    # it lies between two tissues of ``gen.intensity.spin_echo.TISSUES``; None: any relaxation is possible
    relaxation: tuple[str, str] | None
    blend: Pair = (0.0, 1.0)  # range of the share of the second of the two
    fat: float = 0.0  # share of its signal that is lipid, 0..1; of random regions see ``FAT_FRACTION``


MARROW_FAT = 0.7
"""Share of the signal of bone marrow that is lipid. Where 0.45 of its protons are lipid, 0.6 of the signal is
on T1-weighted and 0.8 on T2-weighted images: water in marrow has the longer T1 and the shorter T2."""
_BONE = Tissue(
    codes=VERTEBRAE,
    t1=(0.50, 0.11),
    t2=(0.48, 0.09),
    relaxation=("marrow", "fat"),
    blend=(0.0, 0.4),
    fat=MARROW_FAT,
)
_DISC = Tissue(codes=DISCS, t1=(0.26, 0.09), t2=(0.21, 0.10), relaxation=("annulus", "nucleus dry"))
_FLUID = ("cerebrospinal fluid", "cerebrospinal fluid")
_CSF = Tissue(codes=CANAL, t1=(0.15, 0.05), t2=(0.93, 0.07), relaxation=_FLUID)
_VOID = Tissue(codes=AIR, t1=(0.01, 0.02), t2=(0.01, 0.02), relaxation=("air", "air"))
_FAT = Tissue(codes=FAT, t1=(0.95, 0.12), t2=(0.85, 0.16), relaxation=("fat", "fat"), fat=1.0)

TISSUES: dict[str, Tissue] = {
    "background": Tissue(codes=REGIONS, t1=(0.30, 0.28), t2=(0.26, 0.28), relaxation=None),
    "vertebra": _BONE,
    "disc": _DISC,
    "csf": _CSF,
    "cord": Tissue(codes=CORD, t1=(0.30, 0.06), t2=(0.40, 0.10), relaxation=("cord", "cord")),
    "roots": Tissue(
        codes=ROOTS, t1=(0.27, 0.06), t2=(0.42, 0.12), relaxation=("nerve root", _FLUID[0]), blend=(0.0, 0.5)
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
    "fat": _FAT,
    "epidural_fat": replace(_FAT, codes=EPIDURAL_FAT, t1=(0.85, 0.15), t2=(0.75, 0.18)),
    "air": _VOID,
    "vessel": Tissue(codes=VESSEL, t1=(0.10, 0.08), t2=(0.07, 0.06), relaxation=("flow void", "flow void")),
    "sacrum": replace(_BONE, codes=SACRUM),
    "sacral_disc": replace(_DISC, codes=SACRAL_DISC),
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
    "bowel_gas": replace(_VOID, codes=BOWEL_GAS, t1=(0.02, 0.03), t2=(0.02, 0.03)),
    "modic": Tissue(codes=MODIC, t1=(0.45, 0.22), t2=(0.60, 0.16), relaxation=("oedema", "fat"), fat=0.4),
    "haemangioma": Tissue(
        codes=HAEMANGIOMA, t1=(0.75, 0.14), t2=(0.75, 0.15), relaxation=("fat", "slow blood"), fat=0.6
    ),
    "schmorl": Tissue(
        codes=SCHMORL, t1=(0.27, 0.08), t2=(0.24, 0.12), relaxation=("annulus", "nucleus hydrated")
    ),
    "implant": replace(_VOID, codes=IMPLANT),
    "marrow": replace(_BONE, codes=MARROW),
    "cortical_bone": Tissue(
        codes=CORTICAL_BONE, t1=(0.08, 0.06), t2=(0.06, 0.05), relaxation=("cortical bone", "ligament")
    ),
    "kidney": Tissue(
        codes=KIDNEY,
        t1=(0.34, 0.10),
        t2=(0.60, 0.16),
        relaxation=("bowel content", "oedema"),
        blend=(0.0, 0.5),
    ),
    "fluid": replace(_CSF, codes=FLUID),
}
"""Every painted tissue but ``OUTSIDE``, which is empty."""

FAT_REGION_STEP = 3
"""Every third random region is fatty, as about a third of what lies around the spine in a slice is fat."""
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
