"""Regions of a structure in slices, and pieces: regions of neighbouring slices that lie upon each other."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from synthspine.eval.labelling.islands import slice_components

UPON = 0.5
"""Share of the smaller of two regions of neighbouring slices that lies upon the other in one piece."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Region:
    """One connected region of a slice: index of its pixels, and their positions along the canal."""

    where: tuple[int, np.ndarray, np.ndarray]
    along_mm: np.ndarray

    @property
    def centre_mm(self) -> float:
        """Mean position along the canal."""
        return float(self.along_mm.mean())

    @property
    def length_mm(self) -> float:
        """Extent along the canal, without the outermost 2 % at both ends."""
        low, high = np.percentile(self.along_mm, (2, 98))
        return float(high - low)

    def part(self, chosen: np.ndarray) -> "Region":
        """The region of some of its pixels, bool ``(N,)``."""
        index, rows, columns = self.where
        return Region(where=(index, rows[chosen], columns[chosen]), along_mm=self.along_mm[chosen])


def regions_of(mask: np.ndarray, along_mm: np.ndarray) -> list[Region]:
    """The regions of a mask ``(Z, H, W)``, slice by slice; ``along_mm`` is ``(H, W)``."""
    return [
        Region(where=(index, rows, columns), along_mm=along_mm[rows, columns])
        for index, rows, columns in slice_components(mask)
    ]


def pieces_of(regions: Sequence[Region], shape: tuple[int, ...]) -> np.ndarray:
    """Number of the piece of every region, int ``(N,)``; ``shape`` is that of the volume."""
    numbers = np.full(shape, -1, dtype=np.int32)
    for number, region in enumerate(regions):
        numbers[region.where] = number
    sizes = np.array([len(region.along_mm) for region in regions])
    pieces = np.arange(len(regions))
    for number, region in enumerate(regions):
        index, rows, columns = region.where
        if index + 1 == shape[0]:
            continue
        upon = numbers[index + 1, rows, columns]
        others, counts = np.unique(upon[upon >= 0], return_counts=True)
        for other, count in zip(others, counts, strict=True):
            if count >= UPON * min(sizes[number], sizes[other]):
                first, second = sorted((pieces[number], pieces[other]))
                pieces[pieces == second] = first
    return pieces
