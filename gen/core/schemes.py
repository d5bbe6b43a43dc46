"""Label schemes: which dense codes make the classes of a network, and the structures it is scored on.

A scheme is data, made in code, read from YAML, or stored in a checkpoint::

    name: sacrum
    structures: {vertebra: 1-25, disc: 31-55, canal: 60, sacrum: 61}
    classes: {background: 0, vertebra: 1-25, disc: 31-55, canal: 60, sacrum: 61}

Codes are those of ``gen.core.anatomy``: a number, a span, or a list of both. Where no class names them,
posterior elements belong to the class of their vertebra and the sacrum is background; other codes are left
out of loss and metrics. So is what may be sacrum, where the sacrum has a class.
"""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache, cached_property
from pathlib import Path
from typing import Any, Self

import torch
from torch import Tensor

from synthspine.gen.core.anatomy import (
    BACKGROUND,
    CANAL,
    CODES,
    DISC_NAMES,
    IGNORE,
    MAX_RANK,
    PERHAPS_SACRUM,
    POSTERIOR_OFFSET,
    RANK_NAMES,
    SACRUM,
    STRUCTURE_CODES,
    STRUCTURE_COLOURS,
    VALID_CODES,
    Colour,
    disc_code,
    posterior_code,
    vertebra_code,
)
from synthspine.gen.core.documents import MOST_YAML_BYTES, parse_yaml, read_text

SCHEME_SUFFIXES = (".yaml", ".yml", ".json")
# Of further structures, in order: the rest of the palette of Okabe and Ito, which the colour-blind can read.
_MORE_COLOURS: tuple[Colour, ...] = ((86, 180, 233), (213, 94, 0), (240, 228, 66))


@dataclass(frozen=True, kw_only=True, slots=True)
class Structure:
    """A structure that is scored: its name and the dense codes that belong to it."""

    name: str
    codes: tuple[int, ...]


@dataclass(frozen=True, kw_only=True, slots=True)
class LabelClass:
    """A class of a network: its name and the dense codes that belong to it; the first stands for all."""

    name: str
    codes: tuple[int, ...]


@dataclass(frozen=True, kw_only=True)
class LabelScheme:
    """The classes of a network, and the structures that they belong to.

    Attributes:
        name: name of the scheme.
        structures: what is scored, in this order; background is none of them.
        classes: class 0 is background.

    Raises:
        ValueError: no background, an unknown or repeated code, a class in no structure or in two.
    """

    name: str
    structures: tuple[Structure, ...]
    classes: tuple[LabelClass, ...]

    def __post_init__(self) -> None:
        _check_scheme(self)

    @property
    def num_classes(self) -> int:
        """Number of classes, background included."""
        return len(self.classes)

    @cached_property
    def class_names(self) -> tuple[str, ...]:
        """Name of every class."""
        return tuple(each.name for each in self.classes)

    @cached_property
    def structure_names(self) -> tuple[str, ...]:
        """Name of every structure."""
        return tuple(each.name for each in self.structures)

    @cached_property
    def groups(self) -> tuple[tuple[int, ...], ...]:
        """Numbers of the classes of background (first) and of every structure, in order."""
        groups: list[list[int]] = [[] for _ in range(len(self.structures) + 1)]
        for number, structure in enumerate(self.class_structures):
            groups[structure].append(number)
        return tuple(tuple(group) for group in groups)

    @cached_property
    def class_structures(self) -> tuple[int, ...]:
        """Structure of every class: 0 for background, 1.. in the order of ``structures``."""
        home = {code: number for number, each in enumerate(self.structures, start=1) for code in each.codes}
        return tuple(home.get(each.codes[0], 0) for each in self.classes)

    @property
    def are_structures(self) -> bool:
        """Whether every structure is one class, in the order of ``structures``."""
        return self.class_structures == tuple(range(len(self.structures) + 1))

    @cached_property
    def table(self) -> tuple[int, ...]:
        """Class of every dense code, 256 entries; codes without a class map to 255."""
        table = [IGNORE] * CODES
        for number, each in enumerate(self.classes):
            for code in each.codes:
                table[code] = number
        for rank in range(1, MAX_RANK + 1):
            if table[posterior_code(rank)] == IGNORE:
                table[posterior_code(rank)] = table[vertebra_code(rank)]
        if table[SACRUM] == IGNORE:
            table[SACRUM] = table[PERHAPS_SACRUM] = BACKGROUND
        return tuple(table)

    @cached_property
    def codes(self) -> tuple[int, ...]:
        """Dense code that stands for every class: the first of its codes."""
        return tuple(each.codes[0] for each in self.classes)

    @cached_property
    def colours(self) -> tuple[Colour, ...]:
        """RGB colour of every class, 0-255: shades of the colour of its structure."""
        colours: list[Colour] = [(0, 0, 0)] * self.num_classes
        more = iter(_MORE_COLOURS * len(self.structures))
        for structure, group in zip(self.structures, self.groups[1:], strict=True):
            base = STRUCTURE_COLOURS.get(structure.name) or next(more)
            for number, colour in zip(group, _shades(base, len(group)), strict=True):
                colours[number] = colour
        return tuple(colours)

    @property
    def is_complete(self) -> bool:
        """Whether every structure that a label map annotates has a class, whatever its rank."""
        return all(self.table[code] != IGNORE for code in VALID_CODES if code != IGNORE)

    @property
    def has_sacrum(self) -> bool:
        """Whether the sacrum has a class of its own."""
        return self.table[SACRUM] != BACKGROUND

    @property
    def splits_vertebrae(self) -> bool:
        """Whether posterior elements have another class than the body of their vertebra."""
        return any(self.table[code] != self.table[code - POSTERIOR_OFFSET] for code in POSTERIOR_CODES)

    @property
    def is_refined(self) -> bool:
        """Whether targets need more than label maps annotate (``gen.geometry.refine``)."""
        return self.has_sacrum or self.splits_vertebrae

    def by_structure(self) -> "LabelScheme":
        """The scheme with one class per structure, and the same structures."""
        if self.are_structures:
            return self
        classes = (LabelClass(name=each.name, codes=each.codes) for each in self.structures)
        return replace(self, name=f"{self.name}, structures", classes=(self.classes[0], *classes))

    def encode(self, codes: Tensor) -> Tensor:
        """Classes (uint8, same shape and device) of a uint8 tensor of dense codes."""
        return _table_tensor(self.table, codes.device)[codes.int()]

    def decode(self, classes: Tensor) -> Tensor:
        """Dense codes (uint8, same shape and device) of a uint8 tensor of classes; 255 stays 255."""
        padded = self.codes + (IGNORE,) * (CODES - self.num_classes)
        return _table_tensor(padded, classes.device)[classes.int()]

    def to_dict(self) -> dict[str, Any]:
        """The scheme as JSON-ready values; :meth:`from_dict` is the reverse."""
        return {
            "name": self.name,
            "structures": {each.name: _spans(each.codes) for each in self.structures},
            "classes": {each.name: _spans(each.codes) for each in self.classes},
        }

    @classmethod
    def from_dict(cls, values: Any) -> Self:
        """The scheme of the values of YAML or JSON, see the module.

        Raises:
            ValueError: they are not those of a valid scheme; a key is missing, unknown or of another kind.
        """
        if not isinstance(values, Mapping) or set(values) != {"name", "structures", "classes"}:
            found = ", ".join(map(str, values)) if isinstance(values, Mapping) else repr(values)
            raise ValueError(f"a label scheme has the keys name, structures and classes, not {found}")
        name = values["name"]
        if not isinstance(name, str) or not name.strip():
            raise ValueError(f"the name of a label scheme is text, not {name!r}")
        for key in ("structures", "classes"):
            if not isinstance(values[key], Mapping):
                raise ValueError(f"label scheme {name}: {key} is {values[key]!r}; want names with codes")
        structures, classes = (
            {str(key): _codes(name, key, value) for key, value in values[kind].items()}
            for kind in ("structures", "classes")
        )
        return cls(
            name=name,
            structures=tuple(Structure(name=key, codes=tuple(sorted(structures[key]))) for key in structures),
            classes=tuple(LabelClass(name=key, codes=classes[key]) for key in classes),
        )


@cache
def _table_tensor(table: tuple[int, ...], device: torch.device) -> Tensor:
    with torch.inference_mode(False):
        return torch.tensor(table, dtype=torch.uint8, device=device)


def _shades(base: Colour, count: int) -> tuple[Colour, ...]:
    """``count`` shades of a colour, from the colour itself towards white."""
    red, green, blue = ([round(part + (255 - part) * 0.6 * i / count) for i in range(count)] for part in base)
    return tuple(zip(red, green, blue, strict=True))


def _codes(scheme: str, name: object, value: Any) -> tuple[int, ...]:
    """Codes of a number, a span as text (``1-25``), or a list of both."""
    codes: list[int] = []
    for part in value if isinstance(value, Sequence) and not isinstance(value, str) else [value]:
        first, dash, last = str(part).partition("-")
        ends = [first, last] if dash else [first]
        whole = not isinstance(part, bool | float) and all(end.strip().isdecimal() for end in ends)
        span = range(int(ends[0]), int(ends[-1]) + 1) if whole else range(0)
        if not span:
            raise ValueError(f"label scheme {scheme}: {name} has the codes {value!r}; want 5, 1-25 or a list")
        codes += span[: CODES + 1]  # one of so many does not exist
    return tuple(codes)


def _spans(codes: Sequence[int]) -> list[int | str]:
    """Codes as numbers and spans, in their order."""
    spans: list[list[int]] = []
    for code in codes:
        if spans and code == spans[-1][1] + 1:
            spans[-1][1] = code
        else:
            spans.append([code, code])
    return [f"{first}-{last}" if first < last else first for first, last in spans]


def _check_scheme(scheme: LabelScheme) -> None:
    def fault(text: str) -> ValueError:
        return ValueError(f"label scheme {scheme.name}: {text}")

    if not scheme.classes or scheme.classes[0].codes != (BACKGROUND,):
        raise fault(f"the first class must be background, code {BACKGROUND} alone")
    if not 2 <= len(scheme.classes) < IGNORE or not scheme.structures:
        raise fault(f"{len(scheme.classes)} classes and {len(scheme.structures)} structures; want 2 to "
                    f"{IGNORE - 1} classes and at least one structure")  # fmt: skip
    for kind, parts in (("class", scheme.classes), ("structure", scheme.structures)):
        if repeated := _repeated(part.name for part in parts):
            raise fault(f"two {kind} entries are called {repeated}")
        if (code := _repeated(code for part in parts for code in part.codes)) is not None:
            raise fault(f"code {code} is in two {kind} entries")
        for part in parts:
            if not part.codes:
                raise fault(f"{part.name} has no code")
            if unknown := [code for code in part.codes if code not in TARGET_CODES]:
                raise fault(f"{part.name} has code {unknown[0]}, which is no dense code; there are "
                            f"{', '.join(map(str, _spans(TARGET_CODES)))}")  # fmt: skip
    home = {code: each.name for each in scheme.structures for code in each.codes}
    if BACKGROUND in home:
        raise fault(f"structure {home[BACKGROUND]} has code {BACKGROUND}, the background")
    for each in scheme.classes[1:]:
        homes = {home.get(code) for code in each.codes}
        if None in homes:
            raise fault(f"class {each.name} has a code that is in no structure")
        if len(homes) > 1:
            raise fault(f"class {each.name} is in two structures: {', '.join(sorted(map(str, homes)))}")
    used = {home[each.codes[0]] for each in scheme.classes[1:]}
    if unused := [each.name for each in scheme.structures if each.name not in used]:
        raise fault(f"structure {unused[0]} has no class")


def _repeated(values: Iterable[Any]) -> Any:
    return next((value for value, count in Counter(values).items() if count > 1), None)


POSTERIOR_CODES = tuple(posterior_code(rank) for rank in range(1, MAX_RANK + 1))
TARGET_CODES: tuple[int, ...] = (*(code for code in VALID_CODES if code != IGNORE), *POSTERIOR_CODES)
"""What a class may hold: the codes of label maps, and posterior elements, which targets alone tell apart."""


RANKS = LabelScheme.from_dict(
    {
        "name": "ranks",
        "structures": {name: f"{first}-{last}" for name, (first, last) in STRUCTURE_CODES.items()},
        "classes": {
            "background": BACKGROUND,
            **{name: vertebra_code(rank) for rank, name in enumerate(RANK_NAMES, start=1)},
            **{f"disc {name}": disc_code(rank) for rank, name in enumerate(DISC_NAMES, start=1)},
            "canal": CANAL,
        },
    }
)
"""Every vertebra and disc up to the sixth by its rank, and the canal: 14 classes."""
STRUCTURES_ALONE = replace(RANKS.by_structure(), name="structures")
"""Vertebra, disc and canal, whatever the rank: 4 classes."""
SPINE = replace(
    STRUCTURES_ALONE,
    name="spine",
    structures=(*STRUCTURES_ALONE.structures, Structure(name="sacrum", codes=(SACRUM,))),
    classes=(*STRUCTURES_ALONE.classes, LabelClass(name="sacrum", codes=(SACRUM,))),
)
"""Vertebra, disc, canal and sacrum, whatever the rank: 5 classes."""
SCHEMES: dict[str, LabelScheme] = {scheme.name: scheme for scheme in (RANKS, STRUCTURES_ALONE, SPINE)}


def label_scheme(name: str | int | Path) -> LabelScheme:
    """The label scheme of that name, number of classes (14, 4 or 5), or YAML or JSON file.

    Raises:
        ValueError: no such scheme, or a file that cannot be read or holds no valid scheme; it is named.
    """
    text = str(name)
    known = SCHEMES | {str(scheme.num_classes): scheme for scheme in SCHEMES.values()}
    if text in known:
        return known[text]
    if not text.endswith(SCHEME_SUFFIXES):
        what = f"has {text} classes" if text.isdecimal() else f"is called {text!r}"
        raise ValueError(f"no label scheme {what}; there are {', '.join(known)}, and YAML files")
    try:
        return LabelScheme.from_dict(parse_yaml(read_text(Path(text), MOST_YAML_BYTES)))
    except OSError as error:
        raise ValueError(f"{text}: {error.strerror or error}") from error
    except UnicodeDecodeError as error:
        raise ValueError(f"{text}: not YAML or JSON: {error}") from error
    except ValueError as error:
        raise ValueError(f"{text}: {error}") from error
