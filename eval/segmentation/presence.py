"""Whether a mask can be that of a spine: blank scans, noise and other parts of the body are not labelled.

The model is less sure of slices that show no spine than of slices that show one, and what it finds there are
single pieces, not a column along a canal (docs/evaluation.md has the measurements).
"""

import numpy as np

from synthspine.eval.labelling.canal_axis import MIN_LENGTH_MM
from synthspine.eval.labelling.core import MIN_DISC_MM2
from synthspine.eval.labelling.roles import CANAL_ROLE, DISC, VERTEBRA, ranks_of, roles_of

MOST_ENTROPY = 0.35
"""Mean structure entropy of a slice, nats, above which it is unlike what the model learned from."""
FEWEST_LEVELS, FEWEST_WITH_CANAL = 4, 2
"""Fewest vertebrae, or fewest discs, in a slice that shows a spine: without the canal, and with it."""
MOST_WITHOUT_CANAL = 0.3
"""Highest mean structure entropy of a slice without the canal, nats."""
LEAST_MM2 = {VERTEBRA: 100.0, DISC: MIN_DISC_MM2}
"""Smallest area of a vertebra and of a disc that counts, mm2."""


def shows_spine(codes: np.ndarray, slice_entropy: np.ndarray, spacing_mm: tuple[float, float, float]) -> bool:
    """Whether a slice in which the model is sure enough shows several vertebrae or discs.

    The codes are dense, uint8 ``(Z, H, W)``; the entropy is the mean structure entropy of every slice, nats,
    ``(Z,)``, nan where nothing was found.
    """
    _, row_mm, column_mm = spacing_mm
    for plane, entropy in zip(codes, slice_entropy, strict=True):
        roles, ranks = roles_of(plane), ranks_of(plane)
        canal_mm = np.count_nonzero((roles == CANAL_ROLE).any(axis=1)) * row_mm
        levels = max(
            np.count_nonzero(np.bincount(ranks[roles == role])[1:] * row_mm * column_mm >= least)
            for role, least in LEAST_MM2.items()
        )
        with_canal = canal_mm >= MIN_LENGTH_MM
        fewest = FEWEST_WITH_CANAL if with_canal else FEWEST_LEVELS
        if levels >= fewest and entropy <= (MOST_ENTROPY if with_canal else MOST_WITHOUT_CANAL):
            return True
    return False
