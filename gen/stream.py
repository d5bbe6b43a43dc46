"""Whole batches rendered on a device, one after another."""

from collections.abc import Iterator, Sequence
from itertools import count

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import IterableDataset, get_worker_info

from synthspine.gen.core.device import pick_device
from synthspine.gen.core.settings import whole_number
from synthspine.gen.dataset import SpineSynthGenerator


class SyntheticStream(IterableDataset[tuple[Tensor, Tensor]]):
    """Batches of synthetic pictures, rendered together on one device, the same every time.

    Batch ``k`` holds samples ``k * batch_size`` and the following ones: a function of (generator, label
    maps, ``k``) alone. Training resumes where it was by ``first``. In a ``DataLoader(stream,
    batch_size=None, num_workers=W)`` the workers take turns, so the order is that of one worker.

    Args:
        label_maps: maps of one shape, ``(H, W)`` or ``(Z, H, W)``, integers.
        generator: how they are rendered; its seed makes the series.
        batch_size: samples per batch.
        device: where batches are rendered and stay.
        first: number of the first batch.
        batches: how many there are; None for no end.

    Yields image, float32 in [0, 1], ``(batch_size, 1, *grid)``, and target in the label scheme of the
    generator, int64, ``(batch_size, *grid)``, 255 where nothing is annotated.

    Raises:
        TypeError: an argument of another kind, or maps that do not hold integers.
        ValueError: no map, maps of different shapes, an unknown label, a device that is not there, or a
            batch size, first batch or number of batches out of bounds.
    """

    def __init__(
        self,
        label_maps: Sequence[np.ndarray | Tensor] | np.ndarray | Tensor,
        generator: SpineSynthGenerator,
        batch_size: int = 16,
        *,
        device: torch.device | str = "cpu",
        first: int = 0,
        batches: int | None = None,
    ) -> None:
        if not isinstance(generator, SpineSynthGenerator):
            raise TypeError(f"generator is {generator!r}; want a SpineSynthGenerator")
        maps = [torch.as_tensor(label_map) for label_map in label_maps]
        shapes = sorted({tuple(label_map.shape) for label_map in maps})
        if len(shapes) != 1:
            raise ValueError(f"the label maps have shapes {shapes}; want maps of one shape")
        self.bank = generator.codes(torch.stack(maps).unsqueeze(1))
        self.generator = generator
        self.batch_size = whole_number("batch_size", batch_size, least=1)
        self.device = pick_device(str(device))
        self.first = whole_number("first", first, least=0)
        self.batches = None if batches is None else whole_number("batches", batches, least=0)

    def __iter__(self) -> Iterator[tuple[Tensor, Tensor]]:
        worker = get_worker_info()
        own, workers = (worker.id, worker.num_workers) if worker else (0, 1)
        bank = self.bank.to(self.device)
        for batch in count(own, workers):
            if self.batches is not None and batch >= self.batches:
                return
            start = (self.first + batch) * self.batch_size
            indices = torch.arange(start, start + self.batch_size)
            image, target = self.generator.sample_codes(bank, indices=indices)
            yield image, target.long()
