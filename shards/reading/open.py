"""Reading a set: every shard is checked against the manifest before its first sample is used.

The order is a pure function of (seed, position), see ``shards.format.order``: any number of ranks and workers
read each sample once per epoch, and one position is enough to resume.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from synthspine.gen.core.documents import UnfitFile
from synthspine.shards.format.manifest import Manifest, load_manifest
from synthspine.shards.format.order import LANES, Order, Places, Reader
from synthspine.shards.format.sample import Sample, ShardError, named_samples, sample_key
from synthspine.shards.format.tar import unpack
from synthspine.shards.reading.pipeline import SetPipeline, WebSample, web_sample
from synthspine.shards.reading.prefetch import read_ahead
from synthspine.shards.reading.rendered import rendered_content
from synthspine.shards.storage.cache import ShardCache, WrongContent, checked_content, default_cache
from synthspine.shards.storage.opening import open_place
from synthspine.shards.storage.place import Place

_REPAIR = "synthspine shards --rebuild writes it again"


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


def open_set(where: Path | str | Place, cache: ShardCache | None = None) -> "ShardSet":
    """Open a complete set.

    Args:
        where: its folder, or a URL of ``http``, ``https``, ``s3`` or another protocol of fsspec.
        cache: local copies of the shards of a URL; by default :func:`shards.storage.cache.default_cache`.

    Raises:
        ShardError: no manifest, or one that cannot be used.
        OSError: the place cannot be read.
        ValueError: a URL that cannot be used.
    """
    place = open_place(where)
    if cache is None and place.path is None:
        cache = default_cache()
    return ShardSet(place, load_manifest(place), cache)


class ShardSet:
    """A complete set.

    Methods that read shards raise ShardError if one is missing or damaged, and OSError if one cannot be read.

    Attributes:
        place: its folder or URL.
        manifest: its manifest.
    """

    def __init__(self, place: Place, manifest: Manifest, cache: ShardCache | None = None) -> None:
        self.place = place
        self.manifest = manifest
        self._cache = cache
        self._first = np.cumsum([0, *(entry.samples for entry in manifest.shards)])

    def __len__(self) -> int:
        """Number of samples."""
        return self.manifest.samples

    def samples(self) -> Iterator[Sample]:
        """All samples in stored order."""
        rows = (np.arange(entry.samples) for entry in self.manifest.shards)
        yield from self._read(Places(np.full(len(row), shard), row) for shard, row in enumerate(rows))

    def read(self) -> SampleArrays:
        """All samples at once, in stored order.

        Raises:
            ShardError: also if the set is empty, or samples differ in shape.
        """
        if not len(self):
            raise ShardError(f"{self.place}: the set is empty; its sources hold no usable slice")
        labels = images = None
        records = []
        for index, sample in enumerate(self.samples()):
            if labels is None:
                labels = np.empty((len(self), *sample.label.shape), dtype=np.uint8)
                images = None if sample.image is None else np.empty(labels.shape, dtype=np.float16)
            if sample.label.shape != labels.shape[1:] or (sample.image is None) != (images is None):
                raise ShardError(f"{self.place}: sample {sample.key} differs in shape from the first one")
            labels[index] = sample.label
            if images is not None:
                images[index] = sample.image
            records.append(sample.record)
        assert labels is not None
        return SampleArrays(images, labels, records)

    def order(self, seed: int, lanes: int = LANES) -> Order:
        """The order of the samples for a seed."""
        return Order([entry.samples for entry in self.manifest.shards], seed, lanes)

    def stream(
        self,
        seed: int,
        start: int = 0,
        stop: int | None = None,
        reader: Reader | None = None,
        lanes: int = LANES,
    ) -> Iterator[Sample]:
        """Shuffled samples, epoch after epoch; the next shards are read and checked in the background.

        Args:
            seed: seed of the order.
            start: first position, counted over epochs: the number of samples that all readers have read.
            stop: position after the last one; None for an endless stream.
            reader: which of the positions; all of them by default.
            lanes: shards that are mixed; see :mod:`shards.format.order`.

        Raises:
            ValueError: an endless stream of an empty set, or a negative position or seed.
        """
        yield from self._read(self.order(seed, lanes).stream(start, stop, reader))

    def epoch(self, seed: int, epoch: int, rank: int = 0, world: int = 1) -> Iterator[Sample]:
        """The samples of one epoch for one rank; as :meth:`stream`."""
        first = epoch * len(self)
        yield from self.stream(seed, first, first + len(self), Reader(rank=rank, world=world))

    def pipeline(
        self,
        seed: int,
        start: int = 0,
        epochs: int | None = 1,
        *,
        rank: int = 0,
        world: int = 1,
        block: int = 1,
        lanes: int = LANES,
    ) -> SetPipeline:
        """A ``webdataset.DataPipeline`` of decoded, verified samples in the order of :meth:`stream`.

        Args:
            seed: seed of the order.
            start: first position, counted over epochs; ``epoch * len(self)`` begins an epoch.
            epochs: number of epochs, including the one that holds ``start``; None for an endless pipeline.
            rank: this process, 0..world-1.
            world: number of processes.
            block: samples that a worker takes at a time: the batch size, if workers make the batches.
            lanes: as for :meth:`stream`.

        Raises:
            ValueError: a number out of bounds.
        """
        if start < 0 or (epochs is not None and epochs < 1):
            raise ValueError(f"start {start} must not be negative, epochs {epochs} at least 1")
        stop = None if epochs is None else (start // max(1, len(self)) + epochs) * len(self)
        stream = partial(self._web_samples, seed, start, stop, lanes)
        return SetPipeline(stream, start, stop, Reader(rank=rank, world=world, block=block))

    def _web_samples(
        self, seed: int, start: int, stop: int | None, lanes: int, reader: Reader
    ) -> Iterator[WebSample]:
        for sample in self.stream(seed, start, stop, reader, lanes):
            shard = int(np.searchsorted(self._first, int(sample.key), side="right")) - 1
            yield web_sample(sample, str(self.place / self.manifest.shards[shard].name))

    def load(self, shard: int) -> list[Sample]:
        """The samples of one shard, by its number, checked; an error names the samples that are lost."""
        content, entry = self.content(shard), self.manifest.shards[shard]
        try:
            samples = list(unpack(content))
            if len(samples) != entry.samples:
                raise ShardError(f"{len(samples)} samples instead of {entry.samples}")
        except ShardError as error:
            raise ShardError(f"{self.place / entry.name}: {error}") from None
        return samples

    def content(self, shard: int) -> bytes:
        """The bytes of one shard, by its number; their length and SHA-256 are those of the manifest."""
        entry = self.manifest.shards[shard]
        if self.manifest.on_demand:
            return rendered_content(self.place, entry, self.manifest.most_bytes(entry.samples))
        read = partial(self.place.read, entry.name, entry.bytes)
        try:
            if self._cache is not None:
                return self._cache.fetch(entry.sha256, entry.bytes, read)
            return checked_content(read(), entry.sha256, entry.bytes)
        except FileNotFoundError:
            reason = "is missing"
        except WrongContent as error:
            reason = f"is damaged ({error})"
        except UnfitFile as error:
            if error.held is None:
                raise
            reason = f"is damaged ({error.held} bytes instead of {entry.bytes})"
        lost = named_samples(self.keys(shard))
        raise ShardError(f"{self.place / entry.name}: {reason}, and with it {lost}; {_REPAIR}")

    def keys(self, shard: int) -> list[str]:
        """Keys of the samples of one shard, by its number."""
        return [sample_key(index) for index in range(self._first[shard], self._first[shard + 1])]

    def _read(self, windows: Iterator[Places]) -> Iterator[Sample]:
        for places, shards in read_ahead(windows, self.load):
            for shard, row in zip(places.shards.tolist(), places.rows.tolist(), strict=True):
                yield shards(shard)[row].unparsed()
