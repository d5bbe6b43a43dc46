"""Instance normalisation (Ulyanov et al. 2016), with a faster CPU path for few and large channels.

torch's CPU kernels work channel by channel and reorder a channels-last batch. Here a batch is viewed as
rows ``(B, H, W * C)``: sums over rows are matrix products with ones, and the normalisation is one
multiply-add with coefficients repeated along the row. ``docs/performance.md`` has the timings.
"""

from typing import Any

import torch
from torch import Tensor, nn

SHIFT_STRIDE = 8
"""One row in this number is read for the shift."""


class InstanceNorm(nn.InstanceNorm2d):
    """Normalises every channel of every sample over its pixels, then scales and shifts it."""

    def __init__(self, channels: int) -> None:
        super().__init__(channels, affine=True)

    def forward(self, features: Tensor) -> Tensor:
        """Shape ``(B, C, H, W)`` in, the same shape out, channels last on a CPU."""
        if features.device.type != "cpu":
            return super().forward(features)
        normal: Tensor = _RowInstanceNorm.apply(features, self.weight, self.bias, self.eps)
        return normal


class _RowInstanceNorm(torch.autograd.Function):
    """Normalises ``shifted = features - shift``, with a shift near the mean of every channel.

    The variance is ``mean(shifted^2) - mean(shifted)^2``. Without the shift this difference cancels, and bf16
    keeps no digits of it where the mean is ten times the standard deviation.
    """

    @staticmethod
    def forward(ctx: Any, features: Tensor, weight: Tensor, bias: Tensor, eps: float) -> Tensor:
        rows, shape = _rows(features), features.shape
        with torch.autocast("cpu", enabled=False):
            shifted = rows - _along_row(_pixel_mean(rows[:, ::SHIFT_STRIDE], shape), shape, rows)
            mean = _pixel_mean(shifted, shape)
            # One buffer holds the squares and then the result.
            result = torch.empty_like(features, memory_format=torch.channels_last)
            room = _rows(result)
            square = _pixel_mean(torch.mul(shifted, shifted, out=room), shape)
            inverse = (square - mean * mean).clamp_(min=0).add_(eps).rsqrt_()
            scale = inverse * weight
            offset = _along_row(bias - mean * scale, shape, rows)
            torch.addcmul(offset, shifted, _along_row(scale, shape, rows), out=room)
        ctx.save_for_backward(shifted, mean, inverse, weight)
        return result

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, *upstream: Tensor) -> tuple[Tensor, Tensor, Tensor, None]:
        shifted, mean, inverse, weight = ctx.saved_tensors
        slope, shape = _rows(upstream[0]), upstream[0].shape
        pixels = shape[2] * shape[3]
        slope_mean = _pixel_mean(slope, shape)
        gradient = torch.empty_like(upstream[0], memory_format=torch.channels_last)
        room = _rows(gradient)
        # Mean of slope times normalised feature.
        product = _pixel_mean(torch.mul(slope, shifted, out=room), shape)
        along = (product - slope_mean * mean) * inverse
        scale = inverse * weight
        # slope * scale - scale * (slope_mean + normalised * along),
        # with normalised = (shifted - mean) * inverse.
        by_shifted = -scale * inverse * along
        constant = _along_row(-scale * slope_mean - by_shifted * mean, shape, slope)
        torch.addcmul(constant, shifted, _along_row(by_shifted, shape, slope), out=room)
        room.addcmul_(slope, _along_row(scale, shape, slope))
        return gradient, (along * pixels).sum(dim=0), (slope_mean * pixels).sum(dim=0), None


def _rows(features: Tensor) -> Tensor:
    """``(B, C, H, W)`` as ``(B, H, W * C)``; a view where channels come last in memory."""
    batch, channels, height, width = features.shape
    return features.permute(0, 2, 3, 1).reshape(batch, height, width * channels)


def _pixel_mean(rows: Tensor, shape: torch.Size) -> Tensor:
    """Mean over the pixels of rows ``(B, N, W * C)`` of features of a shape; ``(B, C)``, float32 or wider."""
    batch, channels, _, width = shape
    ones = rows.new_ones(1, 1, rows.shape[1]).expand(batch, 1, -1)
    columns = (ones @ rows).view(batch, width, channels)
    return columns.to(torch.promote_types(rows.dtype, torch.float32)).mean(dim=1) / rows.shape[1]


def _along_row(values: Tensor, shape: torch.Size, like: Tensor) -> Tensor:
    """``(B, C)`` repeated along rows: ``(B, 1, W * C)`` in the type of ``like``."""
    return values.to(like.dtype).repeat(1, shape[3]).unsqueeze(1)
