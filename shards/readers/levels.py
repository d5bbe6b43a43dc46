"""From SPIDER values to dense codes: the level of the spine of each labelled region.

A *level* is a vertebra together with the disc below it. SPIDER gives both the same number (vertebra 3, disc
203). Copies of the data number the levels from different ends, so a number only relates a disc to its
vertebra. The rank of a level is its position in the volume, counted from the bottom. Masks that this project
predicts may also hold the sacrum (61) and posterior elements (131-155), which belong to their vertebra.
"""

from dataclasses import dataclass

import numpy as np

from synthspine.gen.core.anatomy import (
    CANAL,
    CODES,
    MAX_RANK,
    POSTERIOR_OFFSET,
    SACRUM,
    SPIDER_CANAL,
    SPIDER_DISC_OFFSET,
    SPIDER_PARTIAL_OFFSET,
    disc_code,
    vertebra_code,
)

LEGAL_VALUES = (
    f"0, 1-{MAX_RANK}, {SPIDER_CANAL}, {SPIDER_PARTIAL_OFFSET + 1}-{SPIDER_PARTIAL_OFFSET + MAX_RANK}, "
    f"{SPIDER_DISC_OFFSET + 1}-{SPIDER_DISC_OFFSET + MAX_RANK}; of predictions also {SACRUM}, "
    f"{POSTERIOR_OFFSET + 1}-{POSTERIOR_OFFSET + MAX_RANK}"
)


def dense_codes(values: np.ndarray) -> np.ndarray:
    """Dense codes (``gen.core.anatomy``) of a whole mask, levels ranked by position from the bottom.

    Args:
        values: SPIDER values of the whole volume, integers, shape ``(Z, H, W)``, rows superior to inferior.

    Returns:
        uint8, the same shape.

    Raises:
        ValueError: a value that is not a SPIDER value, or nothing is labelled.
    """
    if not values.size or not 0 <= int(values.min()) <= int(values.max()) < CODES:
        odd = int(values.max()) if values.size and int(values.min()) >= 0 else int(values.min(initial=0))
        raise ValueError(f"label {odd} is not a SPIDER value ({LEGAL_VALUES})")
    small = np.ascontiguousarray(values, dtype=np.uint8)
    # One histogram per row gives counts and centroids of all values in a single pass.
    counts = np.stack(
        [np.bincount(small[:, row].ravel(), minlength=CODES) for row in range(small.shape[1])], axis=0
    )
    counts[:, 1 : MAX_RANK + 1] += counts[:, POSTERIOR_OFFSET + 1 : POSTERIOR_OFFSET + MAX_RANK + 1]
    totals = counts.sum(axis=0)
    present = [int(value) for value in np.flatnonzero(totals)]
    for value in present:
        if not _is_legal(value):
            raise ValueError(f"label {value} is not a SPIDER value ({LEGAL_VALUES})")
    if present in ([], [0]):
        raise ValueError("nothing is labelled in this mask")
    rows = np.arange(len(counts)) @ counts / np.maximum(totals, 1)
    table = np.zeros(CODES, dtype=np.uint8)
    table[SPIDER_CANAL], table[SACRUM] = CANAL, SACRUM
    for rank, level in enumerate(_levels(present, rows), start=1):
        if level.vertebra is not None:
            table[level.vertebra] = vertebra_code(rank)
            if level.vertebra <= MAX_RANK:
                table[POSTERIOR_OFFSET + level.vertebra] = vertebra_code(rank)
        if level.disc is not None:
            table[level.disc] = disc_code(rank)
    # Faster than indexing, which converts every voxel to a 64-bit index.
    translated = small.tobytes().translate(table.tobytes())
    return np.frombuffer(bytearray(translated), dtype=np.uint8).reshape(small.shape)


@dataclass(frozen=True, kw_only=True, slots=True)
class _Level:
    row: float
    vertebra: int | None
    disc: int | None


def _levels(present: list[int], rows: np.ndarray) -> list[_Level]:
    """The levels of a mask from the bottom up.

    Vertebrae are ordered by the centroids of their regions. Centroids do not order discs: in a lordotic spine
    the arch moves the centroid of L5 below that of the disc under it. So a disc belongs to the level of its
    vertebra, and defines a level only if that vertebra is not labelled.
    """
    discs = {_number(value): value for value in present if value > SPIDER_DISC_OFFSET}
    levels = []
    for value in filter(_is_vertebra, present):
        # Values increase, so a whole vertebra gets the disc before a partly visible one of the same number.
        disc = discs.pop(_number(value), None)
        levels.append(_Level(row=float(rows[value]), vertebra=value, disc=disc))
    levels += [_Level(row=float(rows[disc]), vertebra=None, disc=disc) for disc in discs.values()]
    return sorted(levels, key=lambda level: -level.row)


def _number(value: int) -> int:
    """The number that a vertebra and the disc below it share."""
    if value > SPIDER_DISC_OFFSET:
        return value - SPIDER_DISC_OFFSET
    return value - SPIDER_PARTIAL_OFFSET if value > MAX_RANK else value


def _is_vertebra(value: int) -> bool:
    return 1 <= value <= MAX_RANK or 1 <= value - SPIDER_PARTIAL_OFFSET <= MAX_RANK


def _is_legal(value: int) -> bool:
    if _is_vertebra(value) or value in (0, SPIDER_CANAL, SACRUM):
        return True
    return any(1 <= value - offset <= MAX_RANK for offset in (POSTERIOR_OFFSET, SPIDER_DISC_OFFSET))
