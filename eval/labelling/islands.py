"""Connected regions of a slice or volume, and the removal of small ones (islands).

Islands are removed by area: the largest region is no criterion, because in a mid-slice the spinous process of
a vertebra is a region of its own, and a slice holds many vertebrae and discs.
"""

from collections.abc import Iterator

import numpy as np
from scipy.ndimage import label


def slice_components(mask: np.ndarray) -> Iterator[tuple[int, np.ndarray, np.ndarray]]:
    """Connected regions of every slice of a mask, bool ``(Z, H, W)``; pixels may touch at a corner.

    Yields ``(slice, rows, columns)`` of the pixels of one region, in a fixed order.
    """
    for index in np.flatnonzero(mask.any(axis=(1, 2))):
        labels, (top, left) = components(mask[index])
        rows, columns = np.nonzero(labels)
        order = np.argsort(labels[rows, columns], kind="stable")
        bounds = np.flatnonzero(np.diff(labels[rows, columns][order])) + 1
        for part in np.split(order, bounds):
            yield int(index), rows[part] + top, columns[part] + left


def largest_piece(mask: np.ndarray) -> np.ndarray:
    """The largest connected piece of a mask, bool, any shape; empty where the mask is."""
    if not mask.any():
        return mask
    labels, corner = components(mask)
    sizes = np.bincount(labels.ravel())
    sizes[0] = 0
    piece = np.zeros(mask.shape, dtype=bool)
    box = tuple(slice(start, start + size) for start, size in zip(corner, labels.shape, strict=True))
    piece[box] = labels == sizes.argmax()
    return piece


def components(mask: np.ndarray) -> tuple[np.ndarray, tuple[int, ...]]:
    """Numbers 1, 2, ... of the connected pieces in the box around a mask, and that box's first corner."""
    axes = range(mask.ndim)
    spans = [np.flatnonzero(mask.any(axis=tuple(other for other in axes if other != axis))) for axis in axes]
    box = tuple(slice(int(span[0]), int(span[-1]) + 1) for span in spans)
    labels, _ = label(mask[box], np.ones((3,) * mask.ndim))
    return labels, tuple(part.start for part in box)


def remove_islands(
    structures: np.ndarray, spacing_mm: tuple[float, float], min_area_mm2: float
) -> np.ndarray:
    """A copy in which the regions of a structure in a slice that are smaller than an area are background.

    The structures are uint8 ``(Z, H, W)``, background 0. An area of 0 keeps all regions; raises ValueError
    for a negative one.
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
