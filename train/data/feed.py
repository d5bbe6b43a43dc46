"""Feeds: where the batches of training come from.

A batch is a function of (feed, step, place of the rank): a feed has no state to save, and all ranks together
see the batch of one rank alone.
"""

from concurrent.futures import Future
from copy import copy
from functools import partial
from typing import Protocol

import numpy as np
import torch
from torch import Tensor
from tqdm import tqdm

from synthspine.gen import GeneratorConfig, draw, render
from synthspine.gen.generator import CHUNK
from synthspine.gen.geometry.refine import refine, refine_maps
from synthspine.shards.reading.open import SampleArrays, ShardSet
from synthspine.shards.reading.prefetch import Prefetcher
from synthspine.shards.reading.stream import ShardStream
from synthspine.train.data.augment import AugmentConfig, augment
from synthspine.train.data.finite import FiniteImages
from synthspine.train.runtime.distributed import Ranks

MOST_STEPS_AT_ONCE = 16
"""A GPU renders no more steps than this in one call: the memory of two such calls is held."""


class Feed(Protocol):
    """An object that gives the batch of a step."""

    def batch(self, step: int) -> tuple[Tensor, Tensor]:
        """Images of this rank, float32 in [0, 1], ``(B, 1, H, W)``; dense codes, uint8, ``(B, H, W)``.

        Codes are refined (``gen.geometry.refine``) where the label scheme needs it.
        """


class RenderFeed:
    """Renders label maps on the device, inside the step; place ``i`` of the stream is generator sample ``i``.

    The bank is label maps, dense codes, uint8, shape ``(N, H, W)``; a batch is that of all ranks together.
    ``odds`` (``gen.geometry.side_slices.map_odds``) says how likely each map is; all alike where None.
    """

    def __init__(
        self,
        bank: np.ndarray,
        config: GeneratorConfig,
        *,
        seed: int,
        batch_size: int,
        ranks: Ranks,
        odds: Tensor | None = None,
        refined: bool = False,
    ) -> None:
        self.bank = torch.from_numpy(bank).to(ranks.device)
        self.config = config
        self.seed = seed
        self.batch_size = batch_size
        self.ranks = ranks
        self.odds = odds
        self.refined = refined
        self.steps = 1

    def joined(self, steps: int) -> "RenderFeed":
        """A feed whose batch ``k`` is that of steps ``k * steps`` and following, rendered in one call."""
        feed = copy(self)
        feed.steps = steps
        return feed

    @property
    def steps_at_once(self) -> int:
        """How many steps a call should render: on a GPU as many as fill it, because calls take its time."""
        samples = -(-self.batch_size // self.ranks.world_size)
        filled = CHUNK["cuda"] // (samples * self.bank[0].numel())
        return 1 if self.bank.device.type == "cpu" else max(1, min(MOST_STEPS_AT_ONCE, filled))

    def batch(self, step: int) -> tuple[Tensor, Tensor]:
        """See :class:`Feed`."""
        steps = range(step * self.steps, (step + 1) * self.steps)
        indices = torch.tensor([own for each in steps for own in self.ranks.positions(each, self.batch_size)])
        return render_samples(
            self.bank, self.config, self.seed, indices, odds=self.odds, refined=self.refined
        )


def render_samples(
    bank: Tensor,
    config: GeneratorConfig,
    seed: int,
    indices: Tensor,
    *,
    odds: Tensor | None = None,
    refined: bool = False,
) -> tuple[Tensor, Tensor]:
    """Images and dense codes of generator samples, on the device of the bank; indices lie on the CPU."""
    with torch.no_grad():
        maps = len(bank) if odds is None else odds
        params = draw(config, seed, indices, maps=maps)
        return render(bank, params, refined=refined)


class RealFeed:
    """Augments real slices that lie on the device; an epoch takes every slice once, in its own order.

    Args:
        arrays: the slices, with images that are finite; copied to the device.
        config: ranges of the augmentation; None for none.
        spacing_mm: pixel size where codes are refined; None where they are not.

    Raises:
        ValueError: the set has no images.
    """

    def __init__(
        self,
        arrays: SampleArrays,
        config: AugmentConfig | None,
        *,
        seed: int,
        batch_size: int,
        ranks: Ranks,
        spacing_mm: float | None = None,
    ) -> None:
        if arrays.images is None:
            raise ValueError("a set of label maps has no images to train on")
        self._images = torch.from_numpy(arrays.images).to(ranks.device)
        self._labels = torch.from_numpy(arrays.labels).to(ranks.device)
        if spacing_mm is not None:
            self._labels = refine_maps(self._labels, (spacing_mm, spacing_mm))
        self.config = config
        self.seed = seed
        self.batch_size = batch_size
        self.ranks = ranks

    def batch(self, step: int) -> tuple[Tensor, Tensor]:
        """See :class:`Feed`."""
        positions = self.ranks.positions(step, self.batch_size)
        size, device = len(self._labels), self._labels.device
        orders = {epoch: self._order(epoch) for epoch in {position // size for position in positions}}
        places = torch.tensor([int(orders[position // size][position % size]) for position in positions])
        places = places.to(device, non_blocking=True)
        images, labels = self._images[places].float().unsqueeze(1), self._labels[places]
        if self.config is None:
            return images, labels
        stream = torch.tensor(positions).to(device, non_blocking=True)
        with torch.no_grad():
            return augment(images, labels, self.seed, stream, self.config)

    def _order(self, epoch: int) -> np.ndarray:
        # Raw bits, not Generator.permutation: the bit stream is fixed for ever, the method is not.
        bits = np.random.PCG64(np.random.SeedSequence([self.seed, epoch]))
        return np.argsort(bits.random_raw(len(self._labels)), kind="stable")


class ShardFeed:
    """Reads rendered samples from shards, in the order of :class:`shards.reading.stream.ShardStream`.

    With ``spacing_mm``, the pixel size, codes are refined; shards do not say where a sacrum is painted.
    Images that are not finite are told, and nothing is learned from them.

    Raises:
        ValueError: the ranks cannot share a batch evenly, or the set is empty.
    """

    def __init__(
        self,
        samples: ShardSet,
        *,
        seed: int,
        batch_size: int,
        ranks: Ranks,
        spacing_mm: float | None = None,
    ) -> None:
        if batch_size % ranks.world_size:
            raise ValueError(f"batch size {batch_size} is not a multiple of the {ranks.world_size} ranks")
        share, rank, world = batch_size // ranks.world_size, ranks.rank, ranks.world_size
        self._new_stream = partial(
            ShardStream, samples, share, seed=seed, rank=rank, world=world, records=True
        )
        self._finite = FiniteImages(samples.place, tqdm.write)
        self._batch_size = batch_size
        self._device = ranks.device
        self._spacing_mm = spacing_mm
        self._next_step = 0
        self._stream = iter(self._new_stream())

    def batch(self, step: int) -> tuple[Tensor, Tensor]:
        """See :class:`Feed`. Steps in order stream; a jump opens the stream again."""
        if step != self._next_step:
            self._stream = iter(self._new_stream(start=step * self._batch_size))
        self._next_step = step + 1
        read = next(self._stream)
        assert len(read) == 3
        images, codes = self._finite.clean(*read)
        codes = codes.to(self._device)
        if self._spacing_mm is not None:
            codes = refine(codes, (self._spacing_mm, self._spacing_mm))
        return images.to(self._device).float(), codes


class SplitFeed:
    """The batches of single steps, from a feed whose batches hold those of ``steps`` steps each."""

    def __init__(self, feed: Feed, steps: int) -> None:
        self._feed = feed
        self._steps = steps
        self._held: tuple[int, tuple[Tensor, Tensor]] | None = None

    def batch(self, step: int) -> tuple[Tensor, Tensor]:
        """See :class:`Feed`."""
        number, place = divmod(step, self._steps)
        if self._held is None or self._held[0] != number:
            self._held = None
            self._held = number, self._feed.batch(number)
        images, codes = self._held[1]
        return images.chunk(self._steps)[place], codes.chunk(self._steps)[place]


_Prepared = tuple[tuple[Tensor, Tensor], torch.cuda.Event | None]


class PrefetchedFeed:
    """A feed that prepares the batch of the next step in a thread; on CUDA also on a stream of its own.

    On a GPU the thread launches the rendering of batches, or copies them to the device, beside the kernels of
    the network.
    """

    def __init__(self, feed: Feed, device: torch.device) -> None:
        self._feed = feed
        self._stream = torch.cuda.Stream(device) if device.type == "cuda" else None
        self._prefetcher = Prefetcher(self._prepare, name="feed")
        self._next: tuple[int, Future[_Prepared]] | None = None

    def batch(self, step: int) -> tuple[Tensor, Tensor]:
        """See :class:`Feed`. The batch of the step after is begun."""
        begun = self._next
        coming = begun[1] if begun is not None and begun[0] == step else self._prefetcher.begin(step)
        batch, ready = coming.result()
        if ready is not None:
            current = torch.cuda.current_stream()
            current.wait_event(ready)
            for tensor in batch:
                # Its memory must not be given to the next batch while this stream still reads it.
                tensor.record_stream(current)
        self._next = step + 1, self._prefetcher.begin(step + 1)
        return batch

    def close(self) -> None:
        """Stop; a batch that was begun is waited for and dropped."""
        self._next = None
        self._prefetcher.close(wait=True)

    def _prepare(self, step: int) -> _Prepared:
        if self._stream is None:
            return self._feed.batch(step), None
        with torch.cuda.device(self._stream.device), torch.cuda.stream(self._stream):
            batch = self._feed.batch(step)
            ready = torch.cuda.Event()
            ready.record(self._stream)
        return batch, ready
