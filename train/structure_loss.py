"""A second term of the loss: the same loss on structures, whatever the rank.

A network of 14 classes has to tell a vertebra from the vertebra above it before it is rewarded for telling a
vertebra from fat. This term rewards the second alone: the probability of a structure is the sum of the
probabilities of its classes, so its logit is the logarithm of the sum of their exponentials.
"""

from torch import Tensor

from synthspine.gen import LabelScheme
from synthspine.train.decoding import merge_logits, structure_table, to_structures
from synthspine.train.losses import segmentation_loss


def structure_loss(
    logits: Tensor,
    target: Tensor,
    scheme: LabelScheme,
    *,
    class_pixels: Tensor,
    samples: int,
    balance: float = 0.0,
) -> Tensor:
    """:func:`train.losses.segmentation_loss` of background, vertebra, disc and canal.

    Args:
        logits: of the classes of ``scheme``, float, shape ``(B, K, H, W)``.
        target: classes 0..K-1 or 255 (left out), uint8, shape ``(B, H, W)``.
        scheme: classes of the network; for one without ranks this is the loss of the logits themselves.
        class_pixels: pixels of the global batch by class of ``scheme``, on the logits' device.
        samples: samples of the global batch.
        balance: 0..1, how far small structures are lifted.

    Returns:
        A scalar, float32 (float64 for float64 logits), differentiable; shares of ranks add up.
    """
    merged = merge_logits(logits, scheme)
    table = structure_table(scheme, target.device)
    structure_pixels = class_pixels.new_zeros(merged.shape[1])
    structure_pixels.index_add_(0, table[: len(class_pixels)].long(), class_pixels)
    target = to_structures(target, scheme)
    return segmentation_loss(merged, target, class_pixels=structure_pixels, samples=samples, balance=balance)
