"""Display: clipping by percentiles, as scanners and archives do, and gamma; the result lies in [0, 1]."""

import torch
from kornia.enhance import adjust_gamma
from torch import Tensor

from gen.config import IntensityConfig
from gen.counter_rng import SampleRandom
from gen.params import IntensityParams

BINS = 256


def draw_intensity(config: IntensityConfig, random: SampleRandom) -> IntensityParams:
    """Draw clipping and gamma of every sample."""
    return IntensityParams(
        gamma=torch.exp(random.uniform("gamma", *config.gamma)),
        clip_low=random.uniform("clip_low", *config.clip_low),
        clip_high=random.uniform("clip_high", *config.clip_high),
    )


def display(image: Tensor, seen: Tensor, params: IntensityParams) -> Tensor:
    """Clip at percentiles of the pixels inside the field of view, scale to [0, 1], apply gamma.

    Args:
        image: ``(B, *grid)``.
        seen: pixels inside the field of view, bool, same shape; the others become 0.
        params: what was drawn.
    """
    each = (-1, *[1] * (image.dim() - 1))
    low, high = quantiles(image.flatten(1), seen.flatten(1), params.clip_low, 1 - params.clip_high)
    scaled = (image - low.view(each)) / (high - low).view(each).clamp(min=1e-6)
    # kornia wants a channel axis; its gamma is per sample.
    bent = adjust_gamma(scaled.clamp(1e-6, 1).unsqueeze(1), params.gamma).squeeze(1)
    return torch.where(seen, bent, 0.0)


def quantiles(values: Tensor, counted: Tensor, low: Tensor, high: Tensor) -> tuple[Tensor, Tensor]:
    """Two quantiles per row from a histogram of 256 bins: integer counts do not depend on the batch.

    Args:
        values: ``(B, n)``.
        counted: which of them count, bool ``(B, n)``.
        low: share below the first quantile, ``(B,)``.
        high: share below the second, ``(B,)``.
    """
    least = values.amin(1, keepdim=True)
    width = (values.amax(1, keepdim=True) - least).clamp(min=1e-6) / BINS
    bins = ((values.detach() - least) / width).long().clamp(0, BINS - 1)
    counts = torch.zeros(len(values), BINS, dtype=torch.int32, device=values.device)
    counts.scatter_add_(1, bins, counted.int())
    below = counts.cumsum(1)
    total = below[:, -1].float()
    # The low edge skips empty bins, the high edge stops at the last one with content.
    first = (below <= (low * total)[:, None]).sum(1).clamp(max=BINS - 1)
    last = (below < (high * total)[:, None]).sum(1).clamp(max=BINS - 1)
    edges = torch.stack((first, last + 1), dim=1)
    found = least + width * edges
    return found[:, 0], found[:, 1]
