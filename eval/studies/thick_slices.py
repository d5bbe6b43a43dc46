"""Coarser resolution across slices: thicker slices, each the box average of neighbours in its series.

A stored slice stands for a slab as thick as the distance between the stored slices of its series (``slice``
and ``spacing_mm`` of their records give it, thinned-out series included). Factor ``f`` makes it a slab ``f``
times as thick about the same middle: the mean over the slabs that it covers, each weighted by the covered
share. Slices keep their places and their number (thick slices overlap), and each is scored against the full
mask of its middle slice.

A slab of factor ``f`` takes in ``ceil((f - 1) / 2)`` stored slices on either side (``reach_of``). For every
factor only those slices are taken that have enough for the largest one (``common_slices``): no slab
is cut off at the end of a series, nothing shifts to one side, and all factors see the same slices.
All averages are taken on the shard grid, in which the slices of a series share their rows and columns.
"""

import math
from collections import defaultdict
from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import Any

import torch
from torch import Tensor

Neighbours = list[dict[int, tuple[int, int]]]
"""Per slice: distance, in stored slices, to the indices of the two slices that lie so far off."""


def find_neighbours(records: Sequence[Mapping[str, Any]]) -> Neighbours:
    """The neighbours of every slice, outward until one is missing on either side.

    Args:
        records: the records of all slices of a set: ``source``, ``slice``.
    """
    series: dict[str, dict[int, int]] = defaultdict(dict)
    for index, record in enumerate(records):
        series[str(record["source"])][int(record["slice"])] = index
    steps = {source: _step(sorted(stored)) for source, stored in series.items()}
    found: Neighbours = []
    for record in records:
        source, middle = str(record["source"]), int(record["slice"])
        stored, step = series[source], steps[source]
        pairs: dict[int, tuple[int, int]] = {}
        for distance in range(1, len(stored)):
            low, high = middle - distance * step, middle + distance * step
            if low not in stored or high not in stored:
                break
            pairs[distance] = stored[low], stored[high]
        found.append(pairs)
    return found


def reach_of(factor: float) -> int:
    """Stored slices that a slab of ``factor`` distances takes in on either side of its middle one."""
    return math.ceil((factor - 1) / 2)


def common_slices(neighbours: Neighbours, factors: Sequence[float]) -> tuple[list[int], tuple[float, ...]]:
    """The slices on which all factors can be measured, and the factors.

    Where no slice has neighbours enough for the largest factor, that factor is dropped, and so on.

    Args:
        neighbours: of every slice of a set.
        factors: ascending, each at least 1.

    Returns:
        Indices of the slices, ascending, and the factors that are left; none of either where no factor above
        1 is left of some that were asked for.
    """
    kept = tuple(factors)
    while kept:
        reach = reach_of(kept[-1])
        indices = [index for index, pairs in enumerate(neighbours) if len(pairs) >= reach]
        if indices and (kept[-1] > 1 or kept == tuple(factors)):
            return indices, kept
        kept = kept[:-1]
    return [], ()


def thicken(images: Tensor, neighbours: Neighbours, factor: float, indices: Sequence[int]) -> Tensor:
    """Slices as they look when they are ``factor`` times as thick.

    Args:
        images: all slices of the set, float, shape ``(N, H, W)``.
        neighbours: theirs.
        factor: thickness over the distance of stored slices, at least 1; 1 gives the slices themselves.
        indices: which slices, each with neighbours enough.

    Returns:
        Float32, shape ``(len(indices), H, W)``, on the device of ``images``.

    Raises:
        ValueError: ``factor`` is below 1 or not finite, or a slice has too few neighbours for it.
    """
    if not (math.isfinite(factor) and factor >= 1):
        raise ValueError(f"slice thickness factor {factor} is not a finite number of at least 1")
    reach = reach_of(factor)
    thick = []
    for index in indices:
        if len(neighbours[index]) < reach:
            raise ValueError(
                f"slice {index} has {len(neighbours[index])} stored slices on both sides; a thickness of "
                f"{factor:g} distances needs {reach}"
            )
        total, weights = images[index].float(), 1.0
        for distance, (before, after) in neighbours[index].items():
            # The slab of a neighbour reaches half a distance to either side of it.
            weight = min(1.0, max(0.0, factor / 2 - (distance - 0.5)))
            if weight > 0:
                total = total + weight * (images[before].float() + images[after].float())
                weights += 2 * weight
        thick.append(total / weights)
    return torch.stack(thick)


def _step(numbers: list[int]) -> int:
    """Distance of stored slices, in slices of the series."""
    return min((high - low for low, high in pairwise(numbers)), default=1)
