"""Losses of a batch: cross-entropy plus Dice, of the classes and of the structures that they belong to.

Value and gradient are computed in one pass, without a one-hot target: for softmax probabilities ``p`` and
``g_j = dL/dp_j`` the gradient of the logits is ``p_j (g_j - sum_k p_k g_k)``.
"""

from typing import Any

import torch
from torch import Tensor

from synthspine.gen import LabelScheme
from synthspine.gen.core.anatomy import IGNORE
from synthspine.train.decoding import merge_logits, structure_table, to_structures

DICE_SMOOTHING = 1.0
LEAST_SHARE = 1e-4
"""Share of the pixels below which a class gains no more weight."""


def segmentation_loss(
    logits: Tensor, target: Tensor, *, class_pixels: Tensor, samples: int, balance: float = 0.0
) -> Tensor:
    """Cross-entropy plus one minus Dice: this rank's share of the loss of the global batch.

    Cross-entropy is a weighted mean over valid pixels: with the share ``f`` of a pixel's class in the global
    batch its weight is ``f ** -balance``. With 0 all pixels count alike, with 1 all classes. Dice is the mean
    over samples, and in a sample over the foreground classes of its target, with 1 pixel of smoothing. Both
    are sums over samples, so the shares of all ranks add up to the loss of the batch.

    Args:
        logits: float, shape ``(B, K, H, W)``.
        target: classes 0..K-1 or 255 (left out), uint8 or int64, shape ``(B, H, W)``.
        class_pixels: pixels of the global batch by class (:func:`count_pixels`), on the logits' device.
        samples: samples of the global batch.
        balance: 0..1, how far small classes are lifted.

    Returns:
        A scalar, float32 (float64 for float64 logits), differentiable once with respect to ``logits``.
    """
    pixels = class_pixels.double()
    weights = (pixels / pixels.sum().clamp(min=1)).clamp(min=LEAST_SHARE) ** -balance
    # All pixels together have the weight 1.
    weights /= (weights * pixels).sum().clamp(min=1)
    loss: Tensor = _DiceCrossEntropy.apply(logits, target, weights, samples)
    return loss


def structure_loss(
    logits: Tensor,
    target: Tensor,
    scheme: LabelScheme,
    *,
    class_pixels: Tensor,
    samples: int,
    balance: float = 0,
) -> Tensor:
    """:func:`segmentation_loss` of background and the structures of a scheme, whatever the class.

    A network of 14 classes learns to tell a vertebra from fat before it can tell its rank. The arguments are
    those of :func:`segmentation_loss`, for the classes of ``scheme``.
    """
    merged = merge_logits(logits, scheme)
    table = structure_table(scheme, target.device)
    structure_pixels = class_pixels.new_zeros(merged.shape[1])
    structure_pixels.index_add_(0, table[: len(class_pixels)].long(), class_pixels)
    target = to_structures(target, scheme)
    return segmentation_loss(merged, target, class_pixels=structure_pixels, samples=samples, balance=balance)


def count_pixels(target: Tensor, classes: int) -> Tensor:
    """Pixels of every class (int64, shape ``(classes,)``); the class 255 is not counted."""
    pixels = target.flatten()
    if target.is_cuda:  # bincount would make it wait
        numbers = torch.arange(classes, dtype=target.dtype, device=target.device)
        return (pixels == numbers.unsqueeze(1)).sum(dim=1)
    return torch.bincount(pixels.int(), minlength=IGNORE + 1)[:classes]


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
