"""Reading a set: every shard is checked against the manifest before its first sample is handed on.

The order of an epoch is a pure function of (seed, epoch, position). Ranks take every ``world``-th position,
so each sample is seen once per epoch by any number of ranks, and a position is all there is to resume from.
"""

import hashlib
import io
import tarfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from shards.manifest import Manifest, ShardEntry, load_manifest
from shards.sample import Sample, ShardError, decode

# Shards whose samples are mixed with each other in an epoch: bounds the memory of a reader.
SHUFFLE_WINDOW = 4


@dataclass(frozen=True, slots=True, eq=False)
class SampleArrays:
    """A whole set in memory.

    Attributes:
        images: float16 in [0, 1], shape ``(N, H, W)``; None in sets of label maps.
        labels: dense codes, uint8, shape ``(N, H, W)``.
        records: one record per sample.
    """

    images: np.ndarray | None
    labels: np.ndarray
    records: list[dict[str, Any]]


def open_set(path: Path | str) -> "ShardSet":
    """Open a complete set.

    Raises:
        ShardError: there is no manifest, or not one of this version.
    """
    return ShardSet(Path(path), load_manifest(Path(path)))


class ShardSet:
    """A complete set on disk.

    Attributes:
        path: its folder.
        manifest: what it holds.
    """

    def __init__(self, path: Path, manifest: Manifest) -> None:
        self.path = path
        self.manifest = manifest

    def __len__(self) -> int:
        """Number of samples."""
        return self.manifest.samples

    def samples(self) -> Iterator[Sample]:
        """All samples in stored order, one shard in memory at a time.

        Raises:
            ShardError: a shard is missing or is not the one that was written.
        """
        for entry in self.manifest.shards:
            yield from self._load(entry)

    def read(self) -> SampleArrays:
        """All samples at once, in stored order.

        Raises:
            ShardError: the set is empty, a shard is broken, or its samples differ in shape.
        """
        if not len(self):
            raise ShardError(f"{self.path}: the set is empty")
        labels = images = None
        records = []
        for index, sample in enumerate(self.samples()):
            if labels is None:
                labels = np.empty((len(self), *sample.label.shape), dtype=np.uint8)
                images = None if sample.image is None else np.empty(labels.shape, dtype=np.float16)
            if sample.label.shape != labels.shape[1:] or (sample.image is None) != (images is None):
                raise ShardError(f"{self.path}: sample {sample.key} is unlike the first one of the set")
            labels[index] = sample.label
            if images is not None:
                images[index] = sample.image
            records.append(sample.record)
        assert labels is not None
        return SampleArrays(images, labels, records)

    def order(self, seed: int, epoch: int) -> np.ndarray:
        """Place in the set of every position of an epoch, int64, shape ``(N,)``: a permutation."""
        return np.concatenate([places for _, places in self._windows(seed, epoch)] or [np.zeros(0, np.int64)])

    def epoch(self, seed: int, epoch: int, rank: int = 0, world: int = 1, start: int = 0) -> Iterator[Sample]:
        """The samples of one epoch that fall to one rank, shuffled.

        Args:
            seed: seed of the run.
            epoch: number of the epoch; each has its own order.
            rank: this rank, 0..world-1. It takes the positions ``rank, rank + world, ...``.
            world: number of ranks.
            start: position of all ranks together to go on from, to resume within an epoch.

        Raises:
            ValueError: rank outside of the world.
            ShardError: a shard is missing or is not the one that was written.
        """
        if not 0 <= rank < world:
            raise ValueError(f"rank {rank} is outside 0..{world - 1}")
        first = np.cumsum([0, *(entry.samples for entry in self.manifest.shards)])
        position = 0
        for shards, places in self._windows(seed, epoch):
            positions = np.arange(position, position + len(places))
            mine = places[(positions % world == rank) & (positions >= start)]
            position += len(places)
            if not len(mine):
                continue
            loaded = {shard: list(self._load(self.manifest.shards[shard])) for shard in shards}
            for place in mine:
                shard = int(np.searchsorted(first, place, side="right")) - 1
                yield loaded[shard][int(place - first[shard])]

    def _windows(self, seed: int, epoch: int) -> Iterator[tuple[list[int], np.ndarray]]:
        """Groups of shards in this epoch's order, each with its samples' places in this epoch's order."""
        entries = self.manifest.shards
        first = np.cumsum([0, *(entry.samples for entry in entries)])
        # Raw bits, not Generator.permutation: the bit stream is fixed for ever, the method is not.
        bits = np.random.PCG64(np.random.SeedSequence([seed, epoch]))
        shard_order = np.argsort(np.asarray(bits.random_raw(len(entries))), kind="stable")
        for start in range(0, len(entries), SHUFFLE_WINDOW):
            shards = [int(shard) for shard in shard_order[start : start + SHUFFLE_WINDOW]]
            places = np.concatenate([np.arange(first[shard], first[shard + 1]) for shard in shards])
            yield shards, places[np.argsort(np.asarray(bits.random_raw(len(places))), kind="stable")]

    def _load(self, entry: ShardEntry) -> Iterator[Sample]:
        path = self.path / entry.name
        try:
            content = path.read_bytes()
        except OSError as error:
            raise ShardError(f"{path}: cannot be read ({error.strerror}); make the set again") from None
        if len(content) != entry.bytes:
            raise ShardError(f"{path}: {len(content)} bytes instead of {entry.bytes}; make the set again")
        if hashlib.sha256(content).hexdigest() != entry.sha256:
            raise ShardError(f"{path}: its content is not what was written (SHA-256); make the set again")
        yield from read_tar(content, str(path))


def read_tar(content: bytes, name: str) -> Iterator[Sample]:
    """The samples of a shard's bytes, in order.

    Args:
        content: the whole file.
        name: what to call it in errors.

    Raises:
        ShardError: not a tar, or not one of samples.
    """
    try:
        with tarfile.open(fileobj=io.BytesIO(content), mode="r:") as tar:
            key, files = "", dict[str, bytes]()
            for entry in tar:
                entry_key, _, extension = entry.name.partition(".")
                if entry_key != key and files:
                    yield decode(key, files)
                    files = {}
                stream = tar.extractfile(entry)
                if stream is None:
                    raise ShardError(f"{entry.name} is not a plain file")
                key, files[extension] = entry_key, stream.read()
            if files:
                yield decode(key, files)
    except (tarfile.TarError, ShardError) as error:
        raise ShardError(f"{name}: {error}") from None
