"""Masks of label maps as uint8 of 0 and 1, combined by integer arithmetic.

On a CPU, comparisons that give bool and ``torch.where`` cost several times as much per pixel as arithmetic on
uint8.
"""

import torch
from torch import Tensor
from torch.nn import functional


def per_sample(values: Tensor, like: Tensor) -> Tensor:
    """Values of shape ``(B,)`` seen as ``(B, 1, ...)``, to meet a tensor ``(B, *grid)``."""
    return values.view(-1, *[1] * (like.dim() - 1))


def per_code(values: Tensor, codes: Tensor) -> Tensor:
    """The value of every code in ``codes`` ``(B, *grid)``, out of ``values`` ``(B, C)``: ``(B, *grid)``."""
    return values.gather(1, codes.flatten(1).long()).reshape(codes.shape)


def above(values: Tensor, threshold: Tensor | float) -> Tensor:
    """1 where ``values > threshold``, else 0: uint8, shape of both broadcast; no NaN, not both infinite."""
    if torch.compiler.is_compiling():
        return torch.gt(values, threshold).to(torch.uint8)  # the type below cannot be traced
    # A comparison that gives floating-point numbers is vectorised.
    result = torch.empty(0, dtype=torch.result_type(values, threshold), device=values.device)
    values, threshold = values.detach(), threshold.detach() if isinstance(threshold, Tensor) else threshold
    return torch.gt(values, threshold, out=result).to(torch.int8).view(torch.uint8)


def has_code(codes: Tensor, code: Tensor | int) -> Tensor:
    """1 where uint8 ``codes`` are ``code`` (uint8, or 0..255), else 0: uint8, shape of both broadcast."""
    return (codes ^ code).clamp(max=1) ^ 1


def overpaint(painted: Tensor, code: Tensor | int, mask: Tensor) -> Tensor:
    """``code`` (uint8, or 0..255) where ``mask`` is 1, ``painted`` where it is 0: uint8, all broadcast."""
    return painted ^ (mask * (painted ^ code))


def between(codes: Tensor, low: int, high: int) -> Tensor:
    """1 where ``low <= codes <= high``, else 0: uint8, the shape of ``codes``.

    ``low`` is at least 1, ``high`` at most 254 and at most 29 above ``low``.
    """
    near = codes.clamp(low - 1, high + 1)
    # Both factors are 0 at one end; their product stays below 256 for ranges this short.
    return ((near - (low - 1)) * (high + 1 - near)).clamp(max=1)


def at_most(codes: Tensor, high: int) -> Tensor:
    """1 where ``codes <= high`` (``high`` up to 254), else 0; uint8, the shape of ``codes``."""
    return high + 1 - codes.clamp(high, high + 1)


def columns_of(mask: Tensor) -> slice:
    """Columns (last axis) from the first to the last with a pixel of a mask, uint8 ``(..., W)``.

    It is one at least; on a GPU, where looking would wait, and in compiled code it is all of them.
    """
    count = mask.shape[-1]
    if mask.device.type != "cpu" or torch.compiler.is_compiling():
        return slice(0, count)
    seen = mask.reshape(-1, count).amax(0).nonzero()
    return slice(int(seen[0]), int(seen[-1]) + 1) if len(seen) else slice(0, 1)


def with_columns(whole: Tensor, columns: slice, values: Tensor) -> Tensor:
    """A copy of ``whole`` that holds ``values`` in some of its columns."""
    result = whole.clone()
    result[..., columns] = values
    return result


def shifted_rows(codes: Tensor, rows: int, fill: int) -> Tensor:
    """The map, uint8 ``(B, *grid)``, moved down by ``rows`` (up where negative).

    Row ``r`` (last axis but one) holds what row ``r - rows`` held; rows that come in hold ``fill``, 0..255.
    """
    padded = functional.pad(codes, (0, 0, max(rows, 0), max(-rows, 0)), value=fill)
    return padded.narrow(-2, max(-rows, 0), codes.shape[-2])


def greatest_near(codes: Tensor, rows: int) -> Tensor:
    """Greatest code among a pixel and the ``rows`` above and below it: uint8, the shape of ``codes``."""
    return greatest_ahead(greatest_ahead(codes, rows, 1), rows, -1)


def greatest_ahead(values: Tensor, rows: int, step: int, fade: int = 0) -> Tensor:
    """Greatest value among a pixel and the ``rows`` below it, for ``step`` 1, or above it, for -1.

    Every value counts for less by ``fade`` per row of distance. Integers ``(..., H, W)``, signed if there is
    a ``fade``; kind and shape are kept.
    """
    height, seen = values.shape[-2], 1
    # The greatest of 1, 2, 4, ... rows: a row and one as far ahead as is seen already.
    while seen <= min(rows, height - 1):
        ahead = min(seen, rows + 1 - seen)
        count = height - ahead
        there = values.narrow(-2, ahead if step > 0 else 0, count)
        both = values.narrow(-2, 0 if step > 0 else ahead, count).maximum(
            there - ahead * fade if fade else there
        )
        end = values.narrow(-2, count if step > 0 else 0, ahead)
        values = torch.cat((both, end) if step > 0 else (end, both), dim=-2)
        seen += ahead
    return values
