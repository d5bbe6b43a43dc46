"""Ranks of vertebrae and discs in a segmentation, counted from the lowest upward.

Rules of ``assign_ranks``, on the whole volume (docs/evaluation.md has the measurements behind the numbers):

1. *Position* is measured along the canal from its lower end upward; along the vertical without a canal.
2. *Levels.* Disc regions in front of the canal are grouped by position: a gap of 10 mm or more starts the
   next disc. Each group is a level; the lowest has rank 1.
3. *Missed discs.* The usual distance of levels is the median (33 mm for fewer than two levels). A gap of 1.4
   expected distances or more (the mean of its two neighbours, at least the usual one) gets the missing
   levels, each at the position with the least vertebra. Below the lowest level one is added where there is a
   whole vertebra for it (.6 of the vertebra between two levels) and the canal continues for a usual distance;
   otherwise it is sacrum. Above the highest level one is added for .1 of a vertebra: the uppermost vertebra
   is often cut off.
4. *Vertebrae.* The vertebra of rank r lies between levels r and r+1. Posterior arches lie lower than their
   bodies: behind the canal, .28 of a distance is added to the position (in full from 20 mm behind the centre
   line). A region of a slice no longer than 1.25 distances takes one rank; longer ones are cut at the levels.
5. *Discs* take the rank of the nearest level as whole regions.

The count knows the roles of ``eval.labelling.roles`` alone. Where a scheme has

- no canal, the position is measured along a vertical line behind the discs (or vertebrae), and nothing limits
  the levels that are added below the lowest disc;
- no discs, the lowest level lies at the lower end of the vertebrae in front of the canal, the others above it
  at the usual distance;
- no vertebrae, the levels are the discs that were found, and no missed disc is added at the ends.

``order_ranks`` combines the count with the ranks of a model that has its own. A network sees too little of a
slice to count far; the count has neither gaps nor repetitions, but is off by one where its lowest level is
wrong. The order is therefore counted, and most of the model's voxels decide where the count starts.
``rank_codes`` does both for the dense codes of any label scheme.
"""

from typing import Literal

import numpy as np
from scipy.ndimage import binary_dilation

from synthspine.eval.labelling.canal_axis import canal_axis, vertical_axis
from synthspine.eval.labelling.core import CORE_MM, Spacing3, sideways_mm
from synthspine.eval.labelling.islands import slice_components
from synthspine.eval.labelling.levels import (
    MIN_DISC_MM2,
    USUAL_DISTANCE_MM,
    Profile,
    found_levels,
    with_missed_levels,
)
from synthspine.eval.labelling.regions import Region, pieces_of, regions_of
from synthspine.eval.labelling.roles import (
    CANAL_ROLE,
    DISC,
    VERTEBRA,
    ranked_classes,
    ranks_of,
    roles_of,
)
from synthspine.eval.labelling.spread import canal_of, spread
from synthspine.gen.core.anatomy import (
    BACKGROUND,
    CANAL,
    CODES,
    DISC_OFFSET,
    MAX_RANK,
    POSTERIOR_OFFSET,
    disc_code,
)
from synthspine.gen.core.schemes import LabelScheme

RankSource = Literal["auto", "count", "model"]
WHOLE_REGION = 1.25
ARCH_DROP = 0.28
ARCH_DEPTH_MM = 20.0
LOWEST_START, HIGHEST_START = -1, 4
"""Range of the shift of a count: down by one (sacrum), up by levels below the field of view."""


def rank_codes(
    codes: np.ndarray, scheme: LabelScheme, spacing_mm: Spacing3, source: RankSource = "auto"
) -> np.ndarray:
    """Dense codes of a segmentation with the rank of every vertebra and disc.

    Args:
        codes: the codes that stand for the predicted classes (``LabelScheme.decode``), uint8 ``(Z, H, W)``,
            rows superior to inferior, columns anterior to posterior.
        scheme: label scheme of the classes.
        spacing_mm: spacing along ``Z``, ``H`` and ``W``.
        source: ``"count"``: counted; ``"auto"``: counted, from the start with which most ranks of the model
            agree; ``"model"``: as ``"auto"``, but classes of one rank keep theirs. Only classes of one rank
            tell the rank of the model.

    Returns:
        Dense codes, uint8, the same shape. Posterior elements have 130 + the rank of their vertebra; codes
        without role, such as the sacrum, stay.
    """
    told = ranked_classes(scheme)[codes]
    roles = roles_of(codes)
    if source == "model" and not ((ranks_of(codes) > 0) & ~told).any():
        return codes
    ranked = assign_ranks(roles, spacing_mm)
    if source != "count":
        ranked = order_ranks(ranked, np.where(told, codes, BACKGROUND))
    posterior = (roles == VERTEBRA) & (codes > POSTERIOR_OFFSET) & (ranked != BACKGROUND)
    ranked[posterior] += POSTERIOR_OFFSET
    kept = roles == BACKGROUND
    if source == "model":
        kept |= told
    return np.where(kept, codes, ranked)


def assign_ranks(roles: np.ndarray, spacing_mm: Spacing3) -> np.ndarray:
    """Dense codes of a segmentation into roles, by the rules of this module.

    Args:
        roles: background 0, vertebra 1, disc 2, canal 3; uint8 ``(Z, H, W)``, rows superior to inferior,
            columns anterior to posterior; one slice is a volume too.
        spacing_mm: spacing along ``Z``, ``H`` and ``W``.

    Returns:
        Dense codes, uint8, the same shape.
    """
    sideways = sideways_mm(roles, spacing_mm)
    core = np.where((abs(sideways) <= CORE_MM)[..., None], roles, BACKGROUND)
    along, behind = _ruler(roles, core, spacing_mm)
    front = behind < 0
    discs = regions_of((core == DISC) & front, along)
    levels = found_levels(discs, spacing_mm[1] * spacing_mm[2])
    bodies = np.broadcast_to(along, roles.shape)[(core == VERTEBRA) & front]
    distance = float(np.median(np.diff(levels))) if len(levels) > 1 else USUAL_DISTANCE_MM
    canal = np.broadcast_to(along, roles.shape)[core == CANAL_ROLE]
    canal_end = float(np.percentile(canal, 0.5)) if len(canal) else -np.inf
    levels = with_missed_levels(levels, distance, Profile(bodies), canal_end)

    codes = np.full(roles.shape, BACKGROUND, dtype=np.uint8)
    codes[canal_of(roles, sideways, behind)] = CANAL
    middles = (levels[1:] + levels[:-1]) / 2
    for region in discs:
        rank = int(np.clip(np.searchsorted(middles, region.centre_mm) + 1, 1, MAX_RANK))
        codes[region.where] = disc_code(rank)
    lowered = along + distance * ARCH_DROP * np.clip(behind / ARCH_DEPTH_MM, 0, 1)
    vertebra = core == VERTEBRA
    _rank_bodies(codes, regions_of(vertebra & front, along), levels, distance)
    _rank_arches(codes, regions_of(vertebra & ~front, lowered), levels, distance)
    spread(codes, roles, sideways, front, spacing_mm)
    return codes


def order_ranks(counted: np.ndarray, modelled: np.ndarray) -> np.ndarray:
    """Counted ranks, all shifted by the number with which most voxels agree with the model.

    Args:
        counted: dense codes with counted ranks, uint8, any shape.
        modelled: dense codes with the ranks of the model, uint8, the same shape.

    Returns:
        Dense codes, uint8; ranks below 1 become background.
    """
    own, other = ranks_of(counted), ranks_of(modelled)
    ranked = (own > 0) & (other > 0)
    starts = range(LOWEST_START, HIGHEST_START + 1)
    shifts = other[ranked].astype(np.int16) - own[ranked]
    votes = {start: np.count_nonzero(shifts == start) for start in starts}
    # Ties keep the count as it is.
    shift = max(starts, key=lambda start: (votes[start], -abs(start)))
    table = np.arange(CODES, dtype=np.uint8)
    ranks = np.arange(1, MAX_RANK + 1)
    moved = np.minimum(ranks + shift, MAX_RANK)
    table[ranks] = np.where(moved > 0, moved, BACKGROUND)
    table[DISC_OFFSET + ranks] = np.where(moved > 0, DISC_OFFSET + moved, BACKGROUND)
    return table[counted]


def _ruler(roles: np.ndarray, core: np.ndarray, spacing_mm: Spacing3) -> np.ndarray:
    """Position along and behind the canal, ``(2, H, W)``, where any slice has a role."""
    shape, in_plane = (roles.shape[1], roles.shape[2]), spacing_mm[1:]
    ends = [
        (float(rows.mean()) * in_plane[0], float(np.percentile(columns, 95)) * in_plane[1])
        for _, rows, columns in slice_components(core == DISC)
        if len(rows) * in_plane[0] * in_plane[1] >= MIN_DISC_MM2
    ]
    axis = canal_axis(core == CANAL_ROLE, in_plane, np.array(ends).reshape(-1, 2))
    if axis is None:
        discs = np.nonzero(core == DISC)[2]
        columns = discs if len(discs) else np.nonzero(core == VERTEBRA)[2]
        column = np.percentile(columns, 98) if len(columns) else shape[1] / 2
        axis = vertical_axis(float(column) * in_plane[1], shape[0] * in_plane[0])
    return axis.coordinates(shape, in_plane, (roles != BACKGROUND).any(axis=0))


def _rank_bodies(codes: np.ndarray, regions: list[Region], levels: np.ndarray, distance: float) -> None:
    """Rank what lies in front of the canal: regions upon each other are one vertebra; long ones are cut."""
    parts = []
    for region in regions:
        ranks = np.searchsorted(levels, region.along_mm)
        whole = region.length_mm <= WHOLE_REGION * distance
        parts += [region] if whole else [region.part(ranks == rank) for rank in np.unique(ranks)]
    pieces = pieces_of(parts, codes.shape)
    for piece in np.unique(pieces):
        own = [parts[number] for number in np.flatnonzero(pieces == piece)]
        along = np.concatenate([region.along_mm for region in own])
        rank = int(np.bincount(np.searchsorted(levels, along)).argmax())
        for region in own:
            # The code of a vertebra is its rank.
            codes[region.where] = np.clip(rank, 1, MAX_RANK)


def _rank_arches(codes: np.ndarray, regions: list[Region], levels: np.ndarray, distance: float) -> None:
    """Rank what lies behind the canal: with the body that it hangs on, or by its position."""
    for region in regions:
        index, rows, columns = region.where
        ranks = np.clip(np.searchsorted(levels, region.along_mm), 1, MAX_RANK)
        low, left = np.maximum((rows.min() - 1, columns.min() - 1), 0)
        around = np.s_[index, low : rows.max() + 2, left : columns.max() + 2]
        mask = np.zeros(codes[around].shape, dtype=bool)
        mask[rows - low, columns - left] = True
        pedicle = codes[around][binary_dilation(mask) & ~mask]
        bodies = np.unique(pedicle[(pedicle > 0) & (pedicle <= MAX_RANK)])
        if region.length_mm <= WHOLE_REGION * distance:
            ranks[:] = bodies[0] if len(bodies) == 1 else np.bincount(ranks).argmax()
        codes[region.where] = ranks
