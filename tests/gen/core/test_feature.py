"""Batches of drawn values, and their records."""

import json
from dataclasses import dataclass

import pytest
import torch
from torch import Tensor

from synthspine.gen.core.device import start_copy
from synthspine.gen.core.feature import Batch


@dataclass(frozen=True, kw_only=True, slots=True)
class _Inner(Batch):
    key: Tensor
    level: Tensor


@dataclass(frozen=True, kw_only=True, slots=True)
class _Outer(Batch):
    spacing_mm: tuple[float, ...]
    map_index: Tensor
    inner: _Inner
    optional: _Inner | None


def _batch(optional: bool = True) -> _Outer:
    generator = torch.Generator().manual_seed(0)
    inner = _Inner(
        key=torch.randint(-(2**31), 2**31 - 1, (3, 2), dtype=torch.int32, generator=generator),
        level=torch.rand(3, 4, generator=generator),
    )
    return _Outer(
        spacing_mm=(4.0, 1.0, 0.7),
        map_index=torch.tensor([5, 0, 2**40]),
        inner=inner,
        optional=inner if optional else None,
    )


def _same(first: _Outer, second: _Outer) -> bool:
    pairs = [(first.map_index, second.map_index), (first.inner.key, second.inner.key)]
    pairs += [(first.inner.level, second.inner.level)]
    return all(torch.equal(a, b) and a.dtype == b.dtype for a, b in pairs)


@pytest.mark.parametrize("optional", [True, False])
def test_records_go_through_json_bit_for_bit(optional):
    batch = _batch(optional)
    again = _Outer.from_records(json.loads(json.dumps(batch.to_records())))
    assert _same(batch, again) and again.spacing_mm == batch.spacing_mm
    assert (again.optional is None) == (not optional)


def test_a_slice_of_a_batch_is_the_batch_of_these_samples():
    batch = _batch()
    part = batch[1:]
    assert len(batch) == 3 and len(part) == 2
    assert part.to_records() == batch.to_records()[1:]


def test_records_of_different_features_grids_or_fields_are_refused():
    record, without = _batch().to_records()[0], _batch(optional=False).to_records()[0]
    with pytest.raises(ValueError, match="optional"):
        _Outer.from_records([record, without])
    with pytest.raises(ValueError, match="spacing_mm"):
        _Outer.from_records([record, record | {"spacing_mm": [1.0, 1.0, 1.0]}])
    with pytest.raises(ValueError, match="colour"):
        _Outer.from_records([record | {"colour": 1}])
    with pytest.raises(ValueError, match="no record"):
        _Outer.from_records([])


def test_a_change_reaches_the_batches_within_a_batch():
    inner = _Inner(key=torch.arange(2, dtype=torch.int32), level=torch.rand(2))
    batch = _Outer(spacing_mm=(1.0, 1.0), map_index=torch.arange(2), inner=inner, optional=None)
    doubled = batch.map(lambda values: torch.cat([values, values]))
    assert doubled.to_records()[:2] == batch.to_records() == doubled.to_records()[2:]
    assert batch.map(start_copy).to_records() == batch.to_records()
