"""What a network answers: the likeliest structure of every pixel, and of that structure the likeliest rank.

The likeliest class alone would lose what is most likely a vertebra to the background wherever its rank is in
doubt: .35 for L2 and .25 for L1 are more than .4 for the background together, and less one by one.
"""

from functools import cache
from itertools import pairwise

import torch
from torch import Tensor

from synthspine.gen import LabelScheme
from synthspine.gen.core.anatomy import IGNORE, STRUCTURES


def likeliest_structures(logits: Tensor, scheme: LabelScheme) -> Tensor:
    """Background 0, and 1.. in the order of ``STRUCTURES``.

    Args:
        logits: of the classes of ``scheme``, or logarithms of probabilities, float, ``(B, K, H, W)``.
        scheme: its classes.

    Returns:
        uint8, shape ``(B, H, W)``.
    """
    return merge_logits(logits, scheme).argmax(dim=1).to(torch.uint8)


def likeliest_classes(logits: Tensor, scheme: LabelScheme) -> Tensor:
    """The likeliest class of the likeliest structure; with classes that are structures, the likeliest class.

    Args:
        logits: of the classes of ``scheme``, or logarithms of probabilities, float, ``(B, K, H, W)``.
        scheme: its classes.

    Returns:
        uint8, shape ``(B, H, W)``.
    """
    structures = likeliest_structures(logits, scheme)
    if _are_structures(scheme):
        return structures
    answer = torch.zeros_like(structures)
    for number, group in enumerate(_groups(scheme)):
        best = logits[:, group].argmax(dim=1).to(torch.uint8) + group.start
        answer = torch.where(structures == number, best, answer)
    return answer


def merge_logits(logits: Tensor, scheme: LabelScheme) -> Tensor:
    """Logits of background and ``STRUCTURES``, in that order, from those of the classes of a scheme.

    Args:
        logits: float, shape ``(B, K, H, W)``.
        scheme: its ``K`` classes.

    Returns:
        float32 (float64 for float64 logits), shape ``(B, 4, H, W)``; its softmax is the sum of that of
        ``logits`` over the classes of every structure.
    """
    logits = logits.to(torch.promote_types(logits.dtype, torch.float32))
    if _are_structures(scheme):
        return logits
    return torch.stack([torch.logsumexp(logits[:, group], dim=1) for group in _groups(scheme)], dim=1)


def to_structures(classes: Tensor, scheme: LabelScheme) -> Tensor:
    """Structure of every class: 0 for background, 1.. in the order of ``STRUCTURES``; 255 stays 255.

    Args:
        classes: classes of ``scheme`` or 255, any integer dtype and shape.
        scheme: the classes.

    Returns:
        uint8, same shape and device.
    """
    return structure_table(scheme, classes.device)[classes.int()]


@cache
def structure_table(scheme: LabelScheme, device: torch.device) -> Tensor:
    """Structure of every class 0..255, uint8, shape ``(256,)``; it is copied to a device once."""
    numbers = {None: 0} | {name: number for number, name in enumerate(STRUCTURES, start=1)}
    classes = [numbers[name] for name in scheme.structures]
    table = classes + [IGNORE] * (IGNORE + 1 - len(classes))
    with torch.inference_mode(False):
        return torch.tensor(table, dtype=torch.uint8, device=device)


def _are_structures(scheme: LabelScheme) -> bool:
    return scheme.structures == (None, *STRUCTURES)


def _groups(scheme: LabelScheme) -> list[slice]:
    """The classes of background and of every structure, which follow each other in every scheme."""
    first = [scheme.structures.index(structure) for structure in (None, *STRUCTURES)]
    return [slice(start, end) for start, end in pairwise((*first, scheme.num_classes))]
