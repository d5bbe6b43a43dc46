"""The order of samples: a pure function of (seed, position), for any number of readers.

Shards are shuffled and grouped into *windows* of ``lanes`` shards (or a few more, if their number leaves a
remainder). The samples of a window, shard after shard and shuffled within each shard, are cut into ``lanes``
lanes of equal length: position ``p`` of a window is sample ``p // lanes`` of lane ``p % lanes``. So a batch
mixes all lanes. Readers that take every ``C``-th position need different lanes if ``C`` divides ``lanes``,
and thus different shards, except for shards that lie in two lanes.

Positions continue over epochs: ``position = epoch * samples + position within the epoch``.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np
from torch.utils.data import get_worker_info

LANES = 16


@dataclass(frozen=True, kw_only=True, slots=True)
class Reader:
    """The positions of one reader, counted from the position at which all readers start.

    Rank ``r`` takes the positions ``r, r + world, ...``. The workers of a rank take these in turn, ``block``
    at a time (a batch), so that batches do not depend on the number of workers.

    Attributes:
        rank: this process, 0..world-1.
        world: number of processes.
        worker: this worker of the process, 0..workers-1.
        workers: number of workers of each process.
        block: positions that a worker takes at a time.
    """

    rank: int = 0
    world: int = 1
    worker: int = 0
    workers: int = 1
    block: int = 1

    def __post_init__(self) -> None:
        if not 0 <= self.rank < self.world:
            raise ValueError(f"rank {self.rank} is outside 0..{self.world - 1}")
        if not 0 <= self.worker < self.workers:
            raise ValueError(f"worker {self.worker} is outside 0..{self.workers - 1}")
        if self.block < 1:
            raise ValueError(f"block {self.block} must be at least 1")

    def in_worker(self) -> "Reader":
        """The part of this worker, inside a worker process of a ``DataLoader``; elsewhere this reader."""
        info = get_worker_info()
        return self if info is None else replace(self, worker=info.id, workers=info.num_workers)

    def takes(self, offsets: np.ndarray) -> np.ndarray:
        """Whether this reader takes these offsets from the start: bool, of the shape of ``offsets``."""
        block = offsets // self.world // self.block
        return (offsets >= 0) & (offsets % self.world == self.rank) & (block % self.workers == self.worker)


@dataclass(frozen=True, slots=True, eq=False)
class Places:
    """Samples in the order in which they are read: shard of each, and its index in it, int64 ``(n,)``."""

    shards: np.ndarray
    rows: np.ndarray

    def __len__(self) -> int:
        return len(self.shards)


class Order:
    """The order of the samples of a set, from the number of samples of every shard.

    At least ``lanes`` shards are mixed; a run has to keep their number to be resumed. Raises ValueError for a
    shard without samples, a negative seed, or no lane.
    """

    def __init__(self, counts: Sequence[int], seed: int, lanes: int = LANES) -> None:
        self._counts = np.asarray(counts, dtype=np.int64)
        if (self._counts < 1).any():
            raise ValueError("a shard holds no sample")
        if seed < 0 or lanes < 1:
            raise ValueError(f"seed {seed} must not be negative, lanes {lanes} at least 1")
        self._seed = seed
        self._lanes = lanes
        self.samples = int(self._counts.sum())

    def epoch(self, epoch: int) -> Places:
        """All samples in the order of one epoch."""
        parts = list(self.stream(epoch * self.samples, (epoch + 1) * self.samples)) if self.samples else []
        empty = np.zeros(0, np.int64)
        return Places(
            np.concatenate([empty, *(part.shards for part in parts)]),
            np.concatenate([empty, *(part.rows for part in parts)]),
        )

    def stream(
        self, start: int = 0, stop: int | None = None, reader: Reader | None = None
    ) -> Iterator[Places]:
        """The samples of a reader, by default all, from a position on, window by window.

        Start and stop are counted over epochs; without a stop it has no end. Raises ValueError for a negative
        start, or an endless stream of no samples.
        """
        if start < 0 or (stop is None and not self.samples):
            raise ValueError(f"cannot start at position {start} of {self.samples} samples")
        reader = reader or Reader()
        epoch = start // self.samples if self.samples else 0
        while stop is None or epoch * self.samples < stop:
            first = epoch * self.samples
            for window in self._windows(epoch):
                size = int(self._counts[window].sum())
                if first + size > start:
                    offsets = np.arange(first, first + size) - start
                    mine = reader.takes(offsets) & (offsets < (stop or first + size) - start)
                    if mine.any():
                        places = self._mixed(epoch, window)
                        yield Places(places.shards[mine], places.rows[mine])
                first += size
                if stop is not None and first >= stop:
                    return
            epoch += 1

    def _windows(self, epoch: int) -> list[np.ndarray]:
        """The shards of an epoch in windows of ``lanes`` shards or a few more."""
        bits = self._bits(epoch, 0).random_raw(len(self._counts))
        shuffled = np.argsort(bits, kind="stable")
        return np.array_split(shuffled, max(1, len(shuffled) // self._lanes))

    def _mixed(self, epoch: int, window: np.ndarray) -> Places:
        """The samples of a window, lanes in turn."""
        counts = self._counts[window]
        rows = [
            np.argsort(self._bits(epoch, 1 + int(shard)).random_raw(int(count)), kind="stable")
            for shard, count in zip(window, counts, strict=True)
        ]
        size = int(counts.sum())
        lane_sizes = (size - np.arange(self._lanes) + self._lanes - 1) // self._lanes
        lane_starts = np.cumsum(lane_sizes) - lane_sizes
        positions = np.arange(size)
        turn = lane_starts[positions % self._lanes] + positions // self._lanes
        return Places(np.repeat(window, counts)[turn], np.concatenate(rows)[turn])

    def _bits(self, epoch: int, part: int) -> np.random.PCG64:
        # Raw bits, because NumPy guarantees the bit stream and not the result of Generator.permutation.
        return np.random.PCG64(np.random.SeedSequence(self._seed, spawn_key=(epoch, part)))
