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

from dataclasses import dataclass
from itertools import pairwise
from typing import Literal

import numpy as np

from synthspine.eval.labelling.canal_axis import canal_axis, vertical_axis
from synthspine.eval.labelling.islands import slice_components
from synthspine.eval.labelling.roles import (
    CANAL_ROLE,
    DISC,
    VERTEBRA,
    ranked_classes,
    ranks_of,
    roles_of,
)
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
LEVEL_GAP_MM = 10.0
USUAL_DISTANCE_MM = 33.0
MISSED_FACTOR = 1.4
WHOLE_VERTEBRA = 0.6
PART_OF_VERTEBRA = 0.1
WHOLE_REGION = 1.25
ARCH_DROP = 0.28
ARCH_DEPTH_MM = 20.0
MIN_DISC_MM2 = 40.0
MIN_LEVEL = 0.1
LOWEST_START, HIGHEST_START = -1, 4
"""Range of the shift of a count: down by one (sacrum), up by levels below the field of view."""


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


def rank_codes(
    codes: np.ndarray, scheme: LabelScheme, spacing_mm: tuple[float, float], source: RankSource = "auto"
) -> np.ndarray:
    """Dense codes of a segmentation with the rank of every vertebra and disc.

    Args:
        codes: the codes that stand for the predicted classes (``LabelScheme.decode``), uint8 ``(Z, H, W)``,
            rows superior to inferior, columns anterior to posterior.
        scheme: label scheme of the classes.
        spacing_mm: size of a pixel along rows and columns.
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


def assign_ranks(roles: np.ndarray, spacing_mm: tuple[float, float]) -> np.ndarray:
    """Dense codes of a segmentation into roles, by the rules of this module.

    Args:
        roles: background 0, vertebra 1, disc 2, canal 3; uint8 ``(Z, H, W)``, rows superior to inferior,
            columns anterior to posterior; one slice is a volume too.
        spacing_mm: size of a pixel along rows and columns.

    Returns:
        Dense codes, uint8, the same shape.
    """
    along, behind = _ruler(roles, spacing_mm)
    front = behind < 0
    discs = _regions(roles == DISC, along)
    pixel_mm2 = spacing_mm[0] * spacing_mm[1]
    anchors = [region for region in discs if front[region.where[1:]].mean() > 0.5]
    levels = _levels(anchors, pixel_mm2)
    bodies = np.broadcast_to(along, roles.shape)[(roles == VERTEBRA) & front]
    distance = float(np.median(np.diff(levels))) if len(levels) > 1 else USUAL_DISTANCE_MM
    canal = np.broadcast_to(along, roles.shape)[roles == CANAL_ROLE]
    canal_end = float(np.percentile(canal, 0.5)) if len(canal) else -np.inf
    levels = _with_missed_levels(levels, distance, _Profile(bodies), canal_end)

    codes = np.full(roles.shape, BACKGROUND, dtype=np.uint8)
    codes[roles == CANAL_ROLE] = CANAL
    middles = (levels[1:] + levels[:-1]) / 2
    for region in discs:
        rank = int(np.clip(np.searchsorted(middles, region.centre_mm) + 1, 1, MAX_RANK))
        codes[region.where] = disc_code(rank)
    lowered = along + distance * ARCH_DROP * np.clip(behind / ARCH_DEPTH_MM, 0, 1)
    for side in (front, ~front):
        for region in _regions((roles == VERTEBRA) & side, lowered):
            ranks = np.clip(np.searchsorted(levels, region.along_mm), 1, MAX_RANK)
            if region.length_mm <= WHOLE_REGION * distance:
                ranks = np.full_like(ranks, np.bincount(ranks).argmax())
            # The code of a vertebra is its rank.
            codes[region.where] = ranks
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


def _ruler(roles: np.ndarray, spacing_mm: tuple[float, float]) -> np.ndarray:
    """Position along and behind the canal, ``(2, H, W)``, where any slice has a role."""
    shape = roles.shape[1:]
    axis = canal_axis(roles == CANAL_ROLE, spacing_mm)
    if axis is None:
        discs = np.nonzero(roles == DISC)[2]
        columns = discs if len(discs) else np.nonzero(roles == VERTEBRA)[2]
        column = np.percentile(columns, 98) if len(columns) else shape[1] / 2
        axis = vertical_axis(float(column) * spacing_mm[1], shape[0] * spacing_mm[0])
    return axis.coordinates((shape[0], shape[1]), spacing_mm, (roles != BACKGROUND).any(axis=0))


def _regions(mask: np.ndarray, along: np.ndarray) -> list[Region]:
    return [
        Region(where=(index, rows, columns), along_mm=along[rows, columns])
        for index, rows, columns in slice_components(mask)
    ]


def _levels(regions: list[Region], pixel_mm2: float) -> np.ndarray:
    """Positions of the discs found, ascending, float64 ``(L,)``."""
    regions = [region for region in regions if len(region.along_mm) * pixel_mm2 >= MIN_DISC_MM2]
    if not regions:
        return np.empty(0)
    regions = sorted(regions, key=lambda region: region.centre_mm)
    centres = np.array([region.centre_mm for region in regions])
    areas = np.array([len(region.along_mm) for region in regions], dtype=np.float64)
    groups = np.split(np.arange(len(regions)), np.flatnonzero(np.diff(centres) >= LEVEL_GAP_MM) + 1)
    mass = np.array([areas[group].sum() for group in groups])
    return np.array(
        [
            np.average(centres[group], weights=areas[group])
            for group, size in zip(groups, mass, strict=True)
            if size >= MIN_LEVEL * np.median(mass)
        ]
    )


class _Profile:
    """Amount of vertebral body along the canal."""

    def __init__(self, along_mm: np.ndarray) -> None:
        self.along_mm = np.sort(along_mm)

    def mass(self, low: float, high: float) -> int:
        """Number of pixels between two positions."""
        return int(np.searchsorted(self.along_mm, high) - np.searchsorted(self.along_mm, low))

    def thinnest(self, centre: float, reach: float) -> float:
        """The position within ``reach`` of ``centre`` with the least vertebra in 6 mm around it."""
        candidates = centre + np.arange(-reach, reach + 1.0)
        masses = [self.mass(position - 3, position + 3) for position in candidates]
        # Ties go to the position nearest to the centre: an empty stretch must not attract to its end.
        return float(min(zip(masses, abs(candidates - centre), candidates, strict=True))[2])


def _with_missed_levels(
    levels: np.ndarray, distance: float, bodies: _Profile, canal_end: float
) -> np.ndarray:
    if len(levels) == 0:
        return _first_levels(distance, bodies)
    reach = 0.25 * distance
    gaps = np.diff(levels)
    found = [float(levels[0])]
    for place, gap in enumerate(gaps):
        neighbours = gaps[[other for other in (place - 1, place + 1) if 0 <= other < len(gaps)]]
        expected = max(distance, float(neighbours.mean()) if len(neighbours) else 0.0)
        parts = max(2, round(gap / expected)) if gap >= MISSED_FACTOR * expected else 1
        found += [bodies.thinnest(levels[place] + gap * part / parts, reach) for part in range(1, parts)]
        found.append(float(levels[place + 1]))
    spans = list(pairwise(found)) or [(found[0], found[0] + distance)]
    whole = float(np.median([bodies.mass(low, high) for low, high in spans]))
    below, above = WHOLE_VERTEBRA * whole, PART_OF_VERTEBRA * whole
    while (
        bodies.mass(found[0] - 1.2 * distance, found[0]) > below
        and found[0] - canal_end > distance
        and len(found) < MAX_RANK
    ):
        found.insert(0, bodies.thinnest(found[0] - distance, reach))
    while bodies.mass(found[-1] + 1.2 * distance, np.inf) > above and len(found) < MAX_RANK:
        found.append(bodies.thinnest(found[-1] + distance, reach))
    return np.array(found)


def _first_levels(distance: float, bodies: _Profile) -> np.ndarray:
    """Levels of a scan without discs: one below the lowest body, then as for missed discs."""
    if not len(bodies.along_mm):
        return np.empty(0)
    low, high = map(float, np.percentile(bodies.along_mm, (1, 99)))
    found = [low]
    while high - found[-1] > MISSED_FACTOR * distance and len(found) < MAX_RANK:
        found.append(bodies.thinnest(found[-1] + distance, 0.25 * distance))
    return np.array(found)
