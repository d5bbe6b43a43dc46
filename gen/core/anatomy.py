"""What the labels mean: dense anatomical codes, SPIDER values, colours.

Everything stored (label bank, shards) holds the *dense code*, one ``uint8`` that says what the tissue is:

=========  ====================================================================
code       meaning
=========  ====================================================================
0          background
1..25      vertebra of that rank, counted from the lowest one upward (1 = L5 in ordinary anatomy)
31..55     30 + rank: the disc below the vertebra of that rank (31 = L5/S1)
60         spinal canal
61         sacrum, where it is annotated or painted; label maps without it hold background
62         background that may be sacrum, because the label map leaves the sacrum out; in targets alone
131..155   130 + rank: posterior elements of that vertebra; in targets alone
255        not annotated, outside the scan: left out of loss and metrics
=========  ====================================================================

``gen.geometry.refine`` finds what is in targets alone.

A *label scheme* (``gen.core.schemes``) turns codes into the classes of a network.
"""

import numpy as np

BACKGROUND = 0
DISC_OFFSET = 30
CANAL = 60
SACRUM = 61
PERHAPS_SACRUM = 62
POSTERIOR_OFFSET = 130
IGNORE = 255
MAX_RANK = 25
CODES = 256

SPIDER_PARTIAL_OFFSET = 100
SPIDER_CANAL = 100
SPIDER_DISC_OFFSET = 200

STRUCTURE_CODES = {
    "vertebra": (1, MAX_RANK),
    "disc": (DISC_OFFSET + 1, DISC_OFFSET + MAX_RANK),
    "canal": (CANAL, CANAL),
}
"""First and last code of every structure that label maps annotate; the generator draws features of them."""
STRUCTURES = tuple(STRUCTURE_CODES)
STRUCTURE_COLOURS = {
    "vertebra": (230, 159, 0),
    "disc": (0, 114, 178),
    "canal": (0, 158, 115),
    "sacrum": (204, 121, 167),
}
RANK_NAMES = ("L5", "L4", "L3", "L2", "L1", "T12")
DISC_NAMES = ("L5/S1", "L4/L5", "L3/L4", "L2/L3", "L1/L2", "T12/L1")

Colour = tuple[int, int, int]


def vertebra_code(rank: int) -> int:
    """Dense code of the vertebra of ``rank`` (1..25, counted from the lowest upward)."""
    return _checked_rank(rank)


def disc_code(rank: int) -> int:
    """Dense code of the disc below the vertebra of ``rank`` (1..25)."""
    return DISC_OFFSET + _checked_rank(rank)


def posterior_code(rank: int) -> int:
    """Code of the posterior elements of the vertebra of ``rank`` (1..25), in targets alone."""
    return POSTERIOR_OFFSET + _checked_rank(rank)


def _checked_rank(rank: int) -> int:
    if not 1 <= rank <= MAX_RANK:
        raise ValueError(f"rank {rank} is outside 1..{MAX_RANK}")
    return rank


def structure_of(code: int) -> str | None:
    """Name of the structure a dense code belongs to: an entry of ``STRUCTURES``, or None."""
    spans = STRUCTURE_CODES.items()
    return next((name for name, (first, last) in spans if first <= code <= last), None)


VALID_CODES: tuple[int, ...] = (
    BACKGROUND,
    *range(1, MAX_RANK + 1),
    *range(DISC_OFFSET + 1, DISC_OFFSET + MAX_RANK + 1),
    CANAL,
    SACRUM,
    IGNORE,
)


def spider_values() -> np.ndarray:
    """SPIDER value of every dense code (int16, 256 entries); codes without one map to 0.

    Vertebrae keep their rank, the canal is 100, a disc is 200 + the rank of the vertebra above it. SPIDER has
    no value for the sacrum and for posterior elements; they keep their codes.
    """
    values = np.zeros(CODES, dtype=np.int16)
    for rank in range(1, MAX_RANK + 1):
        values[vertebra_code(rank)] = rank
        values[disc_code(rank)] = SPIDER_DISC_OFFSET + rank
        values[posterior_code(rank)] = posterior_code(rank)
    values[CANAL] = SPIDER_CANAL
    values[SACRUM] = SACRUM
    return values


def codes_of_spider() -> np.ndarray:
    """Dense code of every SPIDER value up to 255 that counts from the bottom (int16); -1 where there is none.

    A partly visible vertebra (101-125) and posterior elements (131-155) have the code of the whole vertebra.
    """
    codes = np.full(CODES, -1, dtype=np.int16)
    codes[BACKGROUND] = BACKGROUND
    codes[SPIDER_CANAL] = CANAL
    codes[SACRUM] = SACRUM
    for rank in range(1, MAX_RANK + 1):
        codes[rank] = codes[SPIDER_PARTIAL_OFFSET + rank] = codes[posterior_code(rank)] = vertebra_code(rank)
        codes[SPIDER_DISC_OFFSET + rank] = disc_code(rank)
    return codes
