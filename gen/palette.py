"""The tissues that are painted: their codes and their measured T1 and T2 intensities.

A painted map holds dense anatomical codes (``gen.anatomy``) where a structure is labelled, and the codes
of this table elsewhere. The means of vertebra, disc and canal come from 38 real SPIDER mid-slices (8-bit
values / 255: T1 .52 / .28 / .22, T2 .46 / .18 / .69, before shading and partial volume); the others follow
from what is known of the tissues: fat and marrow bright on both, muscle dark on T2, air and flow empty.
"""

from dataclasses import dataclass

from gen.anatomy import CANAL, DISC_OFFSET, MAX_RANK

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
PAINT_CODES = OUTSIDE + 1

VERTEBRAE = slice(1, MAX_RANK + 1)
DISCS = slice(DISC_OFFSET + 1, DISC_OFFSET + MAX_RANK + 1)


@dataclass(frozen=True, kw_only=True, slots=True)
class Tissue:
    """Intensity of a tissue on T1- and T2-weighted images.

    Attributes:
        codes: painted codes that share it.
        t1: mean and standard deviation between patients and scanners, share of full scale.
        t2: the same on T2.
    """

    codes: slice | int
    t1: tuple[float, float]
    t2: tuple[float, float]


TISSUES: dict[str, Tissue] = {
    "background": Tissue(codes=slice(FIRST_COARSE, MUSCLE), t1=(0.30, 0.28), t2=(0.26, 0.28)),
    "vertebra": Tissue(codes=VERTEBRAE, t1=(0.54, 0.10), t2=(0.46, 0.11)),
    "disc": Tissue(codes=DISCS, t1=(0.27, 0.06), t2=(0.18, 0.07)),
    "csf": Tissue(codes=CANAL, t1=(0.19, 0.06), t2=(0.82, 0.13)),
    "cord": Tissue(codes=CORD, t1=(0.30, 0.06), t2=(0.40, 0.10)),
    "roots": Tissue(codes=ROOTS, t1=(0.27, 0.06), t2=(0.42, 0.12)),
    "muscle": Tissue(codes=MUSCLE, t1=(0.24, 0.08), t2=(0.14, 0.07)),
    "muscle_fat": Tissue(codes=MUSCLE_FAT, t1=(0.70, 0.18), t2=(0.60, 0.18)),
    "fat": Tissue(codes=FAT, t1=(0.95, 0.12), t2=(0.85, 0.16)),
    "epidural_fat": Tissue(codes=EPIDURAL_FAT, t1=(0.85, 0.15), t2=(0.75, 0.18)),
    "air": Tissue(codes=AIR, t1=(0.01, 0.02), t2=(0.01, 0.02)),
    "vessel": Tissue(codes=VESSEL, t1=(0.10, 0.08), t2=(0.07, 0.06)),
}
"""Sacrum and sacral discs follow vertebra and disc; outside is empty."""
