"""Levels: positions of the discs along the canal, found and missed."""

from collections.abc import Sequence
from itertools import pairwise

import numpy as np

from synthspine.eval.labelling.core import MIN_DISC_MM2
from synthspine.eval.labelling.regions import Region
from synthspine.gen.core.anatomy import MAX_RANK

LEVEL_GAP_MM = 10.0
USUAL_DISTANCE_MM = 33.0
MISSED_FACTOR = 1.4
WHOLE_VERTEBRA = 0.6
PART_OF_VERTEBRA = 0.1
CUT_VERTEBRA = 0.5
LEAST_GAP = 0.6
LEAST_BELOW_MM = 15.0
"""What a scan shows below the lowest level where that is known to be the sacrum: half a vertebra."""
MIN_LEVEL = 0.1


def found_levels(regions: Sequence[Region], pixel_mm2: float) -> np.ndarray:
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


class Profile:
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


def with_missed_levels(
    levels: np.ndarray,
    distance: float,
    bodies: Profile,
    *,
    canal_end: float,
    view_end: float,
    sacrum_end: float | None,
) -> np.ndarray:
    """Levels with those of missed discs (rule 3): positions in mm along the canal, ascending.

    ``distance`` is the usual one of two levels, ``bodies`` are the vertebral bodies along the canal, and the
    ends are the lower ones of canal and scan and the upper one of the sacrum, None where it is not known.
    """
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
    most, part = WHOLE_VERTEBRA * whole, PART_OF_VERTEBRA * whole
    if sacrum_end is not None:
        while found[0] - sacrum_end > LEAST_GAP * distance and len(found) < MAX_RANK:
            if part < bodies.mass(found[0] - 1.2 * distance, found[0]) <= most:
                break  # a piece of the sacrum, not of a vertebra above it
            found.insert(0, max(bodies.thinnest(found[0] - distance, reach), sacrum_end))
    elif found[0] - view_end < MISSED_FACTOR * distance:
        # The scan ends within the next vertebra: what it shows of that is a vertebra or a sacrum.
        room = min(found[0] - view_end, distance) / distance
        if bodies.mass(-np.inf, found[0]) > CUT_VERTEBRA * room * whole:
            found.insert(0, view_end)
    else:
        while (
            bodies.mass(found[0] - 1.2 * distance, found[0]) > most
            and found[0] - canal_end > distance
            and len(found) < MAX_RANK
        ):
            found.insert(0, bodies.thinnest(found[0] - distance, reach))
    while bodies.mass(found[-1] + 1.2 * distance, np.inf) > part and len(found) < MAX_RANK:
        found.append(bodies.thinnest(found[-1] + distance, reach))
    return np.array(found)


def _first_levels(distance: float, bodies: Profile) -> np.ndarray:
    """Levels of a scan without discs: one below the lowest body, then as for missed discs."""
    if not len(bodies.along_mm):
        return np.empty(0)
    high = float(np.percentile(bodies.along_mm, 99))
    found = [float(bodies.along_mm[0]) - 1]
    while high - found[-1] > MISSED_FACTOR * distance and len(found) < MAX_RANK:
        found.append(bodies.thinnest(found[-1] + distance, 0.25 * distance))
    return np.array(found)
