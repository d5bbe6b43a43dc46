"""How much a prediction and a target overlap, class by class: the counts that Dice is made of.

Training (validation) and evaluation count with these functions and no others.
"""

import torch
from torch import Tensor

from synthspine.gen.core.anatomy import IGNORE


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
        raise ValueError(
            f"prediction {tuple(prediction.shape)} and target {tuple(target.shape)} differ in shape"
        )
    batch = prediction.shape[0]
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
    """Dice coefficient ``2 i / (p + a)`` of counts (or of sums of counts).

    Returns:
        float64, the shape of the counts; nan where prediction and target are both empty, 0 where one is.
    """
    return 2 * intersection.double() / (predicted + actual).double()
