"""Losses of a batch, of its classes and of the structures that they belong to, in one table.

A loss is a function of logits, target and :class:`LossContext`, differentiated by autograd. To add one, write
the function and enter it in ``LOSSES``; outside of the package, do so before the options are made.

Every rank has a part of the batch, and the gradients of all ranks are added. So a loss returns this rank's
share of the loss of the global batch: a sum over its samples, divided by numbers of the global batch.

Sources: Dice, Milletari et al. 2016 (arXiv:1606.04797); focal loss, Lin et al. 2017 (arXiv:1708.02002);
Tversky loss, Salehi et al. 2017 (arXiv:1706.05721).
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any, TypeAlias

import torch
from torch import Tensor

from synthspine.gen import LabelScheme
from synthspine.gen.core.anatomy import IGNORE
from synthspine.train.decoding import merge_logits, structure_table, to_structures

SMOOTHING = 0.5
"""Pixels added to numerator and denominator of an overlap."""
LEAST_SHARE = 1e-4
"""Share of the pixels below which a class gains no more weight."""
FOCUS = 2.0
"""Exponent of the focal loss (gamma of Lin et al.)."""
FALSE_POSITIVES, FALSE_NEGATIVES = 0.3, 0.7
"""Weights of the Tversky loss (alpha and beta of Salehi et al., who found these the best)."""


@dataclass(frozen=True, kw_only=True, slots=True)
class LossContext:
    """What a loss needs to know of the global batch, which all ranks share.

    Attributes:
        class_pixels: pixels of the global batch by class (:func:`count_pixels`), int64, shape ``(K,)``, on
            the device of the logits. Ignored pixels are not counted.
        samples: samples of the global batch.
        balance: 0..1, how far small classes are lifted in a mean over pixels.
    """

    class_pixels: Tensor
    samples: int
    balance: float = 0.0

    def pixel_weights(self) -> Tensor:
        """Weight of a pixel of every class in a mean over the global batch, float64, shape ``(K,)``.

        With the share ``f`` of its class in the batch it is in proportion to ``f ** -balance``: with 0 all
        pixels count alike, with 1 all classes. The weights of all counted pixels add up to 1.
        """
        pixels = self.class_pixels.double()
        weights = (pixels / pixels.sum().clamp(min=1)).clamp(min=LEAST_SHARE) ** -self.balance
        return weights / (weights * pixels).sum().clamp(min=1)


Loss: TypeAlias = Callable[[Tensor, Tensor, LossContext], Tensor]
"""A loss of logits, target and context.

The logits are float, ``(B, K, H, W)``; the target has classes 0..K-1 or 255 (ignored), uint8 or int64,
``(B, H, W)``. The result is a scalar, float32 (float64 for float64 logits): this rank's share."""


def dice_cross_entropy(logits: Tensor, target: Tensor, context: LossContext) -> Tensor:
    """Cross-entropy plus one minus Dice."""
    return cross_entropy(logits, target, context) + lost_overlap(logits, target, context)


def dice_focal(logits: Tensor, target: Tensor, context: LossContext) -> Tensor:
    """Focal loss plus one minus Dice, so that certain pixels count less."""
    return cross_entropy(logits, target, context, focus=FOCUS) + lost_overlap(logits, target, context)


def tversky_cross_entropy(logits: Tensor, target: Tensor, context: LossContext) -> Tensor:
    """Cross-entropy plus one minus Tversky index, so that missed pixels cost more than false ones."""
    overlap = lost_overlap(logits, target, context, alpha=FALSE_POSITIVES, beta=FALSE_NEGATIVES)
    return cross_entropy(logits, target, context) + overlap


def cross_entropy(logits: Tensor, target: Tensor, context: LossContext, *, focus: float = 0.0) -> Tensor:
    """Weighted mean over pixels of ``-(1 - p) ** focus * log(p)``; ``p`` is the probability of their class.

    The weights are those of the context, the ``alpha`` of Lin et al. A ``focus`` of 0 gives cross-entropy;
    for the focal loss it is 1 or more.
    """
    valid = target != IGNORE
    index = target.long().masked_fill(~valid, 0)
    logarithm = logits.log_softmax(dim=1, dtype=_precise(logits)).gather(1, index.unsqueeze(1)).squeeze(1)
    weights = context.pixel_weights().to(logarithm.dtype)[index] * valid
    return -(weights * (1 - logarithm.exp()) ** focus * logarithm).sum()


def lost_overlap(
    logits: Tensor, target: Tensor, context: LossContext, *, alpha: float = 0.5, beta: float = 0.5
) -> Tensor:
    """One minus the Tversky index of probabilities, which is Dice where ``alpha`` and ``beta`` are 0.5.

    The index of a class is ``(o + s) / (o + alpha * f + beta * m + s)`` with its overlap ``o``, its false
    pixels ``f``, its missed pixels ``m`` and ``SMOOTHING`` ``s``. It is averaged over samples, and in a
    sample over the foreground classes of its target.
    """
    numbers = torch.arange(logits.shape[1], device=logits.device)
    actual = (target.unsqueeze(1) == numbers[:, None, None]).to(_precise(logits))
    probability = logits.softmax(dim=1, dtype=actual.dtype) * (target != IGNORE).unsqueeze(1)
    overlap = (probability * actual).sum((2, 3))
    false = probability.sum((2, 3)) - overlap
    missed = actual.sum((2, 3)) - overlap
    index = (overlap + SMOOTHING) / (overlap + alpha * false + beta * missed + SMOOTHING)
    return (_class_shares(actual.sum((2, 3)), context) * (1 - index)).sum()


def _precise(logits: Tensor) -> torch.dtype:
    return torch.promote_types(logits.dtype, torch.float32)


def _class_shares(actual: Tensor, context: LossContext) -> Tensor:
    """Weights of samples and classes in a mean over both, from the pixels of the target, all ``(B, K)``."""
    present = (actual > 0).to(actual.dtype)
    present[:, 0] = 0
    return present / present.sum(dim=1, keepdim=True).clamp(min=1) / context.samples


def fast_dice_cross_entropy(logits: Tensor, target: Tensor, context: LossContext) -> Tensor:
    """:func:`dice_cross_entropy`, differentiable once: value and gradient in one pass, with less memory.

    For softmax probabilities ``p`` and ``g_j = dL/dp_j`` the gradient of the logits is
    ``p_j (g_j - sum_k p_k g_k)``. The value, not the gradient, takes probabilities below 1e-38 for 1e-38.
    """
    value: Tensor = _DiceCrossEntropy.apply(logits, target, context)
    return value


LOSSES: dict[str, Loss] = {
    "dice-ce": dice_cross_entropy,
    "dice-focal": dice_focal,
    "tversky-ce": tversky_cross_entropy,
}
"""The losses by the names that ``--loss`` takes; their docstrings begin with its help."""
DEFAULT_LOSS = "dice-ce"
FASTER: dict[Loss, Loss] = {dice_cross_entropy: fast_dice_cross_entropy}
"""Losses that training replaces by a faster function of the same value and gradient."""


def find_loss(name: str) -> Loss:
    """The loss of a name, in its faster form if there is one.

    Raises:
        ValueError: ``LOSSES`` has no such name.
    """
    if name not in LOSSES:
        raise ValueError(f"loss {name!r} must be one of {', '.join(LOSSES)}")
    return FASTER.get(LOSSES[name], LOSSES[name])


def describe_losses() -> str:
    """Help of ``--loss``: the first sentence about every loss of the table."""
    texts = (f"{name}: {(loss.__doc__ or '').split('.')[0]}." for name, loss in LOSSES.items())
    return " ".join(("What is minimised, of the classes and of the structures.", *texts))


def structure_loss(
    loss: Loss, logits: Tensor, target: Tensor, scheme: LabelScheme, context: LossContext
) -> Tensor:
    """A loss of background and the structures of a scheme, whatever the class.

    A network of 14 classes learns to tell a vertebra from fat before it can tell its rank. Logits, target and
    context are those of :data:`Loss`, for the classes of ``scheme``.
    """
    merged = merge_logits(logits, scheme)
    table = structure_table(scheme, target.device)
    pixels = context.class_pixels.new_zeros(merged.shape[1])
    pixels.index_add_(0, table[: len(context.class_pixels)].long(), context.class_pixels)
    return loss(merged, to_structures(target, scheme), replace(context, class_pixels=pixels))


def count_pixels(target: Tensor, classes: int) -> Tensor:
    """Pixels of every class (int64, shape ``(classes,)``); the class 255 is not counted."""
    pixels = target.flatten()
    if target.is_cuda:  # bincount would make it wait
        numbers = torch.arange(classes, dtype=target.dtype, device=target.device)
        return (pixels == numbers.unsqueeze(1)).sum(dim=1)
    return torch.bincount(pixels.int(), minlength=IGNORE + 1)[:classes]


class _DiceCrossEntropy(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, logits: Tensor, target: Tensor, context: LossContext) -> Tensor:
        weights = context.pixel_weights().to(_precise(logits))
        gradient = torch.empty_like(logits)
        loss = weights.new_zeros(())
        # A CPU works on one sample at a time, which stays in its cache; a GPU on all at once.
        chunk = len(logits) if logits.is_cuda else 1
        for start in range(0, len(logits), chunk):
            part = slice(start, start + chunk)
            probability = logits[part].contiguous().flatten(2).softmax(dim=1, dtype=weights.dtype)
            value, slope = _value_and_slope(probability, target[part].flatten(1), weights, context)
            loss += value
            gradient[part] = slope.to(logits.dtype).unflatten(2, logits.shape[2:])
        ctx.save_for_backward(gradient)
        return loss

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, *upstream: Tensor) -> tuple[Tensor, None, None]:
        (gradient,) = ctx.saved_tensors
        return gradient * upstream[0].to(gradient.dtype), None, None


def _value_and_slope(
    probability: Tensor, target: Tensor, weights: Tensor, context: LossContext
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

    share = _class_shares(actual, context)
    size = predicted + actual + 2 * SMOOTHING
    score = (2 * overlap + 2 * SMOOTHING) / size

    by_predicted = share * score / size
    by_overlap = (-2 * share / size).gather(1, index.squeeze(1)).unsqueeze(1)
    reward = at_target * by_overlap - weight
    centre = by_predicted.unsqueeze(1) @ probability + reward
    slope = (by_predicted.unsqueeze(2) - centre).mul_(probability)
    slope.scatter_add_(1, index, reward).mul_(valid)
    return cross_entropy + (share * (1 - score)).sum(), slope
