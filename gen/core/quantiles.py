"""Quantiles of a batch of pictures from integer counts: the same in any batch, no host synchronisation."""

import torch
from torch import Tensor

LEVELS = 256
"""Quantiles are found to one of this many levels between the least and the greatest value."""


def quantiles(values: Tensor, counted: Tensor | None, low: Tensor, high: Tensor) -> tuple[Tensor, Tensor]:
    """Two quantiles per sample of ``values`` ``(B, *grid)``, to a level.

    ``counted``, bool, says which values count (None: all); ``low`` and ``high`` are shares, ``(B,)``.

    Returns:
        The highest level with at most ``low`` below it, and the lowest with at least ``high`` below it,
        ``(B, 1, ...)`` with as many axes as ``values``.
    """
    axes = tuple(range(1, values.dim()))
    least = values.amin(axes, keepdim=True)
    width = (values.amax(axes, keepdim=True) - least).clamp(min=1e-6) / LEVELS
    level = (values.detach() - least.detach()).div_(width.detach()).clamp_(max=LEVELS - 1)
    weight = torch.ones_like(values, dtype=torch.int32) if counted is None else counted.int()
    counts = torch.zeros(len(values), LEVELS, dtype=torch.int32, device=values.device)
    below = counts.scatter_add_(1, level.flatten(1).long(), weight.flatten(1)).cumsum(1)
    total = below[:, -1:].float()
    # Levels with nothing below them count as passed: the first edge skips them, the last stops at content.
    first = (below <= low.unsqueeze(1) * total).sum(1).clamp(max=LEVELS - 1)
    last = (below < high.unsqueeze(1) * total).sum(1).clamp(max=LEVELS - 1)
    each = (-1, *[1] * len(axes))
    return least + width * first.view(each), least + width * (last + 1).view(each)
