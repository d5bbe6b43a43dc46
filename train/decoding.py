"""Decoding of logits: the likeliest structure of every pixel, then its likeliest rank; overlap with a target.

The likeliest class alone loses vertebrae of doubtful rank: .35 for L2 and .25 for L1 sum to more than the
background's .4, but each is less. Training and evaluation decode and count with these functions.
"""

from functools import cache

import torch
from torch import Tensor

from synthspine.gen import LabelScheme
from synthspine.gen.core.anatomy import IGNORE


def likeliest_structures(logits: Tensor, scheme: LabelScheme) -> Tensor:
    """0 for background, 1.. in the order of the structures, uint8, from logits ``(B, K, H, W)``."""
    # On a CPU argmax takes eight times as long.
    return merge_logits(logits, scheme).max(dim=1).indices.to(torch.uint8)


def likeliest_classes(logits: Tensor, scheme: LabelScheme) -> Tensor:
    """The likeliest class of the likeliest structure, uint8, shape ``(B, H, W)``.

    ``logits`` of the classes of ``scheme`` may be logarithms of probabilities, float, ``(B, K, H, W)``.
    """
    structures = likeliest_structures(logits, scheme)
    if scheme.are_structures:
        return structures
    classes = torch.zeros_like(structures)
    for number, group in enumerate(scheme.groups):
        best = _take(logits, group).max(dim=1).indices
        best = _table(group, logits.device)[best] if len(group) > 1 else best.to(torch.uint8) + group[0]
        classes = torch.where(structures == number, best, classes)
    return classes


def merge_logits(logits: Tensor, scheme: LabelScheme) -> Tensor:
    """Logits of background and the structures from those of the ``K`` classes of a scheme, ``(B, K, H, W)``.

    Returns:
        float32 (float64 for float64 logits), shape ``(B, 1 + S, H, W)`` of ``S`` structures; its softmax is
        the sum of the classes'.
    """
    logits = logits.to(torch.promote_types(logits.dtype, torch.float32))
    if scheme.are_structures:
        return logits
    return torch.stack([torch.logsumexp(_take(logits, group), dim=1) for group in scheme.groups], dim=1)


def to_structures(classes: Tensor, scheme: LabelScheme) -> Tensor:
    """Structures of classes, uint8: 0 for background, 1.. in the order of the scheme; 255 stays 255."""
    return structure_table(scheme, classes.device)[classes.int()]


def structure_table(scheme: LabelScheme, device: torch.device) -> Tensor:
    """Structure of every class 0..255, uint8, shape ``(256,)``; it is copied to a device once."""
    structures = scheme.class_structures
    return _table(structures + (IGNORE,) * (IGNORE + 1 - len(structures)), device)


@cache
def _table(values: tuple[int, ...], device: torch.device) -> Tensor:
    with torch.inference_mode(False):
        return torch.tensor(values, dtype=torch.uint8, device=device)


def _take(logits: Tensor, group: tuple[int, ...]) -> Tensor:
    """The logits of a group of classes: a view where they follow each other."""
    first, last = group[0], group[-1]
    if group == tuple(range(first, last + 1)):
        return logits[:, first : last + 1]
    return torch.stack([logits[:, number] for number in group], dim=1)


def overlap_counts(prediction: Tensor, target: Tensor, num_classes: int) -> tuple[Tensor, Tensor, Tensor]:
    """Pixels of every class in both, in the prediction and in the target, sample by sample.

    Args:
        prediction: classes 0..num_classes-1, any integer dtype, shape ``(B, *grid)``.
        target: classes 0..num_classes-1, or 255 where nothing is known; same shape and device.
        num_classes: K, background included.

    Returns:
        ``(intersection, predicted, actual)``, each int64 of shape ``(B, K)``. Pixels whose target is 255 are
        in none of them.

    Raises:
        ValueError: the shapes differ, or a value is outside of the classes.
    """
    if prediction.shape != target.shape:
        shapes = f"prediction {tuple(prediction.shape)} and target {tuple(target.shape)}"
        raise ValueError(f"{shapes} differ in shape")
    batch = len(prediction)
    # One histogram of (sample, target, prediction) gives all three counts; ignored pixels have their own row.
    rows = num_classes + 1
    target_rows = target.reshape(batch, -1).long()
    target_rows = torch.where(target_rows == IGNORE, num_classes, target_rows)
    classes = prediction.reshape(batch, -1).long()
    if target_rows.numel() and not bool(
        ((classes >= 0) & (classes < num_classes) & (target_rows >= 0) & (target_rows < rows)).all()
    ):
        raise ValueError(
            f"a prediction or target is not a class 0..{num_classes - 1} (or {IGNORE} in the target)"
        )
    sample = torch.arange(batch, device=prediction.device)[:, None]
    cells = (sample * rows + target_rows) * num_classes + classes
    confusion = torch.bincount(cells.flatten(), minlength=batch * rows * num_classes)
    confusion = confusion.reshape(batch, rows, num_classes)[:, :num_classes]
    return confusion.diagonal(dim1=1, dim2=2).clone(), confusion.sum(dim=1), confusion.sum(dim=2)


def dice(intersection: Tensor, predicted: Tensor, actual: Tensor) -> Tensor:
    """Dice ``2 i / (p + a)`` of counts, float64; nan where prediction and target are both empty."""
    return 2 * intersection.double() / (predicted + actual).double()
