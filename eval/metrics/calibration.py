"""Calibration error and entropy of class probabilities.

- *Confidence* of a pixel is the largest softmax probability over the model's own classes; the pixel is right
  where the class of that probability is the target's. Background counts like any class.
- *ECE*: 15 bins of equal width over (0, 1]; the absolute difference of mean confidence and accuracy in each
  bin, weighted by its pixels. Pixels of all slices of a patient are counted together.
- *Entropy* of a pixel's probabilities in nats, over the model's own classes (at most ln K).
- *Structure entropy*: entropy of background and the S structures of the label scheme (at most ln (1 + S)),
  over the pixels predicted as structure. A prediction flags a scan by its mean (``eval.prediction.quality``).
- Targets of 255 are left out of the bins; the entropy leaves out only pixels without annotation.

Source: Guo et al. 2017, "On Calibration of Modern Neural Networks", eq. 3 (ECE).
"""

import math
from collections.abc import Sequence

import torch
from torch import Tensor

from synthspine.gen.core.anatomy import BACKGROUND, IGNORE
from synthspine.gen.core.schemes import LabelScheme

BINS = 15


def confidence_bins(probabilities: Tensor, target: Tensor) -> Tensor:
    """Counts of the reliability diagram of every sample.

    Args:
        probabilities: softmax over K classes, float ``(B, K, H, W)``.
        target: classes, 255 where nothing is known, uint8 ``(B, H, W)``.

    Returns:
        float64 ``(B, 15, 3)``: per bin, ascending: pixels, sum of their confidences, right pixels.
    """
    batch = len(target)
    confidence, prediction = probabilities.max(dim=1)
    confidence = confidence.double()
    # Bins are open below and closed above, so that 1 is in the last one; bin 0 takes unknown targets.
    place = (confidence * BINS).ceil().long().clamp(1, BINS).masked_fill_(target == IGNORE, 0)
    sample = torch.arange(batch, device=target.device)[:, None, None]
    cells = (sample * (BINS + 1) + place).flatten()
    size = batch * (BINS + 1)
    right = (prediction == target).flatten()
    pixels = torch.bincount(2 * cells + right, minlength=2 * size).reshape(size, 2)
    sums = torch.bincount(cells, confidence.flatten(), minlength=size)
    counts = torch.stack((pixels.sum(dim=1), sums, pixels[:, 1]), dim=1)
    return counts.reshape(batch, BINS + 1, 3)[:, 1:]


def expected_calibration_error(bins: Tensor | Sequence[Sequence[float]]) -> float:
    """ECE in [0, 1] of counts ``(15, 3)`` of ``confidence_bins``, also summed; nan without pixels."""
    counts = torch.as_tensor(bins, dtype=torch.float64)
    pixels = float(counts[:, 0].sum())
    return float((counts[:, 1] - counts[:, 2]).abs().sum()) / pixels if pixels else math.nan


def entropy_sums(probabilities: Tensor, annotated: Tensor) -> tuple[Tensor, Tensor]:
    """Sum of the entropies of the pixels, nats, and number of pixels, of every sample, ``(B,)``.

    The probabilities are softmax over K classes, ``(B, K, H, W)``; annotated are the counted pixels, bool.
    """
    entropies = torch.special.entr(probabilities).sum(dim=1).double()
    return (entropies * annotated).sum(dim=(1, 2)), annotated.sum(dim=(1, 2))


def structure_entropy_sums(
    probabilities: Tensor, scheme: LabelScheme, annotated: Tensor | None = None
) -> tuple[Tensor, Tensor]:
    """The same of the structure entropy where a structure is most likely; as :func:`entropy_sums`.

    The probabilities are those of the classes of ``scheme``; all pixels are counted by default.
    """
    batch, _, *size = probabilities.shape
    groups = torch.tensor(scheme.class_structures, device=probabilities.device)
    grouped = probabilities.new_zeros(batch, len(scheme.groups), *size)
    grouped.index_add_(1, groups, probabilities)
    found = grouped.max(dim=1).indices != BACKGROUND
    return entropy_sums(grouped, found if annotated is None else found & annotated)
