"""What can be done to an image before the network sees it, in training and in scoring alike."""

from collections.abc import Callable

import torch
from torch import Tensor

from synthspine.gen.core.quantiles import quantiles
from synthspine.gen.scanner.display import rescale
from synthspine.train.data.feed import Feed

PERCENTILES = (0.01, 0.99)


def standardise(image: Tensor) -> Tensor:
    """Mean 0 and standard deviation 1 of every sample's non-zero pixels, ``(B, 1, H, W)``; zeros stay 0."""
    seen = image > 0
    count = seen.sum(dim=(1, 2, 3), keepdim=True).clamp(min=1)
    mean = image.sum(dim=(1, 2, 3), keepdim=True) / count
    centred = torch.where(seen, image - mean, 0.0)
    deviation = (centred.square().sum(dim=(1, 2, 3), keepdim=True) / count).sqrt()
    return centred / deviation.clamp(min=1e-6)


def stretch(image: Tensor) -> Tensor:
    """Least value to 0 and greatest to 1, sample by sample, ``(B, 1, H, W)``."""
    return rescale(image)


def stretch_percentiles(image: Tensor) -> Tensor:
    """The 1st percentile of every slice's non-zero pixels to 0, the 99th to 1, ``(B, 1, H, W)``; clipped."""
    shares = [image.new_full((len(image),), share) for share in PERCENTILES]
    low, high = quantiles(image, image > 0, *shares)
    return ((image - low) / (high - low).clamp(min=1e-6)).clamp(0, 1)


INPUTS: dict[str, Callable[[Tensor], Tensor]] = {
    "as stored": lambda image: image,
    "min-max": stretch,
    "percentiles": stretch_percentiles,
    "standardised": standardise,
}
"""By name. As stored: percentiles 0.5 and 99.5 of the whole scan, or what the generator's display does."""


class ChangedFeed:
    """A feed whose images are changed as :data:`INPUTS` says.

    Args:
        feed: where batches come from.
        name: of the change.
    """

    def __init__(self, feed: Feed, name: str) -> None:
        self._feed = feed
        self._change = INPUTS[name]

    def batch(self, step: int) -> tuple[Tensor, Tensor]:
        """See :class:`train.data.feed.Feed`."""
        images, codes = self._feed.batch(step)
        return self._change(images), codes
