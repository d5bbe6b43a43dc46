"""Ranks in order for a model that has ranks of its own.

A network sees too little of a slice to count far, so that its classes may give one vertebra two ranks, or two
vertebrae one. Counting along the canal (``eval.labelling.ranks``) always gives an order without gaps or
repetitions, but the whole count is off by one where its lowest level is wrong (a missed lowest disc, a sacrum
taken for a vertebra). Together they are safer: the order is the counted one, and what most voxels of the
model say decides where the counting starts.
"""

import numpy as np

from synthspine.gen.core.anatomy import BACKGROUND, DISC_OFFSET, MAX_RANK, disc_code, vertebra_code

LOWEST_START, HIGHEST_START = -1, 4
"""By how much the model may move the count: down by a sacrum, up by levels that the scan does not show."""


def order_ranks(counted: np.ndarray, modelled: np.ndarray) -> np.ndarray:
    """Counted ranks, all moved by one number: the one with which most voxels agree with the model.

    Args:
        counted: dense codes whose ranks were counted, uint8, any shape.
        modelled: dense codes with the ranks of the model, the same structures, uint8, the same shape.

    Returns:
        Dense codes, uint8; what falls below rank 1 is background.
    """
    own, other = _ranks(counted), _ranks(modelled)
    ranked = (own > 0) & (other > 0)
    starts = range(LOWEST_START, HIGHEST_START + 1)
    shifts = other[ranked].astype(np.int16) - own[ranked]
    votes = {start: np.count_nonzero(shifts == start) for start in starts}
    # Among equals the count stays as it is.
    best = max(starts, key=lambda start: (votes[start], -abs(start)))
    return _moved(best)[counted]


def _ranks(codes: np.ndarray) -> np.ndarray:
    table = np.zeros(256, dtype=np.uint8)
    for rank in range(1, MAX_RANK + 1):
        table[vertebra_code(rank)] = table[disc_code(rank)] = rank
    return table[codes]


def _moved(start: int) -> np.ndarray:
    """Dense code of every dense code when all ranks move by ``start``."""
    table = np.arange(256, dtype=np.uint8)
    for rank in range(1, MAX_RANK + 1):
        moved = min(rank + start, MAX_RANK)
        table[vertebra_code(rank)] = moved if moved > 0 else BACKGROUND
        table[disc_code(rank)] = DISC_OFFSET + moved if moved > 0 else BACKGROUND
    return table
