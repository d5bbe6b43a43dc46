"""Batches of drawn values that turn into JSON records and back without loss.

Random fields are not stored: they are functions of the ``key`` that is.
"""

import dataclasses
import types
import typing
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Self

import torch
from torch import Tensor

_INTEGERS = {"key": torch.int32, "map_index": torch.int64}


@dataclass(frozen=True, kw_only=True, slots=True)
class Batch:
    """Tensors of one value per sample, or other batches; None where a feature is left out.

    Tuples are common to all samples of a batch.
    """

    def __len__(self) -> int:
        return len(next(value for _, value in self._columns()))

    def __getitem__(self, samples: slice) -> Self:
        """The samples of a slice."""
        return self.map(lambda value: value[samples])

    def to(self, device: torch.device | str) -> Self:
        """The same values on another device."""
        return self.map(lambda value: value.to(device))

    def map(self, change: Callable[[Any], Any]) -> Self:
        """The batch with ``change`` done to the values of every field, batches within it included."""
        changed = {
            name: value.map(change) if isinstance(value, Batch) else change(value)
            for name, value in self._columns()
        }
        return dataclasses.replace(self, **changed)

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
        return cls(**{name: _column(name, hints[name], [r[name] for r in records]) for name in hints})


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
