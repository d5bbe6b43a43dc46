"""Vertebral bodies near the canal, and their posterior elements: one vertebra, one rank, one piece."""

from collections.abc import Sequence
from itertools import pairwise

import numpy as np
from scipy.ndimage import binary_dilation

from synthspine.eval.labelling.islands import components, largest_piece
from synthspine.eval.labelling.regions import Region, pieces_of
from synthspine.gen.core.anatomy import BACKGROUND, MAX_RANK

WHOLE_REGION = 1.25
"""Longest region of one vertebra, in distances of levels; longer ones are several."""
LARGE = 0.4
"""Share of the usual body from which on a piece is a body."""
BESIDE = 0.3
"""Share of a piece that lies beside the largest one if both are the same body."""
WITHIN = 0.15
"""A disc nearer than this to the centre of a body, in distances of levels, is none."""
APART, TOGETHER = 0.6, 1.5
"""Distance of the centres of two bodies, in distances of levels: at least, and if they are neighbours."""


def find_bodies(
    regions: Sequence[Region], levels: np.ndarray, distance: float, shape: tuple[int, ...]
) -> list[list[Region]]:
    """The regions of every body: regions upon each other are one; long ones are cut at the levels.

    The regions are vertebra in front of the canal, slice by slice. The levels are positions of discs, in
    ascending order; ``distance`` is the usual one of two levels, ``shape`` that of the volume.
    """
    parts = []
    for region in regions:
        ranks = np.searchsorted(levels, region.along_mm)
        whole = region.length_mm <= WHOLE_REGION * distance
        parts += [region] if whole else [region.part(ranks == rank) for rank in np.unique(ranks)]
    pieces = pieces_of(parts, shape)
    return [[parts[number] for number in np.flatnonzero(pieces == piece)] for piece in np.unique(pieces)]


def levels_between(levels: np.ndarray, bodies: Sequence[Sequence[Region]], distance: float) -> np.ndarray:
    """The levels with one, and only one, between neighbouring bodies."""
    along = [np.concatenate([region.along_mm for region in body]) for body in bodies]
    sizes = np.array([len(each) for each in along])
    # The median of the voxels, not of the pieces: most pieces are crumbs.
    least = LARGE * np.median(sizes.repeat(sizes)) if along else 0
    centres = np.sort([each.mean() for each in along if len(each) >= least])
    if len(centres) and len(levels):
        # A level through the middle of a body is none.
        levels = levels[abs(levels[:, None] - centres).min(axis=1) >= WITHIN * distance]
    for low, high in pairwise(centres):
        between = levels[(levels > low) & (levels < high)]
        if len(between) == 0 and high - low > APART * distance:
            levels = np.sort(np.append(levels, (low + high) / 2))
        elif len(between) > 1 and high - low < TOGETHER * distance:
            kept = between[abs(between - (low + high) / 2).argmin()]
            levels = levels[(levels <= low) | (levels >= high) | (levels == kept)]
    return levels


def rank_bodies(codes: np.ndarray, bodies: Sequence[Sequence[Region]], levels: np.ndarray) -> None:
    """Rank bodies by the levels, in place; what lies below the lowest level is sacrum, so background."""
    for body in bodies:
        along = np.concatenate([region.along_mm for region in body])
        rank = int(np.bincount(np.searchsorted(levels, along)).argmax())
        for region in body:
            # The code of a vertebra is its rank.
            codes[region.where] = min(rank, MAX_RANK)


def rank_arches(codes: np.ndarray, regions: Sequence[Region], levels: np.ndarray, distance: float) -> None:
    """Rank what lies behind the canal, in place: with the body that it hangs on, or by its position.

    What lies further below the lowest level than a level's distance belongs to no vertebra.
    """
    for region in regions:
        if len(levels) and region.centre_mm < levels[0] - distance:
            continue
        index, rows, columns = region.where
        ranks = np.clip(np.searchsorted(levels, region.along_mm), 1, MAX_RANK)
        low, left = np.maximum((rows.min() - 1, columns.min() - 1), 0)
        around = np.s_[index, low : rows.max() + 2, left : columns.max() + 2]
        mask = np.zeros(codes[around].shape, dtype=bool)
        mask[rows - low, columns - left] = True
        pedicle = codes[around][binary_dilation(mask) & ~mask]
        bodies = np.unique(pedicle[(pedicle != BACKGROUND) & (pedicle <= MAX_RANK)])
        if region.length_mm <= WHOLE_REGION * distance:
            ranks[:] = bodies[0] if len(bodies) == 1 else np.bincount(ranks).argmax()
        codes[region.where] = ranks


def keep_whole(codes: np.ndarray, front: np.ndarray) -> None:
    """Remove what has the rank of a body but lies elsewhere, in place; ``front`` is ``(H, W)``.

    A body is the largest connected piece of its rank in front of the canal, with what lies beside that.
    """
    for rank in range(1, int(codes[codes <= MAX_RANK].max(initial=0)) + 1):
        own = (codes == rank) & front
        body = np.asarray(largest_piece(own).any(axis=0))
        if (own & ~body).any():
            labels, (_, top, left) = components(own)
            box = body[top : top + labels.shape[1], left : left + labels.shape[2]]
            inside = np.bincount(labels[:, box].ravel(), minlength=labels.max() + 1)
            away = inside < BESIDE * np.bincount(labels.ravel())
            away[0] = False
            codes[own] = np.where(away[labels[labels > 0]], BACKGROUND, rank)
