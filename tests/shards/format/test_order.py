"""The order of samples: every sample once an epoch, whoever shares the work and wherever it goes on."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from synthspine.shards.format.order import LANES, Order, Places, Reader

COUNTS = st.lists(st.integers(1, 9), min_size=1, max_size=40) | st.builds(
    lambda shards, size, last: [size] * shards + [last],
    st.integers(0, 50),
    st.integers(1, 8),
    st.integers(1, 8),
)


def numbers(counts, parts):
    """Number in the set of every sample of a stream."""
    first = np.cumsum([0, *counts])
    return [int(first[s] + r) for part in parts for s, r in zip(part.shards, part.rows, strict=True)]


@settings(max_examples=200, deadline=None)
@given(counts=COUNTS, seed=st.integers(0, 2**63), epoch=st.integers(0, 1000), lanes=st.integers(1, 20))
def test_an_epoch_is_every_sample_once(counts, seed, epoch, lanes):
    order = Order(counts, seed, lanes)
    assert sorted(numbers(counts, [order.epoch(epoch)])) == list(range(sum(counts)))


@settings(max_examples=200, deadline=None)
@given(data=st.data(), counts=COUNTS, seed=st.integers(0, 99), lanes=st.sampled_from([1, 3, LANES]))
def test_any_ranks_and_workers_share_the_positions_and_resume(data, counts, seed, lanes):
    order, size = Order(counts, seed, lanes), sum(counts)
    alone = numbers(counts, order.stream(0, 3 * size))
    start, seen = 0, []
    # One run in legs, each with its own number of ranks and workers.
    for _ in range(data.draw(st.integers(1, 3))):
        world, workers = data.draw(st.integers(1, 5)), data.draw(st.integers(1, 4))
        block, steps = data.draw(st.integers(1, 4)), data.draw(st.integers(0, 6))
        stop = min(start + steps * world * block, 3 * size)
        per_reader = {
            (rank, worker): iter(
                numbers(
                    counts,
                    order.stream(
                        start,
                        stop,
                        Reader(rank=rank, world=world, worker=worker, workers=workers, block=block),
                    ),
                )
            )
            for rank in range(world)
            for worker in range(workers)
        }
        for offset in range(stop - start):
            # Position by position: which rank, and which of its workers, has to have it next.
            worker = offset // world // block % workers
            seen.append(next(per_reader[offset % world, worker]))
        assert all(next(rest, None) is None for rest in per_reader.values())
        start = stop
    assert seen == alone[:start]


@pytest.mark.parametrize("seeds", [((0, 0), (0, 1)), ((0, 0), (1, 0)), ((0, 1), (1, 0))])
def test_epochs_and_seeds_have_their_own_order(seeds):
    counts = [4] * 9 + [1]
    one, other = (numbers(counts, [Order(counts, seed).epoch(epoch)]) for seed, epoch in seeds)
    assert one != other and one != list(range(37))


def test_the_order_does_not_change_between_versions():
    # Golden. A change breaks the resuming of trainings from shards: name it in CHANGELOG.md.
    counts = [3] * 4 + [2]
    expected = [1, 7, 0, 4, 2, 3, 8, 5, 6, 13, 11, 12, 10, 9]
    assert numbers(counts, [Order(counts, 7, lanes=2).epoch(2)]) == expected


@pytest.mark.parametrize("shards", [64, 80, 81, 95])
@pytest.mark.parametrize("readers", [1, 2, 4, 8, 16])
def test_readers_need_different_shards(shards, readers):
    order = Order([8] * shards, 1)
    streams = [order.stream(0, order.samples, Reader(rank=r, world=readers)) for r in range(readers)]
    needed = [{int(shard) for part in stream for shard in part.shards} for stream in streams]
    # A shard is needed twice only where a cut between lanes goes through it.
    cuts = shards % LANES * (LANES - 1)
    assert set.union(*needed) == set(range(shards))
    assert sum(map(len, needed)) <= shards + cuts
    assert max(map(len, needed)) <= (shards + cuts) // readers + 1


@pytest.mark.parametrize("shards", [1, 3, 15, 16, 17, 20, 31, 33, 40, 47, 100])
@pytest.mark.parametrize("short", [0, 5])
def test_every_batch_of_an_epoch_is_mixed_from_many_shards(shards, short):
    # Also where the number of shards leaves a remainder, and where the last one is short.
    counts = [64] * (shards - 1) + [64 - short]
    found = Order(counts, 3).epoch(0).shards
    batches = found[: len(found) // 64 * 64].reshape(-1, 64)
    for row in batches.tolist():
        assert len(set(row)) >= min(shards, LANES) - 1
        assert max(row.count(shard) for shard in set(row)) <= -(-64 // min(shards, LANES)) + 8


def test_neighbours_of_the_set_are_as_far_apart_as_in_a_full_shuffle():
    counts, size = [16] * 256, 4096
    distances = {"ours": [], "full": []}
    for epoch in range(8):
        place = np.argsort(numbers(counts, [Order(counts, 5).epoch(epoch)]))
        full = np.random.default_rng(epoch).permutation(size)
        for name, order in (("ours", place), ("full", full)):
            distances[name].append(np.abs(np.diff(order)).mean() / size)
    # Samples of one shard stay in one window of 16 shards: 15 of 16 neighbours are of the same shard.
    assert 0.01 < np.mean(distances["ours"]) < np.mean(distances["full"]) == pytest.approx(1 / 3, abs=0.01)
    # Two shards that are neighbours land anywhere.
    shard_place = np.argsort(np.argsort([place[s * 16] for s in range(256)]))
    assert np.abs(np.diff(shard_place)).mean() / 256 == pytest.approx(1 / 3, abs=0.08)


def test_resuming_late_takes_no_longer_than_starting():
    order = Order([64] * 100_000, 0)
    part = next(order.stream(10**12))
    assert isinstance(part, Places) and len(part) <= 64 * LANES


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Reader(rank=2, world=2), r"rank 2 is outside 0\.\.1"),
        (lambda: Reader(worker=-1), r"worker -1 is outside 0\.\.0"),
        (lambda: Reader(block=0), "block 0 must be at least 1"),
        (lambda: Order([1], -1), "seed -1 must not be negative"),
        (lambda: Order([1, 0], 0), "a shard holds no sample"),
        (lambda: next(Order([1], 0).stream(-1)), "cannot start at position -1"),
        (lambda: next(Order([], 0).stream()), "cannot start at position 0 of 0 samples"),
    ],
)
def test_numbers_out_of_bounds_are_refused(make, message):
    with pytest.raises(ValueError, match=message):
        make()


def test_an_empty_set_has_empty_epochs():
    assert len(Order([], 0).epoch(3)) == 0
