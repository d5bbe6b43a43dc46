"""From the neighbourhood of the canal to the slices beside it: through the vertebra that a region belongs to.

From slice to slice outward, a region gets the rank of what it lies upon in the slice before. What lies upon
nothing, or further to the side than a spine reaches, is background.
"""

import numpy as np
from scipy.spatial import cKDTree

from synthspine.eval.labelling.core import Spacing3
from synthspine.eval.labelling.islands import slice_components
from synthspine.eval.labelling.roles import DISC, VERTEBRA, roles_of
from synthspine.gen.core.anatomy import BACKGROUND

BODY_SIDE_MM, ARCH_SIDE_MM = 30.0, 50.0
"""How far bodies and discs, and posterior elements (with transverse processes), reach to the side."""
GROWTH = 2.0
"""How far an outline moves from one slice to the next, in slice distances."""
UPON = 0.3
"""Share of a region that lies upon the slice before."""
ONE = 0.8
"""Share of a region of one rank from which on all of it is."""


def spread(
    codes: np.ndarray,
    roles: np.ndarray,
    sideways_mm: np.ndarray,
    front: np.ndarray,
    expected: np.ndarray,
    spacing_mm: Spacing3,
) -> None:
    """Rank vertebrae and discs beside the neighbourhood of the canal, in place.

    The codes are dense, with the ranks near the canal, and the roles those of all voxels, uint8
    ``(Z, H, W)``. ``sideways_mm`` is the distance of every slice from the middle, by row, ``(Z, H)``;
    ``front`` what lies in front of the canal, bool ``(H, W)``; ``expected`` the codes of the discs where they
    lie in any slice, uint8 ``(H, W)``.
    """
    away = abs(sideways_mm)[..., None]
    waiting = (codes == BACKGROUND) & (away <= np.where(front, BODY_SIDE_MM, ARCH_SIDE_MM))
    for step in (1, -1):
        # In front of the canal, what is missed in one slice is known from the one before it.
        before = np.full(front.shape, BACKGROUND, dtype=np.uint8)
        for index in range(len(codes))[::step]:
            for role in (VERTEBRA, DISC):
                own = waiting[index] & (roles[index] == role)
                if own.any() and before.any():
                    _spread_slice(codes[index], before, own, role, spacing_mm)
            waiting[index] &= codes[index] == BACKGROUND
            before = np.where(front & (codes[index] == BACKGROUND), before, codes[index])
            if codes[index].any():
                before = np.where(before == BACKGROUND, expected, before)


def _spread_slice(
    codes: np.ndarray, before: np.ndarray, waiting: np.ndarray, role: int, spacing_mm: Spacing3
) -> None:
    ranked = np.where(codes != BACKGROUND, codes, before)
    kinds = roles_of(ranked)
    column = (kinds == VERTEBRA) | (kinds == DISC)
    ranked[kinds != role] = BACKGROUND
    places = np.argwhere(ranked)
    if not len(places):
        return
    in_plane = np.array(spacing_mm[1:])
    tree = cKDTree(places * in_plane)
    for _, rows, columns in slice_components(waiting[None]):
        pixels = np.stack((rows, columns), axis=1) * in_plane
        away, nearest = tree.query(pixels, distance_upper_bound=GROWTH * spacing_mm[0])
        near = np.isfinite(away)
        if np.count_nonzero(column[rows, columns]) < UPON * len(rows) or not near.any():
            continue
        found = ranked[tuple(places[nearest[near]].T)]
        ranks, counts = np.unique(found, return_counts=True)
        if counts.max() >= ONE * len(found):
            found[:] = ranks[counts.argmax()]
        codes[rows[near], columns[near]] = found
