"""How tissues are painted: masks as uint8 of 0 and 1, joined by integer arithmetic.

Comparisons that give bool and ``torch.where`` cost four to ten times as much per pixel on a CPU as
arithmetic on uint8 or float32, and painting is little else.
"""

import torch
from torch import Tensor


def per_sample(values: Tensor, like: Tensor) -> Tensor:
    """Values of shape ``(B,)`` seen as ``(B, 1, ...)``, to meet a tensor ``(B, *grid)``."""
    return values.view(-1, *[1] * (like.dim() - 1))


def above(values: Tensor, threshold: Tensor | float) -> Tensor:
    """1 where ``values > threshold``, else 0: uint8, shape of both broadcast; no NaN, not both infinite."""
    return (values - threshold).gt_(0).to(torch.int8).view(torch.uint8)


def has_code(codes: Tensor, code: int) -> Tensor:
    """1 where uint8 ``codes`` are ``code``, else 0: uint8, same shape."""
    return (codes ^ code).clamp(max=1) ^ 1


def overpaint(painted: Tensor, code: Tensor | int, mask: Tensor) -> Tensor:
    """``code`` where ``mask`` is 1, ``painted`` where it is 0: uint8, shape of all broadcast.

    Args:
        painted: painted codes, uint8.
        code: what is painted over them, uint8 or a number 0..255.
        mask: uint8, 0 or 1.
    """
    return painted ^ (mask * (painted ^ code))
