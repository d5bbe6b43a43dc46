"""Coarser resolution for the benchmark: area average over larger pixels, then linear interpolation back.

This operator is written apart from the generator's acquisition (slice profiles, noise at low resolution) on
purpose: a network must not be tested with the very operator that it was trained with.

Along one axis of ``n`` pixels, factor ``f`` lays ``ceil(n / f)`` large pixels of ``f`` small ones over the
image, centred on it; each takes the mean of what it covers. Interpolation back runs between the positions
that those means stand for, so that constants and ramps come back unchanged and nothing shifts by a fraction
of a pixel, for factors that are not integers too.
"""

import math
from functools import cache

import torch
from torch import Tensor


def degrade(image: Tensor, factor: float) -> Tensor:
    """The image as it looks at a pixel size ``factor`` times larger in both axes, on its own grid.

    Args:
        image: float, shape ``(..., H, W)``.
        factor: pixel size over the image's own, at least 1; 1 returns the image itself.

    Returns:
        Same shape, dtype and device as ``image``.

    Raises:
        ValueError: ``factor`` is below 1 or not finite.
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
