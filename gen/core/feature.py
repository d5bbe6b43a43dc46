"""A feature of the generator: its configuration and its drawn values.

A range is ``(low, high)`` of a uniform distribution. A probability of 0 leaves a feature out: nothing is
drawn for it and its step costs nothing. Records hold the ``key`` of a random field instead of its values.
"""

import dataclasses
import math
import operator
import types
import typing
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Self

import torch
from torch import Tensor

from synthspine.gen.core.device import move

Range = tuple[float, float]
Spacing = Sequence[float]
"""Grid spacing per axis, mm."""
GREATEST = 1e30
"""No number is larger: float32 still holds the difference of two, and their product with a grid's size."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Config:
    """Configuration of a feature, checked when it is made: see :func:`check`.

    Raises a TypeError or ValueError that names the field; a range, or number, stays in its ``bounds``.
    """

    bounds: ClassVar[Mapping[str, Range]] = {}

    def __post_init__(self) -> None:
        check(self)
        check_within(self, **self.bounds)


def within(*shares: str, **bounds: Range) -> Mapping[str, Range]:
    """Least and greatest value of fields, by name: 0 and 1 for those that are only named."""
    return dict.fromkeys(shares, (0.0, 1.0)) | bounds


def check(config: Any) -> None:
    """Refuse reversed or non-finite ranges, non-finite numbers, probabilities outside 0..1, wrong kinds.

    Raises:
        TypeError: a field of the dataclass ``config`` holds something else than its annotation says.
        ValueError: a field is out of bounds; the message names it.
    """
    for entry in dataclasses.fields(config):
        value = getattr(config, entry.name)
        where = f"{type(config).__name__}.{entry.name}"
        if entry.type is bool:
            if not isinstance(value, bool):
                raise TypeError(f"{where} is {value!r}; want true or false")
        elif entry.type == Range:
            _check_range(where, value)
        elif isinstance(entry.type, type) and dataclasses.is_dataclass(entry.type):
            if not isinstance(value, entry.type):
                raise TypeError(f"{where} is {value!r}; want a {entry.type.__name__}")
        elif entry.type is float or (entry.type == float | None and value is not None):
            _check_number(where, value)
            if entry.name.endswith("probability") and not 0 <= value <= 1:
                raise ValueError(f"{where} is {value}; a probability lies in 0..1")


def check_within(config: Any, **bounds: Range) -> None:
    """Raise a ValueError for a range, or number, outside the bounds given by field name; None is inside."""
    for name, (least, greatest) in bounds.items():
        if (value := getattr(config, name)) is None:
            continue
        low, high = value if isinstance(value, tuple) else (value, value)
        if low < least or high > greatest:
            raise ValueError(
                f"{type(config).__name__}.{name} is {value}; it must stay in {least}..{greatest}"
            )


def _check_range(where: str, value: Any) -> None:
    if not isinstance(value, tuple) or len(value) != 2:
        raise TypeError(f"{where} is {value!r}; want two numbers (low, high)")
    for number in value:
        _check_number(where, number)
    if value[0] > value[1]:
        raise ValueError(f"{where} is {value}; the lower end must come first")


def _check_number(where: str, value: Any) -> None:
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise TypeError(f"{where} is {value!r}; want a number")
    if not math.isfinite(value if isinstance(value, float) else 0):
        raise ValueError(f"{where} is {value}; want a finite number")
    if abs(value) > GREATEST:
        raise ValueError(f"{where} is beyond {GREATEST:g}; want a smaller number")


def whole_number(name: str, value: Any, least: int | None = None) -> int:
    """An integer of Python or NumPy as an ``int``: any, or from ``least`` to 2**62.

    Raises:
        TypeError: it is no integer.
        ValueError: it is too small or too large.
    """
    try:
        number = operator.index(value)
    except TypeError:
        number = None
    if number is None or isinstance(value, bool):
        raise TypeError(f"{name} is {value!r}; want an integer")
    if least is not None and not least <= number < 1 << 62:
        raise ValueError(f"{name} is {number}; want an integer of at least {least}, below 2**62")
    return number


_INTEGERS = {"key": torch.int32, "map_index": torch.int64}


@dataclass(frozen=True, kw_only=True, slots=True)
class Batch:
    """Tensors with one value per sample, or other batches; None where a feature is left out.

    Tuples are common to all samples of a batch.
    """

    def __len__(self) -> int:
        return len(next(value for _, value in self._columns()))

    def __getitem__(self, samples: slice | Tensor) -> Self:
        """The samples of a slice, or of indices."""
        return self.map(lambda value: value[samples])

    def touched(self) -> Tensor | None:
        """Which samples a feature with these parameters changes, bool ``(B,)``; None for all of them."""
        return None

    def to(self, device: torch.device | str) -> Self:
        """The same values on another device, moved together, see :func:`move`."""
        moved = iter(move(self._tensors(), device))
        return self.map(lambda _: next(moved))

    def map(self, change: Callable[[Any], Any]) -> Self:
        """The batch with ``change`` done to the values of every field, batches within it included."""
        changed = {
            name: value.map(change) if isinstance(value, Batch) else change(value)
            for name, value in self._columns()
        }
        return dataclasses.replace(self, **changed)

    def _tensors(self) -> list[Tensor]:
        """The values of every field, those of batches within it included, in the order of :meth:`map`."""
        found: list[Tensor] = []
        for _, value in self._columns():
            found += value._tensors() if isinstance(value, Batch) else [value]
        return found

    def _columns(self) -> list[tuple[str, Any]]:
        """Names and values of the fields that hold one value per sample."""
        values = [(entry.name, getattr(self, entry.name)) for entry in dataclasses.fields(self)]
        return [(name, value) for name, value in values if isinstance(value, Tensor | Batch)]

    def to_records(self) -> list[dict[str, Any]]:
        """One JSON-ready dictionary per sample."""
        columns = {
            name: value.to_records() if isinstance(value, Batch) else value.tolist()
            for name, value in self._columns()
        }
        shared = {
            entry.name: list(value) if (value := getattr(self, entry.name)) is not None else None
            for entry in dataclasses.fields(self)
            if entry.name not in columns
        }
        rows = zip(*columns.values(), strict=True)
        return [shared | dict(zip(columns, row, strict=True)) for row in rows]

    @classmethod
    def from_records(cls, records: Sequence[dict[str, Any]]) -> Self:
        """The batch of :meth:`to_records`, bit for bit.

        Raises:
            ValueError: no record, records of different grids or features, or a field missing or unknown.
        """
        if not records:
            raise ValueError("there is no record to render")
        names = {entry.name for entry in dataclasses.fields(cls)}
        for record in records:
            if set(record) != names:
                wrong = ", ".join(sorted(set(record) ^ names))
                raise ValueError(f"{cls.__name__} record lacks or does not know: {wrong}")
        hints = typing.get_type_hints(cls)
        return cls(**{name: _column(name, hints[name], [r[name] for r in records]) for name in names})


def _column(name: str, hint: Any, column: list[Any]) -> Any:
    kinds = typing.get_args(hint) if isinstance(hint, types.UnionType) else (hint,)
    if type(None) in kinds and any(value is None for value in column):
        if any(value is not None for value in column):
            raise ValueError(f"records of one batch differ in {name}: some have it, some do not")
        return None
    kind = kinds[0]
    if isinstance(kind, type) and issubclass(kind, Batch):
        return kind.from_records(column)
    if typing.get_origin(kind) is tuple:
        if any(value != column[0] for value in column):
            raise ValueError(f"records of one batch differ in {name}: {column}")
        return tuple(column[0])
    return torch.tensor(column, dtype=_INTEGERS.get(name, torch.float32))
