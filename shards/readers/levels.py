"""From label values to dense codes: the level of the spine of each labelled region.

A *level* is a vertebra together with the disc below it. SPIDER gives both the same number (vertebra 3, disc
203). Copies of the data number the levels from different ends, so a number only relates a disc to its
vertebra, and the rank of a level is its position in the volume, counted from the bottom. Where a table knows
the names of the levels, the name is the rank: L5 is 1 even if it is not in the volume. Where L6 is labelled,
L6 is 1 and L5 is 2, as counted by position; T13 is counted only where it is labelled.
"""

import numpy as np

from synthspine.gen.core.anatomy import CODES, IGNORE, MAX_RANK, disc_code, vertebra_code
from synthspine.shards.readers.labels import (
    ABOVE_SACRUM,
    EXTRA_VERTEBRAE,
    SPIDER_TABLE,
    VERTEBRAE,
    LabelTable,
)

RENUMBERED = (
    "if the mask was renumbered for another tool, name its labels in the dataset.json of an nnunet folder "
    "(--layout nnunet, or --labels-layout nnunet)"
)
"""What helps where the values of a mask are not those of SPIDER."""
_FEWEST = 3
_MOST_IN_FRONT = 0.8
"""Part of the rows of discs in which the canal may lie in front of them."""
# A vertebra reaches past its own centre, and with its arch past that of a neighbour.
_MOST_PASSED = 3


def dense_codes(values: np.ndarray, table: LabelTable = SPIDER_TABLE) -> np.ndarray:
    """Dense codes (``gen.core.anatomy``) of a whole mask, whose label values a table explains.

    Args:
        values: integers, shape ``(Z, H, W)``, rows superior to inferior.
        table: what they mean.

    Returns:
        uint8, the same shape; 255 for labels to ignore and for a named vertebra above rank 25.

    Raises:
        ValueError: a value that is not in the table, nothing is labelled, more than 25 numbered levels,
            vertebrae by number that do not look like vertebrae, or a spine that is turned over.
    """
    if not values.size or not 0 <= int(values.min()) <= int(values.max()) < CODES:
        odd = int(values.max()) if values.size and int(values.min()) >= 0 else int(values.min(initial=0))
        raise ValueError(_not_in(odd, table))
    small = np.ascontiguousarray(values, dtype=np.uint8)
    # One histogram per row gives counts and centroids of all values in a single pass.
    counts = np.stack(
        [np.bincount(small[:, row].ravel(), minlength=CODES) for row in range(small.shape[1])], axis=0
    )
    present = [int(value) for value in np.flatnonzero(counts.sum(axis=0))]
    for value in present:
        if value not in table.meanings:
            raise ValueError(_not_in(value, table))
    if all(table.meanings[value].structure == "background" for value in present):
        raise ValueError("nothing is labelled in this mask")
    if table.numbered:
        _check_order(present, counts, table)
    _check_upright(small, present, table)
    ranks = _ranks_by_position(present, counts, table) if table.numbered else _ranks_by_name(present, table)
    codes = np.zeros(CODES, dtype=np.uint8)
    for value in present:
        fixed = table.meanings[value].fixed_code
        codes[value] = _code(table.meanings[value].structure, ranks[value]) if fixed is None else fixed
    # Faster than indexing, which converts every voxel to a 64-bit index.
    translated = small.tobytes().translate(codes.tobytes())
    return np.frombuffer(bytearray(translated), dtype=np.uint8).reshape(small.shape)


def _not_in(value: int, table: LabelTable) -> str:
    hint = f"; {RENUMBERED}" if table is SPIDER_TABLE and value >= 0 else ""
    return f"label {value} is not a {table.name} value ({table}){hint}"


def _check_order(present: list[int], counts: np.ndarray, table: LabelTable) -> None:
    """Refuse masks of vertebrae alone in which they do not follow each other along the spine.

    Masks that were renumbered without gaps hold the canal and the discs as numbers of vertebrae: the canal
    reaches past many others, and the discs start again at the bottom.
    """
    labelled = [value for value in present if table.meanings[value].structure not in ("background", "ignore")]
    if len(labelled) < _FEWEST or any(
        table.meanings[value].structure != "vertebra" or table.meanings[value].part for value in labelled
    ):
        return
    rows = np.array([_row(counts, [value]) for value in labelled])
    steps = np.diff(rows)
    spans = [np.flatnonzero(counts[:, value])[[0, -1]] for value in labelled]
    passed = max(int(((first <= rows) & (rows <= last)).sum()) for first, last in spans)
    if passed > _MOST_PASSED or not ((steps > 0).all() or (steps < 0).all()):
        numbers = f"{labelled[0]} to {labelled[-1]}"
        raise ValueError(f"labels {numbers} do not follow each other as vertebrae do; {RENUMBERED}")


def _check_upright(values: np.ndarray, present: list[int], table: LabelTable) -> None:
    """Refuse masks whose header turns them over: the canal lies in front of the discs."""
    kinds = {kind: [v for v in present if table.meanings[v].structure == kind] for kind in ("canal", "disc")}
    if all(kinds.values()):
        canal, discs = (_columns(values, kinds[kind]) for kind in ("canal", "disc"))
        both = np.isfinite(canal) & np.isfinite(discs)
        if both.sum() >= _FEWEST and (canal[both] < discs[both]).mean() > _MOST_IN_FRONT:
            raise ValueError("is turned over: the spinal canal lies in front of the discs")


def _columns(values: np.ndarray, wanted: list[int]) -> np.ndarray:
    """Mean column of the voxels with these values in every row; NaN where there is none, shape ``(H,)``."""
    area = np.isin(values, wanted).sum(axis=0)
    total = area.sum(axis=1)
    weighted = area @ np.arange(area.shape[1])
    return np.divide(weighted, total, out=np.full(len(total), np.nan), where=total > 0)


def _code(structure: str, rank: int | None) -> int:
    if rank is None:
        return IGNORE
    return vertebra_code(rank) if structure == "vertebra" else disc_code(rank)


def _ranks_by_name(present: list[int], table: LabelTable) -> dict[int, int | None]:
    """Rank of every value of a vertebra or disc; None outside of 1..25."""
    levels = {value: table.meanings[value].level for value in present if table.meanings[value].level}
    known = set(levels.values())
    upward = [name for name in reversed(VERTEBRAE) if name not in EXTRA_VERTEBRAE or name in known]
    sacrum = any(table.meanings[value].structure == "sacrum" for value in present)
    lowest = next((place for place, name in enumerate(upward) if name in known), 0)
    first = lowest if table.counted and sacrum else 0
    ranks = {
        value: 1 if name == ABOVE_SACRUM else upward.index(name) - first + 1 for value, name in levels.items()
    }
    return {value: rank if rank <= MAX_RANK else None for value, rank in ranks.items()}


def _ranks_by_position(present: list[int], counts: np.ndarray, table: LabelTable) -> dict[int, int]:
    """Rank of every value of a vertebra or disc, counted from the bottom up; ``counts`` by row and value.

    Vertebrae are ordered by the centroids of their regions. Centroids do not order discs: in a lordotic spine
    the arch moves the centroid of L5 below that of the disc under it. So a disc belongs to the level of its
    vertebra, and defines a level only if that vertebra is not labelled.
    """
    vertebrae: dict[tuple[bool, str], list[int]] = {}
    discs: dict[str, int] = {}
    for value in present:
        meaning = table.meanings[value]
        if meaning.structure == "vertebra":
            vertebrae.setdefault((meaning.part == "partial", meaning.level), []).append(value)
        elif meaning.structure == "disc":
            discs[meaning.level] = value
    levels: list[tuple[float, list[int]]] = []
    # Whole vertebrae first, so that they get the disc before a partly visible one of the same number.
    for (_, level), values in sorted(vertebrae.items(), key=lambda item: (item[0][0], item[1])):
        levels.append((_row(counts, values), values + ([discs.pop(level)] if level in discs else [])))
    levels += [(_row(counts, [disc]), [disc]) for disc in discs.values()]
    upward = enumerate(sorted(levels, key=lambda level: -level[0]), start=1)
    return {value: rank for rank, (_, values) in upward for value in values}


def _row(counts: np.ndarray, values: list[int]) -> float:
    """Mean row of the voxels with these values."""
    by_row = counts[:, values].sum(axis=1)
    return float(np.arange(len(by_row)) @ by_row / by_row.sum())
