"""Whole batches, one after another."""

from itertools import islice

import numpy as np
import pytest
import torch
from torch.utils.data import DataLoader

from synthspine.gen import SpineSynthGenerator, SyntheticStream


@pytest.fixture
def generator():
    return SpineSynthGenerator("T2", labels="dense", seed=3)


def _same(ours, theirs):
    pairs = list(zip(ours, theirs, strict=True))
    return bool(pairs) and all(torch.equal(a, b) for pair in pairs for a, b in zip(*pair, strict=True))


def test_a_batch_holds_the_samples_of_its_numbers(bank, generator):
    stream = SyntheticStream(bank, generator, batch_size=3, batches=2)
    batches = list(stream)
    assert len(batches) == 2
    for number, (image, target) in enumerate(batches):
        indices = range(3 * number, 3 * number + 3)
        expected_image, expected_target = generator.sample(bank.unsqueeze(1), indices=indices)
        assert torch.equal(image, expected_image) and torch.equal(target, expected_target.long())
        assert image.shape == (3, 1, 96, 80) and image.dtype == torch.float32
        assert target.shape == (3, 96, 80) and target.dtype == torch.int64


def test_a_stream_repeats_itself_and_has_no_end_unless_asked(bank, generator):
    stream = SyntheticStream(bank, generator, batch_size=2)
    assert _same(islice(stream, 3), islice(stream, 3))


@pytest.mark.parametrize("workers", [1, 2])
def test_workers_keep_the_order(bank, generator, workers):
    stream = SyntheticStream(bank, generator, batch_size=2, batches=5)
    loader = DataLoader(stream, batch_size=None, num_workers=workers)
    assert _same(loader, stream)


def test_a_stream_goes_on_where_another_stopped(bank, generator):
    whole = list(SyntheticStream(bank, generator, batch_size=2, batches=5))
    rest = SyntheticStream(bank, generator, batch_size=2, first=2, batches=3)
    assert _same(rest, whole[2:])
    assert _same(DataLoader(rest, batch_size=None, num_workers=2), whole[2:])


def test_no_batch_is_a_stream_too(bank, generator):
    assert list(SyntheticStream(bank, generator, batches=0)) == []


def test_maps_may_be_arrays_tensors_or_one_stack(bank, generator):
    arrays = [codes.numpy() for codes in bank]
    banks = [bank, list(bank), arrays, np.stack(arrays), np.stack(arrays).astype(np.uint16)]
    batches = [next(iter(SyntheticStream(maps, generator, batch_size=2))) for maps in banks]
    assert _same(batches[1:], batches[:1] * 4)


def test_volumes_make_batches_of_volumes(bank, generator):
    image, target = next(iter(SyntheticStream(bank.unsqueeze(0), generator, batch_size=2)))
    assert image.shape == (2, 1, 3, 96, 80) and target.shape == (2, 3, 96, 80)


@pytest.mark.parametrize(
    ("change", "error", "match"),
    [
        ({"label_maps": []}, ValueError, "one shape"),
        ({"label_maps": [torch.zeros(8, 8).byte(), torch.zeros(8, 9).byte()]}, ValueError, "one shape"),
        ({"label_maps": torch.zeros(2, 8, 8)}, TypeError, "float32"),
        ({"label_maps": torch.full((2, 8, 8), 77)}, ValueError, "77"),
        ({"label_maps": torch.zeros(2, 8).byte()}, ValueError, "less than 2 rows"),
        ({"generator": "T2"}, TypeError, "generator is 'T2'"),
        ({"batch_size": 0}, ValueError, "batch_size is 0"),
        ({"batch_size": 1.5}, TypeError, "batch_size is 1.5"),
        ({"batch_size": True}, TypeError, "batch_size is True"),
        ({"first": -1}, ValueError, "first is -1"),
        ({"first": 0.5}, TypeError, "first is 0.5"),
        ({"first": 2**62}, ValueError, "first"),
        ({"batches": -1}, ValueError, "batches is -1"),
        ({"batches": 0.5}, TypeError, "batches is 0.5"),
        ({"device": "abacus"}, ValueError, "abacus"),
        ({"device": "cuda:99"}, ValueError, "cuda:99"),
    ],
)
def test_a_stream_that_cannot_be_is_refused(bank, generator, change, error, match):
    with pytest.raises(error, match=match):
        SyntheticStream(**({"label_maps": bank, "generator": generator} | change))
