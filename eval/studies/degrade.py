"""Coarser resolution for the benchmark: larger pixels in a slice, and thicker slices.

*In the plane* (``degrade``): area average over larger pixels, then linear interpolation back. It differs from
the generator's acquisition on purpose: a network must not be tested with the operator of its training. Along
an axis of ``n`` pixels, factor ``f`` places ``ceil(n / f)`` large pixels of ``f`` small ones over the image,
centred on it; interpolation runs between the centres of mass of their means, so that constants and ramps are
preserved and nothing shifts, also for factors that are not integers.

*Across slices* (``thicken``): a stored slice stands for a slab as thick as the distance between the stored
slices of its series. Factor ``f`` makes it a slab ``f`` times as thick about the same middle: the mean over
the slabs that it covers, weighted by the covered share. Slices keep their places and their number (thick
slices overlap), and each is scored against the full mask of its middle slice. All factors are measured on the
slices that have neighbours enough for the largest factor (``common_slices``).
"""

import math
from collections import defaultdict
from collections.abc import Mapping, Sequence
from functools import cache
from itertools import pairwise
from typing import Any

import torch
from torch import Tensor

Neighbours = list[dict[int, tuple[int, int]]]
"""Per slice: distance, in stored slices, to the indices of the two slices at that distance."""


def degrade(image: Tensor, factor: float) -> Tensor:
    """The image, ``(..., H, W)``, at a pixel size ``factor`` times larger along both axes, on its own grid.

    Raises ValueError if the factor is below 1 or not finite; 1 returns the image itself.
    """
    if not (math.isfinite(factor) and factor >= 1):
        raise ValueError(f"resolution factor {factor} is not a finite number of at least 1")
    if factor == 1:
        return image
    height, width = image.shape[-2:]
    rows = _operator(height, float(factor)).to(image)
    columns = _operator(width, float(factor)).to(image)
    return rows @ image @ columns.T


@cache
def _operator(size: int, factor: float) -> Tensor:
    """Average and interpolation back along one axis as one matrix, float64, shape ``(size, size)``."""
    pixels = torch.arange(size, dtype=torch.float64)
    count = max(1, math.ceil(size / factor - 1e-9))
    edges = size / 2 + factor * (torch.arange(count + 1, dtype=torch.float64) - count / 2)
    overlap = torch.minimum(edges[1:, None], pixels + 1) - torch.maximum(edges[:-1, None], pixels)
    average = overlap.clamp(min=0)
    average /= average.sum(dim=1, keepdim=True)
    if count == 1:
        return average.expand(size, size).contiguous()
    centres = average @ pixels
    right = torch.searchsorted(centres, pixels).clamp(1, count - 1)
    weight = ((pixels - centres[right - 1]) / (centres[right] - centres[right - 1])).clamp(0, 1)
    interpolate = torch.zeros(size, count, dtype=torch.float64)
    interpolate.scatter_(1, (right - 1)[:, None], (1 - weight)[:, None])
    interpolate.scatter_(1, right[:, None], weight[:, None])
    return interpolate @ average


def find_neighbours(records: Sequence[Mapping[str, Any]]) -> Neighbours:
    """The neighbours of every slice of a set, outward until one is missing on either side."""
    series: dict[str, dict[int, int]] = defaultdict(dict)
    for index, record in enumerate(records):
        series[str(record["source"])][int(record["slice"])] = index
    steps = {
        source: min((high - low for low, high in pairwise(sorted(stored))), default=1)
        for source, stored in series.items()
    }
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
    """Number of stored slices on either side of the middle one that a slab of ``factor`` distances covers."""
    return math.ceil((factor - 1) / 2)


def common_slices(neighbours: Neighbours, factors: Sequence[float]) -> tuple[list[int], tuple[float, ...]]:
    """The slices on which all factors can be measured, ascending, and these factors.

    The largest factor is dropped while no slice has neighbours enough for it; factors are ascending. Both are
    empty where every requested factor above 1 was dropped.
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
    """Slices that are ``factor`` times as thick, float32 ``(len(indices), H, W)``, on their device.

    The images are all slices of the set, ``(N, H, W)``; a factor of 1 returns the slices themselves. Raises
    ValueError if a slice has too few neighbours for the factor.
    """
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
            # The slab of a neighbour extends half a distance to either side of it.
            weight = min(1.0, max(0.0, factor / 2 - (distance - 0.5)))
            if weight > 0:
                total = total + weight * (images[before].float() + images[after].float())
                weights += 2 * weight
        thick.append(total / weights)
    return torch.stack(thick)
