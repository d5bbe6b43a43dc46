"""Batches for training: the same with any number of workers, and from wherever they go on."""

import itertools

import pytest
import torch
from counted import Counted, build
from torch.utils.data import DataLoader

from synthspine.shards import ShardStream
from synthspine.shards.format.sample import ShardError
from synthspine.shards.reading.open import open_set


@pytest.fixture(scope="module")
def shards(tmp_path_factory):
    return open_set(build(tmp_path_factory.mktemp("sets") / "set", Counted(37)))


def taken(batches, count):
    return [batch[1][:, 0, 0].tolist() for batch in itertools.islice(batches, count)]


def test_a_batch_has_the_shapes_and_types_of_training(shards):
    images, codes, records = next(iter(ShardStream(shards, 5, records=True)))
    assert images.shape == (5, 1, 16, 16) and images.dtype == torch.float16
    assert codes.shape == (5, 16, 16) and codes.dtype == torch.uint8
    assert [record["index"] for record in records] == codes[:, 0, 0].tolist()
    assert torch.equal(images[:, 0, 0, 0], (codes[:, 0, 0] / 100).half())
    assert len(next(iter(ShardStream(shards, 5)))) == 2


def test_batches_continue_over_epochs_and_are_full(shards):
    batches = taken(ShardStream(shards, 5), 15)
    assert {len(batch) for batch in batches} == {5}
    flat = list(itertools.chain(*batches))
    assert sorted(flat[:37]) == sorted(flat[37:74]) == list(range(37))


@pytest.mark.parametrize("workers", [1, 2, 3])
def test_workers_do_not_change_batches(shards, workers):
    stream = ShardStream(shards, 4, seed=3, rank=1, world=2, start=11)
    loader = DataLoader(stream, batch_size=None, num_workers=workers)
    assert taken(loader, 12) == taken(stream, 12)


def test_a_position_resumes_a_run_with_another_number_of_ranks(shards):
    whole = list(itertools.chain(*taken(ShardStream(shards, 12, seed=5), 9)))
    seen, start = [], 0
    for world, steps in ((1, 2), (3, 4), (2, 3)):
        streams = [
            ShardStream(shards, 12 // world, seed=5, rank=rank, world=world, start=start)
            for rank in range(world)
        ]
        for batches in zip(*(taken(stream, steps) for stream in streams), strict=True):
            # One step: ranks take its positions in turn.
            seen += itertools.chain(*zip(*batches, strict=True))
        positions = {stream.position(steps) for stream in streams}
        assert len(positions) == 1
        start = positions.pop()
    assert seen == whole and start == len(whole)


@pytest.mark.parametrize("workers", [0, 2])
def test_damage_ends_the_stream_with_its_name(tmp_path, workers):
    place = build(tmp_path / "set", Counted(37))
    path = place.path / "shard-000004.tar"
    path.write_bytes(path.read_bytes().replace(b"\x10\x10\x10\x10", b"\x10\x10\x10\x11", 1))
    loader = DataLoader(ShardStream(open_set(place), 4), batch_size=None, num_workers=workers)
    with pytest.raises(ShardError, match=r"shard-000004\.tar: is damaged \(SHA-256 differs\)"):
        taken(loader, 20)


def test_empty_sets_and_sets_without_images_are_not_streamed(shards, tmp_path):
    with pytest.raises(ShardError, match="the set is empty"):
        ShardStream(open_set(build(tmp_path / "empty", Counted(0))), 4)
    with pytest.raises(ShardError, match=r"sample 000000.. has no image to train on"):
        next(iter(ShardStream(open_set(build(tmp_path / "labels", Counted(5, images=False))), 4)))
    with pytest.raises(ValueError, match="rank 2 is outside"):
        ShardStream(shards, 4, rank=2, world=2)
