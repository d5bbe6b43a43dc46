"""Connected regions of a mask, slice by slice."""

from collections.abc import Iterator

import numpy as np
import SimpleITK as sitk


def slice_components(mask: np.ndarray) -> Iterator[tuple[int, np.ndarray, np.ndarray]]:
    """The regions of every slice of a mask, pixels that touch at a corner belonging together.

    Slices are taken one by one because they lie several millimetres apart: what touches across slices need
    not belong together.

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
