"""Dice and cross-entropy of one batch, with their gradient worked out in the same pass.

Early in training the balance of classes decides what is found. A canal is two pixels of a hundred: plain
cross-entropy pays for its absence little, and a network may answer without it for hundreds of steps. So
cross-entropy can give every class an equal say, whatever its size; late in training that would paint small
structures too large, so how far it goes is a matter of the schedule (``train.schedule``).

For softmax probabilities ``p`` and any ``g_j = dL/dp_j`` the gradient of the logits is
``p_j (g_j - sum_k p_k g_k)``. Both terms depend on a pixel only through ``p`` and its target, so value and
gradient need no one-hot target and no graph: at 14 classes that halves the time of the loss.
"""

from typing import Any

import torch
from torch import Tensor

from synthspine.gen.core.anatomy import IGNORE

DICE_SMOOTHING = 1.0
LEAST_SHARE = 1e-4
"""Share of the pixels below which a class gains no more weight."""


def segmentation_loss(
    logits: Tensor, target: Tensor, *, class_pixels: Tensor, samples: int, balance: float = 0.0
) -> Tensor:
    """Cross-entropy plus one minus Dice: this rank's share of the loss of the global batch.

    Cross-entropy is a weighted mean over valid pixels: with the share ``f`` of a pixel's class in the global
    batch its weight is ``f ** -balance``, so that 0 counts pixels alike and 1 classes. Dice is taken per
    sample, as the mean over the foreground classes that the sample's target holds, with 1 pixel of smoothing;
    its sum over samples is divided by ``samples``. Both are sums over samples, so the shares of all ranks add
    up to the loss that one rank would find.

    Args:
        logits: float, shape ``(B, K, H, W)``.
        target: classes 0..K-1 or 255 (left out), uint8 or int64, shape ``(B, H, W)``.
        class_pixels: pixels of the global batch by class (:func:`count_pixels`), on the logits' device.
        samples: samples of the global batch.
        balance: 0..1, how far small classes are lifted.

    Returns:
        A scalar, float32 (float64 for float64 logits), differentiable once with respect to ``logits``.
    """
    loss: Tensor = _DiceCrossEntropy.apply(logits, target, _pixel_weights(class_pixels, balance), samples)
    return loss


def count_pixels(target: Tensor, classes: int) -> Tensor:
    """Pixels of every class (int64, shape ``(classes,)``); the class 255 is not counted."""
    pixels = target.flatten()
    if target.is_cuda:  # bincount would make it wait
        numbers = torch.arange(classes, dtype=target.dtype, device=target.device)
        return (pixels == numbers.unsqueeze(1)).sum(dim=1)
    return torch.bincount(pixels.int(), minlength=IGNORE + 1)[:classes]


def _pixel_weights(class_pixels: Tensor, balance: float) -> Tensor:
    """Weight of a pixel in the mean, by its class, float64: all pixels together have the weight 1."""
    pixels = class_pixels.double()
    weights = (pixels / pixels.sum().clamp(min=1)).clamp(min=LEAST_SHARE) ** -balance
    weights /= (weights * pixels).sum().clamp(min=1)
    return weights


class _DiceCrossEntropy(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, logits: Tensor, target: Tensor, weights: Tensor, samples: int) -> Tensor:
        dtype = torch.promote_types(logits.dtype, torch.float32)
        weights = weights.to(dtype)
        gradient = torch.empty_like(logits)
        loss = weights.new_zeros(())
        # A CPU works on one sample at a time, which stays in its cache; a GPU on all at once.
        chunk = len(logits) if logits.is_cuda else 1
        for start in range(0, len(logits), chunk):
            part = slice(start, start + chunk)
            probability = logits[part].contiguous().flatten(2).softmax(dim=1, dtype=dtype)
            value, slope = _value_and_slope(probability, target[part].flatten(1), weights, samples)
            loss += value
            gradient[part] = slope.to(logits.dtype).unflatten(2, logits.shape[2:])
        ctx.save_for_backward(gradient)
        return loss

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, *upstream: Tensor) -> tuple[Tensor, None, None, None]:
        (gradient,) = ctx.saved_tensors
        return gradient * upstream[0].to(gradient.dtype), None, None, None


def _value_and_slope(
    probability: Tensor, target: Tensor, weights: Tensor, samples: int
) -> tuple[Tensor, Tensor]:
    """Loss of some samples and its gradient by their logits; (B, K, N) and (B, N) with N pixels."""
    index = target.long().unsqueeze(1)
    valid = (index != IGNORE).to(probability.dtype)
    index = index.masked_fill(index == IGNORE, 0)
    weight = weights[index] * valid
    at_target = probability.gather(1, index) * valid
    floor = torch.finfo(probability.dtype).tiny
    cross_entropy = -(at_target.clamp(min=floor).log() * weight).sum()

    # Per sample and class: probability on the target, probability anywhere, pixels of the target.
    zeros = probability.new_zeros(probability.shape[:2])
    overlap = zeros.scatter_add(1, index.squeeze(1), at_target.squeeze(1))
    actual = zeros.scatter_add(1, index.squeeze(1), valid.squeeze(1))
    predicted = (probability @ valid.transpose(1, 2)).squeeze(2)

    present = (actual > 0).to(probability.dtype)
    present[:, 0] = 0
    share = present / present.sum(dim=1, keepdim=True).clamp(min=1) / samples
    size = predicted + actual + DICE_SMOOTHING
    score = (2 * overlap + DICE_SMOOTHING) / size

    by_predicted = share * score / size
    by_overlap = (-2 * share / size).gather(1, index.squeeze(1)).unsqueeze(1)
    reward = at_target * by_overlap - weight
    centre = by_predicted.unsqueeze(1) @ probability + reward
    slope = (by_predicted.unsqueeze(2) - centre).mul_(probability)
    slope.scatter_add_(1, index, reward).mul_(valid)
    return cross_entropy + (share * (1 - score)).sum(), slope
