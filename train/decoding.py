"""Decoding of logits: the likeliest structure of every pixel, then its likeliest rank; overlap with a target.

The likeliest class alone loses vertebrae of doubtful rank: .35 for L2 and .25 for L1 sum to more than the
background's .4, but each is less. Training and evaluation decode and count with these functions.
"""

from functools import cache
from itertools import pairwise

import torch
from torch import Tensor

from synthspine.gen import LabelScheme
from synthspine.gen.core.anatomy import IGNORE, STRUCTURES


def likeliest_structures(logits: Tensor, scheme: LabelScheme) -> Tensor:
    """0 for background, 1.. in the order of ``STRUCTURES``, uint8, from logits ``(B, K, H, W)``."""
    return merge_logits(logits, scheme).argmax(dim=1).to(torch.uint8)


def likeliest_classes(logits: Tensor, scheme: LabelScheme) -> Tensor:
    """The likeliest class of the likeliest structure, uint8, shape ``(B, H, W)``.

    ``logits`` of the classes of ``scheme`` may be logarithms of probabilities, float, ``(B, K, H, W)``.
    """
    structures = likeliest_structures(logits, scheme)
    if _are_structures(scheme):
        return structures
    classes = torch.zeros_like(structures)
    for number, group in enumerate(_groups(scheme)):
        best = logits[:, group].argmax(dim=1).to(torch.uint8) + group.start
        classes = torch.where(structures == number, best, classes)
    return classes


def merge_logits(logits: Tensor, scheme: LabelScheme) -> Tensor:
    """Logits of background and ``STRUCTURES`` from those of the ``K`` classes of a scheme, ``(B, K, H, W)``.

    Returns:
        float32 (float64 for float64 logits), shape ``(B, 4, H, W)``; its softmax is the sum of the classes'.
    """
    logits = logits.to(torch.promote_types(logits.dtype, torch.float32))
    if _are_structures(scheme):
        return logits
    return torch.stack([torch.logsumexp(logits[:, group], dim=1) for group in _groups(scheme)], dim=1)


def to_structures(classes: Tensor, scheme: LabelScheme) -> Tensor:
    """Structures of classes, uint8: 0 for background, 1.. in the order of ``STRUCTURES``; 255 stays 255."""
    return structure_table(scheme, classes.device)[classes.int()]


@cache
def structure_table(scheme: LabelScheme, device: torch.device) -> Tensor:
    """Structure of every class 0..255, uint8, shape ``(256,)``; it is copied to a device once."""
    numbers = {None: 0} | {name: number for number, name in enumerate(STRUCTURES, start=1)}
    classes = [numbers[name] for name in scheme.structures]
    table = classes + [IGNORE] * (IGNORE + 1 - len(classes))
    with torch.inference_mode(False):
        return torch.tensor(table, dtype=torch.uint8, device=device)


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


def _are_structures(scheme: LabelScheme) -> bool:
    return scheme.structures == (None, *STRUCTURES)


def _groups(scheme: LabelScheme) -> list[slice]:
    """The classes of background and of every structure, which follow each other in every scheme."""
    first = [scheme.structures.index(structure) for structure in (None, *STRUCTURES)]
    return [slice(start, end) for start, end in pairwise((*first, scheme.num_classes))]
