"""Instance normalisation (Ulyanov et al. 2016), with a CPU path for few and large channels.

torch's CPU kernels work channel by channel and turn a channels-last batch around for it. Here a batch of
``(B, H, W * C)`` rows is worked on in long runs: sums over rows are matrix products with ones, the
normalisation is one multiply-add with coefficients repeated along the row. One training step of the U-Net (8
features, 8 slices of 320 x 256, one thread with AVX512-BF16) takes 0.37 s instead of 0.51 s in
bf16 and 0.49 s instead of 0.76 s in float32.
"""

from typing import Any

import torch
from torch import Tensor, nn


class InstanceNorm(nn.InstanceNorm2d):
    """Normalises every channel of every sample over its pixels, then scales and shifts it.

    Args:
        channels: channels of the input.
    """

    def __init__(self, channels: int) -> None:
        super().__init__(channels, affine=True)

    def forward(self, features: Tensor) -> Tensor:
        """Shape ``(B, C, H, W)`` in, the same shape out, channels last on a CPU."""
        if features.device.type != "cpu":
            return super().forward(features)
        normal: Tensor = _RowInstanceNorm.apply(features, self.weight, self.bias, self.eps)
        return normal


class _RowInstanceNorm(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, features: Tensor, weight: Tensor, bias: Tensor, eps: float) -> Tensor:
        rows = _rows(features)
        with torch.autocast("cpu", enabled=False):
            mean = _pixel_mean(rows, features.shape)
            square = _pixel_mean(rows * rows, features.shape)
            inverse = (square - mean * mean).clamp_(min=0).add_(eps).rsqrt_()
            scale = inverse * weight
            result = torch.empty_like(features, memory_format=torch.channels_last)
            width = features.shape[3]
            torch.addcmul(
                _along_row(bias - mean * scale, width, rows),
                rows,
                _along_row(scale, width, rows),
                out=_rows(result),
            )
        ctx.save_for_backward(features, mean, inverse, weight)
        return result

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, *upstream: Tensor) -> tuple[Tensor, Tensor, Tensor, None]:
        features, mean, inverse, weight = ctx.saved_tensors
        shape = features.shape
        pixels = shape[2] * shape[3]
        rows, slope = _rows(features), _rows(upstream[0])
        slope_mean = _pixel_mean(slope, shape)
        # Mean of slope times normalised feature.
        along = (_pixel_mean(slope * rows, shape) - slope_mean * mean) * inverse
        scale = inverse * weight
        # slope * scale - scale * (slope_mean + normalised * along), with normalised = (rows - mean) * inverse
        by_rows = -scale * inverse * along
        constant = -scale * slope_mean - by_rows * mean
        width = shape[3]
        gradient = torch.empty_like(features, memory_format=torch.channels_last)
        place = _rows(gradient)
        torch.addcmul(_along_row(constant, width, rows), rows, _along_row(by_rows, width, rows), out=place)
        place.addcmul_(slope, _along_row(scale, width, rows))
        return gradient, (along * pixels).sum(dim=0), (slope_mean * pixels).sum(dim=0), None


def _rows(features: Tensor) -> Tensor:
    """``(B, C, H, W)`` as ``(B, H, W * C)``; a view where channels come last in memory."""
    batch, channels, height, width = features.shape
    return features.permute(0, 2, 3, 1).reshape(batch, height, width * channels)


def _pixel_mean(rows: Tensor, shape: torch.Size) -> Tensor:
    """Mean over the pixels of ``(B, H, W * C)``, shape ``(B, C)``, float32 or wider."""
    batch, channels, height, width = shape
    ones = rows.new_ones(1, 1, height).expand(batch, 1, height)
    columns = (ones @ rows).view(batch, width, channels)
    return columns.to(torch.promote_types(rows.dtype, torch.float32)).mean(dim=1) / height


def _along_row(values: Tensor, width: int, like: Tensor) -> Tensor:
    """``(B, C)`` repeated along rows: ``(B, 1, W * C)`` in the type of ``like``."""
    return values.to(like.dtype).repeat(1, width).unsqueeze(1)
