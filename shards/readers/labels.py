"""What label values mean: the names that are understood, and tables from values to names.

A table is data, so that a dataset is described instead of programmed:
``LabelTable("mine", {0: "background", 1: "L5", 2: "disc L5/S1", 3: "spinal canal", 4: "ignore"})``.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from itertools import groupby

from synthspine.gen.core.anatomy import (
    BACKGROUND,
    CANAL,
    CODES,
    IGNORE,
    MAX_RANK,
    POSTERIOR_OFFSET,
    SACRUM,
    SPIDER_CANAL,
    SPIDER_DISC_OFFSET,
    SPIDER_PARTIAL_OFFSET,
)

VERTEBRAE = (
    *(f"C{number}" for number in range(1, 8)),
    *(f"T{number}" for number in range(1, 14)),
    *(f"L{number}" for number in range(1, 7)),
)
"""Names of vertebrae from the top downward."""
EXTRA_VERTEBRAE = frozenset({"T13", "L6"})
"""Vertebrae that few people have: they are counted only where they are labelled."""
UNDERSTOOD = (
    "background, ignore, spinal canal, spinal cord, sacrum (or S1 to S6), vertebrae by name (C1 to L6) or "
    "number (vertebra 3), discs by name (L5-S1, disc L5/S1, disc L5, disc above sacrum) or number (disc 3: "
    "below vertebra 3)"
)

_FIXED_CODES = {"background": BACKGROUND, "ignore": IGNORE, "canal": CANAL, "sacrum": SACRUM}
_FIXED = {
    "background": ("background", ""),
    "ignore": ("ignore", ""),
    **dict.fromkeys(("canal", "spinal canal", "vertebral canal"), ("canal", "")),
    **dict.fromkeys(("cord", "spinal cord"), ("canal", "cord")),
    **dict.fromkeys(("sacrum", "s"), ("sacrum", "")),
}
ABOVE_SACRUM = "S"
"""The level of the disc above the sacrum, where the vertebra above it may be L5 or L6."""
_NAME = "(c[1-7]|t1[0-3]|t[1-9]|l[1-6])"
_DISC = "(?:(?:intervertebral )?dis[ck]|ivd)"
_VERTEBRA = re.compile(
    rf"(partial |posterior )?(?:vertebrae? )?{_NAME}|(partial |posterior )?vertebrae? (\d+)"
)
_DISC_BETWEEN = re.compile(rf"(?:{_DISC} )?{_NAME} ?(?:{_NAME}|s1?)")
_DISC_BELOW = re.compile(rf"{_DISC} (?:{_NAME}|(\d+))")
_LOWEST = ("L4", "L5", "L6")


@dataclass(frozen=True, slots=True)
class Meaning:
    """What a label value means.

    Attributes:
        structure: ``"background"``, ``"ignore"``, ``"canal"``, ``"sacrum"``, ``"vertebra"`` or ``"disc"``.
        level: the vertebra, or the vertebra above the disc: a name (``"L5"``), a number (``"3"``), or
            ``ABOVE_SACRUM``.
        part: a part that is labelled separately (``"cord"``, ``"S1"``, ``"partial"``, ``"posterior"``).
    """

    structure: str
    level: str = ""
    part: str = ""

    @property
    def fixed_code(self) -> int | None:
        """Its dense code; None for vertebrae and discs, whose code depends on their rank."""
        return _FIXED_CODES.get(self.structure)


def meaning_of(name: str) -> Meaning:
    """The meaning of a label's name; case and the separators ``_``, ``-``, ``/`` and space do not matter.

    Raises:
        ValueError: a name that is not understood.
    """
    text = re.sub(r"[\s_/-]+", " ", name).strip().lower()
    if text in _FIXED:
        structure, part = _FIXED[text]
        return Meaning(structure, part=part)
    if text == "disc above sacrum":
        return Meaning("disc", ABOVE_SACRUM)
    if re.fullmatch("s[1-6]", text):
        return Meaning("sacrum", part=text.upper())
    if match := _VERTEBRA.fullmatch(text):
        level = (match[2] or match[4]).upper()
        return Meaning("vertebra", level, (match[1] or match[3] or "").strip())
    if match := _DISC_BELOW.fullmatch(text):
        return Meaning("disc", (match[1] or match[2]).upper())
    if (match := _DISC_BETWEEN.fullmatch(text)) and _are_neighbours(*match.groups()):
        return Meaning("disc", match[1].upper())
    raise ValueError(f"label name {name!r} is not understood; understood are {UNDERSTOOD}")


def _are_neighbours(above: str, below: str | None) -> bool:
    if below is None:
        return above.upper() in _LOWEST
    first, last = VERTEBRAE.index(above.upper()), VERTEBRAE.index(below.upper())
    return first < last and set(VERTEBRAE[first + 1 : last]) <= EXTRA_VERTEBRAE


@dataclass(frozen=True)
class LabelTable:
    """The label values of a dataset.

    Attributes:
        name: name for messages.
        labels: name (see ``UNDERSTOOD``) of every label value, 0-255.
        counted: whether the names may be a mere count from the top of the scan. If so, and the sacrum is
            labelled, the lowest vertebra has rank 1 whatever its name.

    Raises:
        ValueError: a name that is not understood, a value that is no integer of 0-255, two values with one
            meaning, no background, or vertebrae by name and by number in one table.
    """

    name: str
    labels: Mapping[int, str]
    counted: bool = False

    def __post_init__(self) -> None:
        for value, name in self.labels.items():
            if type(value) is not int or not isinstance(name, str):
                raise ValueError(f"{self.name}: {value!r}: {name!r} is no label; want a number and a name")
        first: dict[Meaning, int] = {}
        for value, meaning in self.meanings.items():
            if not 0 <= value < CODES:
                raise ValueError(f"{self.name}: label value {value} is outside 0..{CODES - 1}")
            if meaning.structure != "ignore" and first.setdefault(meaning, value) != value:
                both = (
                    f"{first[meaning]} ({self.labels[first[meaning]]!r}) and {value} ({self.labels[value]!r})"
                )
                raise ValueError(f"{self.name}: the label values {both} mean the same")
        if Meaning("background") not in first:
            raise ValueError(f"{self.name}: no label value is called background")
        if len({meaning.level.isdecimal() for meaning in first if meaning.level}) > 1:
            raise ValueError(f"{self.name}: some levels have names and some have numbers; use one of the two")

    @cached_property
    def meanings(self) -> dict[int, Meaning]:
        """Meaning of every label value, in increasing order."""
        try:
            return {value: meaning_of(self.labels[value]) for value in sorted(self.labels)}
        except ValueError as error:
            raise ValueError(f"{self.name}: {error}") from None

    @property
    def numbered(self) -> bool:
        """Whether levels have numbers, which relate a disc to its vertebra but do not say their rank."""
        return any(meaning.level.isdecimal() for meaning in self.meanings.values())

    def __str__(self) -> str:
        """The values as ranges, one for each kind of label: ``0, 1-25, 100``."""

        def kind(item: tuple[int, int]) -> tuple[int, str, str]:
            place, value = item
            return value - place, self.meanings[value].structure, self.meanings[value].part

        runs = [[value for _, value in run] for _, run in groupby(enumerate(self.meanings), kind)]
        return ", ".join(f"{run[0]}-{run[-1]}" if len(run) > 1 else f"{run[0]}" for run in runs)


SPIDER_TABLE = LabelTable(
    "SPIDER",
    {
        0: "background",
        **{number: f"vertebra {number}" for number in range(1, MAX_RANK + 1)},
        SPIDER_CANAL: "canal",
        SACRUM: "sacrum",
        **{POSTERIOR_OFFSET + n: f"posterior vertebra {n}" for n in range(1, MAX_RANK + 1)},
        **{SPIDER_PARTIAL_OFFSET + n: f"partial vertebra {n}" for n in range(1, MAX_RANK + 1)},
        **{SPIDER_DISC_OFFSET + number: f"disc {number}" for number in range(1, MAX_RANK + 1)},
    },
)
"""Values of SPIDER: van der Graaf et al., Scientific Data 2024 (Zenodo 10159290).

Masks that this project predicts may also hold the sacrum (61) and posterior elements (131-155), which belong
to their vertebra.
"""
