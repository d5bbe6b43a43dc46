"""Connected regions of a slice, and the removal of small ones (islands).

Islands are removed by area: the largest region is no criterion, because in a mid-slice the spinous process of
a vertebra is a region of its own, and a slice holds many vertebrae and discs.
"""

from collections.abc import Iterator

import numpy as np
import SimpleITK as sitk

MIN_ISLAND_MM2 = 25.0
"""Default area below which a region is removed."""


def slice_components(mask: np.ndarray) -> Iterator[tuple[int, np.ndarray, np.ndarray]]:
    """Connected regions of every slice of a mask; pixels that touch at a corner are connected.

    Args:
        mask: bool, shape ``(Z, H, W)``.

    Yields:
        ``(slice, rows, columns)`` of the pixels of one region, in a fixed order.
    """
    for index in np.flatnonzero(mask.any(axis=(1, 2))):
        image = sitk.GetImageFromArray(mask[index].astype(np.uint8))
        labels = sitk.GetArrayFromImage(sitk.ConnectedComponent(image, True))
        rows, columns = np.nonzero(labels)
        order = np.argsort(labels[rows, columns], kind="stable")
        bounds = np.flatnonzero(np.diff(labels[rows, columns][order])) + 1
        for part in np.split(order, bounds):
            yield int(index), rows[part], columns[part]


def remove_islands(
    structures: np.ndarray, spacing_mm: tuple[float, float], min_area_mm2: float
) -> np.ndarray:
    """Set regions of one structure that are smaller than an area to background, in every slice.

    Args:
        structures: background 0, structures 1 and up, uint8 ``(Z, H, W)``.
        spacing_mm: size of a pixel along rows and columns.
        min_area_mm2: smallest area that is kept; 0 keeps all regions.

    Returns:
        A copy without the islands.

    Raises:
        ValueError: the area is negative.
    """
    if not min_area_mm2 >= 0:
        raise ValueError(f"minimum area {min_area_mm2} mm2 is not 0 or more")
    cleaned = structures.copy()
    pixel_mm2 = spacing_mm[0] * spacing_mm[1]
    for value in range(1, int(structures.max(initial=0)) + 1):
        for index, rows, columns in slice_components(structures == value):
            if len(rows) * pixel_mm2 < min_area_mm2:
                cleaned[index, rows, columns] = 0
    return cleaned
