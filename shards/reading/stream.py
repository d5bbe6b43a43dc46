"""Batches from shards for training: an endless torch dataset that resumes at any position."""

from collections.abc import Iterator
from itertools import islice
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import IterableDataset

from synthspine.shards.format.order import LANES, Reader
from synthspine.shards.format.sample import Sample, ShardError
from synthspine.shards.reading.open import ShardSet

Batch = tuple[Tensor, Tensor, list[dict[str, Any]]] | tuple[Tensor, Tensor]


class ShardStream(IterableDataset[Batch]):
    """Shuffled batches of a set, epoch after epoch.

    The batch of a step is a function of (set, seed, position, ranks): all ranks together take
    ``batch_size * world`` samples a step, and position ``step * batch_size * world`` is enough to resume with
    any number of ranks. Use it in a ``DataLoader`` with ``batch_size=None``; workers share the batches and do
    not change them. Threads prefetch and check shards, so no or one worker suffices; each further worker
    reads all shards of the rank again.

    Args:
        shards: the set; it must have images.
        batch_size: samples of this rank in a batch.
        seed: seed of the order.
        rank: this process, 0..world-1.
        world: number of processes.
        start: first position: the number of samples that all ranks together have read, over all epochs.
        records: whether batches include the records.
        lanes: shards that are mixed. With more than 16 ranks, as many lanes as ranks avoid that several ranks
            read the same shards; a run has to keep it to be resumed.

    Yields images, float16 in [0, 1], ``(B, 1, H, W)``, dense codes, uint8, ``(B, H, W)``, and with
    ``records`` a list of B records.

    Raises:
        ValueError: an empty set, or a number out of bounds.
        ShardError: during iteration: a shard is missing or damaged, or a sample has no image.
    """

    def __init__(
        self,
        shards: ShardSet,
        batch_size: int,
        *,
        seed: int = 0,
        rank: int = 0,
        world: int = 1,
        start: int = 0,
        records: bool = False,
        lanes: int = LANES,
    ) -> None:
        super().__init__()
        if not len(shards):
            raise ShardError(f"{shards.place}: the set is empty; there is nothing to train on")
        self.shards = shards
        self.reader = Reader(rank=rank, world=world, block=batch_size)
        self.seed = seed
        self.start = start
        self.records = records
        self.lanes = lanes

    def __iter__(self) -> Iterator[Batch]:
        samples = self.shards.stream(self.seed, self.start, reader=self.reader.in_worker(), lanes=self.lanes)
        while True:
            yield self._collate(list(islice(samples, self.reader.block)))

    def position(self, batches: int) -> int:
        """Position after that many batches of this stream: the ``start`` to resume with."""
        return self.start + batches * self.reader.block * self.reader.world

    def _collate(self, samples: list[Sample]) -> Batch:
        images = np.stack([self._image(sample) for sample in samples])
        codes = np.stack([sample.label for sample in samples])
        batch = torch.from_numpy(images).unsqueeze(1), torch.from_numpy(codes)
        return (*batch, [sample.record for sample in samples]) if self.records else batch

    def _image(self, sample: Sample) -> np.ndarray:
        if sample.image is None:
            raise ShardError(f"{self.shards.place}: sample {sample.key} has no image to train on")
        return sample.image
