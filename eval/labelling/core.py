"""The neighbourhood of the main canal: where the ranks of a scan are counted.

Slices beside the spine hold what looks like vertebrae, discs and canal. Levels are therefore looked for near
the *main canal* alone: the largest piece in three dimensions (of the discs or vertebrae where no canal is
found). Its middle is followed from row to row, because in scoliosis it leaves the middle slice.
"""

import numpy as np
import SimpleITK as sitk

from synthspine.eval.labelling.roles import CANAL_ROLE, DISC, VERTEBRA

Spacing3 = tuple[float, float, float]
CORE_MM = 16.0
"""Half-width of the neighbourhood: the canal and its walls."""
WINDOW_MM = 20.0
"""Half-height of the rows from which the middle at a row is taken."""
OUTLIER_MM = 12.0
"""What lies further to the side than this, about half a canal, does not move the middle."""
MIN_LENGTH_MM = 40.0
"""Least length of a main canal: more than a vertebra."""


def sideways_mm(roles: np.ndarray, spacing_mm: Spacing3) -> np.ndarray:
    """Distance of every slice from the middle of the main canal, by row.

    Args:
        roles: background 0, vertebra 1, disc 2, canal 3; uint8 ``(Z, H, W)``.
        spacing_mm: spacing along ``Z``, ``H`` and ``W``.

    Returns:
        mm, negative to the left, float64 ``(Z, H)``; of all 0 where nothing is found.
    """
    places = np.arange(len(roles)) * spacing_mm[0]
    for role in (CANAL_ROLE, DISC, VERTEBRA):
        main = largest_piece(roles == role)
        rows = np.flatnonzero(main.any(axis=(0, 2)))
        long = len(rows) and (role != CANAL_ROLE or (rows[-1] - rows[0]) * spacing_mm[1] >= MIN_LENGTH_MM)
        if long:
            return np.asarray(places[:, None] - _middle(main.sum(axis=2), places, spacing_mm[1]))
    return np.zeros(roles.shape[:2])


def largest_piece(mask: np.ndarray) -> np.ndarray:
    """The largest connected piece of a mask ``(Z, H, W)``; voxels that touch at a corner are connected."""
    if not mask.any():
        return mask
    pieces = sitk.GetArrayFromImage(
        sitk.ConnectedComponent(sitk.GetImageFromArray(mask.astype(np.uint8)), True)
    )
    sizes = np.bincount(pieces.ravel())
    sizes[0] = 0
    return np.asarray(pieces == sizes.argmax())


def _middle(mass: np.ndarray, places: np.ndarray, row_mm: float) -> np.ndarray:
    """Position across of what has a mass ``(Z, H)``, by row: its mean around the median."""
    reach = max(1, round(WINDOW_MM / row_mm))
    rows = np.flatnonzero(mass.any(axis=0))
    # Beyond its ends the canal is where it ends.
    places_of_rows = np.clip(np.arange(mass.shape[1]), rows[0], rows[-1])
    total = np.concatenate((np.zeros((len(mass), 1)), np.cumsum(mass, axis=1, dtype=np.float64)), axis=1)
    low = np.clip(places_of_rows - reach, 0, mass.shape[1])
    high = np.clip(places_of_rows + reach + 1, 0, mass.shape[1])
    near = total[:, high] - total[:, low]
    empty = np.flatnonzero(near.sum(axis=0) == 0)
    near[:, empty] = mass.sum(axis=1)[:, None]
    share = np.cumsum(near, axis=0) / near.sum(axis=0)
    median = places[(share >= 0.5).argmax(axis=0)]
    near[abs(places[:, None] - median) > OUTLIER_MM] = 0
    return np.asarray((places[:, None] * near).sum(axis=0) / near.sum(axis=0))
