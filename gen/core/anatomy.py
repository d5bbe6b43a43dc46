"""What the labels mean: dense anatomical codes, label schemes, SPIDER values, colours.

Everything stored (label bank, shards) holds the *dense code*, one ``uint8`` that says what the tissue is:

=========  ====================================================================
code       meaning
=========  ====================================================================
0          background
1..25      vertebra of that rank, counted from the lowest one upward (1 = L5 in ordinary anatomy)
31..55     30 + rank: the disc below the vertebra of that rank (31 = L5/S1)
60         spinal canal
61         sacrum, where it is annotated
255        not annotated, outside the scan: left out of loss and metrics
=========  ====================================================================

A *label scheme* turns codes into the classes of a network.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache

import numpy as np
import torch
from torch import Tensor

BACKGROUND = 0
DISC_OFFSET = 30
CANAL = 60
SACRUM = 61
POSTERIOR_OFFSET = 130
IGNORE = 255
MAX_RANK = 25
CODES = 256

SPIDER_PARTIAL_OFFSET = 100
SPIDER_CANAL = 100
SPIDER_DISC_OFFSET = 200

STRUCTURES = ("vertebra", "disc", "canal")
STRUCTURE_COLOURS = {"vertebra": (230, 159, 0), "disc": (0, 114, 178), "canal": (0, 158, 115)}
RANK_NAMES = ("L5", "L4", "L3", "L2", "L1", "T12")
DISC_NAMES = ("L5/S1", "L4/L5", "L3/L4", "L2/L3", "L1/L2", "T12/L1")

Colour = tuple[int, int, int]


def vertebra_code(rank: int) -> int:
    """Dense code of the vertebra of ``rank`` (1..25, counted from the lowest upward)."""
    return _checked_rank(rank)


def disc_code(rank: int) -> int:
    """Dense code of the disc below the vertebra of ``rank`` (1..25)."""
    return DISC_OFFSET + _checked_rank(rank)


def _checked_rank(rank: int) -> int:
    if not 1 <= rank <= MAX_RANK:
        raise ValueError(f"rank {rank} is outside 1..{MAX_RANK}")
    return rank


def structure_of(code: int) -> str | None:
    """Name of the structure a dense code belongs to: an entry of ``STRUCTURES``, or None."""
    if 1 <= code <= MAX_RANK:
        return "vertebra"
    if DISC_OFFSET < code <= DISC_OFFSET + MAX_RANK:
        return "disc"
    return "canal" if code == CANAL else None


VALID_CODES: tuple[int, ...] = (
    BACKGROUND,
    *range(1, MAX_RANK + 1),
    *range(DISC_OFFSET + 1, DISC_OFFSET + MAX_RANK + 1),
    CANAL,
    SACRUM,
    IGNORE,
)


@dataclass(frozen=True, kw_only=True, slots=True)
class LabelScheme:
    """The classes of a network and how dense codes map to them."""

    name: str  # ``"14"`` or ``"4"``, the number of classes
    class_names: tuple[str, ...]  # one per class, class 0 is background
    structures: tuple[str | None, ...]  # structure (``STRUCTURES``) of each class, None for background
    colours: tuple[Colour, ...]  # one RGB colour (0-255) per class, for figures
    table: tuple[int, ...]  # class of every dense code, 256 entries; codes without a class map to 255
    codes: tuple[int, ...]  # dense code of every class (of rank 1 where a class holds all ranks)

    @property
    def num_classes(self) -> int:
        """Number of classes, background included."""
        return len(self.class_names)

    def encode(self, codes: Tensor) -> Tensor:
        """Classes (uint8, same shape and device) of a uint8 tensor of dense codes."""
        return _table_tensor(self.table, codes.device)[codes.int()]

    def decode(self, classes: Tensor) -> Tensor:
        """Dense codes (uint8, same shape and device) of a uint8 tensor of classes; 255 stays 255."""
        padded = self.codes + (IGNORE,) * (CODES - self.num_classes)
        return _table_tensor(padded, classes.device)[classes.int()]


@cache
def _table_tensor(table: tuple[int, ...], device: torch.device) -> Tensor:
    return torch.tensor(table, dtype=torch.uint8, device=device)


def _shades(base: Colour, count: int) -> tuple[Colour, ...]:
    """``count`` shades of a colour, from the colour itself towards white."""
    red, green, blue = ([round(part + (255 - part) * 0.6 * i / count) for i in range(count)] for part in base)
    return tuple(zip(red, green, blue, strict=True))


def _scheme(classes: Sequence[tuple[str, str | None, Colour, Sequence[int]]]) -> LabelScheme:
    """The scheme of classes with these names, structures, colours and dense codes, the first code shown."""
    table = [IGNORE] * CODES
    for number, (_, _, _, codes) in enumerate(classes):
        for code in codes:
            table[code] = number
    names, structures, colours, codes = zip(*classes, strict=True)
    return LabelScheme(
        name=str(len(classes)),
        class_names=names,
        structures=structures,
        colours=colours,
        table=tuple(table),
        codes=tuple(shown[0] for shown in codes),
    )


_BACKGROUND_CLASS = ("background", None, (0, 0, 0), [BACKGROUND])


def _by_rank() -> LabelScheme:
    classes: list[tuple[str, str | None, Colour, Sequence[int]]] = [_BACKGROUND_CLASS]
    for structure, names, code in (("vertebra", RANK_NAMES, vertebra_code), ("disc", DISC_NAMES, disc_code)):
        colours = _shades(STRUCTURE_COLOURS[structure], len(names))
        prefix = "disc " if structure == "disc" else ""
        for rank, (name, colour) in enumerate(zip(names, colours, strict=True), start=1):
            classes.append((prefix + name, structure, colour, [code(rank)]))
    return _scheme([*classes, ("canal", "canal", STRUCTURE_COLOURS["canal"], [CANAL])])


def _by_structure() -> LabelScheme:
    codes = {name: [code for code in VALID_CODES if structure_of(code) == name] for name in STRUCTURES}
    classes = [(name, name, STRUCTURE_COLOURS[name], codes[name]) for name in STRUCTURES]
    return _scheme([_BACKGROUND_CLASS, *classes])


SCHEMES: dict[str, LabelScheme] = {scheme.name: scheme for scheme in (_by_rank(), _by_structure())}


def label_scheme(name: str | int) -> LabelScheme:
    """The label scheme of that name or number of classes.

    Raises:
        ValueError: no such scheme.
    """
    if str(name) not in SCHEMES:
        raise ValueError(f"no label scheme has {name} classes; there are {', '.join(SCHEMES)}")
    return SCHEMES[str(name)]


def spider_values() -> np.ndarray:
    """SPIDER value of every dense code (int16, 256 entries); codes without one map to 0.

    Vertebrae keep their rank, the canal is 100, a disc is 200 + the rank of the vertebra above it. SPIDER has
    no value for the sacrum, which keeps its code.
    """
    values = np.zeros(CODES, dtype=np.int16)
    for rank in range(1, MAX_RANK + 1):
        values[vertebra_code(rank)] = rank
        values[disc_code(rank)] = SPIDER_DISC_OFFSET + rank
    values[CANAL] = SPIDER_CANAL
    values[SACRUM] = SACRUM
    return values


def codes_of_spider() -> np.ndarray:
    """Dense code of every SPIDER value up to 255 that counts from the bottom (int16); -1 where there is none.

    A partly visible vertebra (101-125) has the code of the whole one.
    """
    codes = np.full(CODES, -1, dtype=np.int16)
    codes[BACKGROUND] = BACKGROUND
    codes[SPIDER_CANAL] = CANAL
    codes[SACRUM] = SACRUM
    for rank in range(1, MAX_RANK + 1):
        codes[rank] = codes[SPIDER_PARTIAL_OFFSET + rank] = vertebra_code(rank)
        codes[SPIDER_DISC_OFFSET + rank] = disc_code(rank)
    return codes


def label_tables(labels: str) -> tuple[Tensor, Tensor]:
    """Dense code of every label value (int16, -1 where unknown), and label value of every dense code.

    Args:
        labels: ``"14"``, ``"dense"`` or ``"spider"``.

    Raises:
        ValueError: another name.
    """
    every = torch.arange(CODES, dtype=torch.uint8)
    if labels == "14":
        scheme = label_scheme(labels)
        codes = scheme.decode(every).short()
        codes[scheme.num_classes : IGNORE] = -1
        return codes, scheme.encode(every)
    if labels == "dense":
        codes = torch.full((CODES,), -1, dtype=torch.int16)
        codes[list(VALID_CODES)] = torch.tensor(VALID_CODES, dtype=torch.int16)
        return codes, every
    if labels == "spider":
        values = torch.from_numpy(spider_values())
        values[IGNORE] = IGNORE
        return torch.from_numpy(codes_of_spider()), values
    raise ValueError(f"no label scheme is called {labels!r}; there are '14', 'dense', 'spider'")
