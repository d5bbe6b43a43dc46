"""Removal of small islands, the usual litter of a slice-by-slice segmentation.

By a minimum area and not by the largest region: in a mid-slice a vertebra's spinous process is a region of
its own, and a slice holds many vertebrae and discs.
"""

import numpy as np

from synthspine.eval.labelling.components import slice_components
from synthspine.gen.core.anatomy import STRUCTURES

MIN_ISLAND_MM2 = 25.0
"""Smaller regions are removed unless the user chooses another area."""


def remove_islands(
    structures: np.ndarray, spacing_mm: tuple[float, float], min_area_mm2: float
) -> np.ndarray:
    """Set regions of one structure that are smaller than an area to background, in every slice.

    Args:
        structures: four classes (background, vertebra, disc, canal), uint8 ``(Z, H, W)``.
        spacing_mm: size of a pixel along rows and columns.
        min_area_mm2: regions below this area go; 0 keeps all.

    Returns:
        A copy without the islands.

    Raises:
        ValueError: the area is negative.
    """
    if not min_area_mm2 >= 0:
        raise ValueError(f"minimum area {min_area_mm2} mm2 is not 0 or more")
    cleaned = structures.copy()
    pixel_mm2 = spacing_mm[0] * spacing_mm[1]
    for value in range(1, len(STRUCTURES) + 1):
        for index, rows, columns in slice_components(structures == value):
            if len(rows) * pixel_mm2 < min_area_mm2:
                cleaned[index, rows, columns] = 0
    return cleaned
