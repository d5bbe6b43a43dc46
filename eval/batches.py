"""Batches of real slices from a set of shards."""

from collections.abc import Iterator, Sequence
from pathlib import Path

import torch
from torch import Tensor

from shards.places import Place
from shards.read import open_set
from shards.sample import ShardError


class SliceBatches:
    """Batches ``(image, label, patients)`` of a set, in stored order, as often as they are asked for.

    ``image`` is float32 ``(B, 1, H, W)`` in [0, 1], ``label`` uint8 ``(B, H, W)`` dense codes, ``patients``
    a list of B patient ids.

    Args:
        path: folder or URL of the set.
        batch_size: B, the last batch may be smaller.

    Raises:
        ShardError: the set is broken, or holds no images.
    """

    def __init__(self, path: Path | str | Place, batch_size: int) -> None:
        opened = open_set(path)
        self.place = opened.place
        self.phantom = bool(opened.manifest.phantom)
        self.spacing_mm = float(opened.manifest.identity["grid"]["spacing_mm"])
        self._batch_size = batch_size
        self._images = self._labels = torch.empty(0)
        self._records: list[dict] = []
        if not len(opened):
            return
        arrays = opened.read()
        if arrays.images is None:
            raise ShardError(f"{path}: the set holds label maps without images; evaluation needs images")
        self._images = torch.from_numpy(arrays.images)
        self._labels = torch.from_numpy(arrays.labels)
        self._records = arrays.records

    @property
    def slices(self) -> int:
        """Number of slices."""
        return len(self._records)

    @property
    def patients(self) -> list[str]:
        """Patient of every slice."""
        return [str(record["patient"]) for record in self._records]

    def __len__(self) -> int:
        """Number of batches."""
        return -(-self.slices // self._batch_size)

    def __iter__(self) -> Iterator[tuple[Tensor, Tensor, Sequence[str]]]:
        """The batches, from the first."""
        patients = self.patients
        for start in range(0, self.slices, self._batch_size):
            part = slice(start, start + self._batch_size)
            yield self._images[part, None].float(), self._labels[part], patients[part]

    def slice_at(self, index: int) -> tuple[Tensor, Tensor, dict]:
        """Image ``(H, W)``, label ``(H, W)`` and record of one slice."""
        return self._images[index].float(), self._labels[index], self._records[index]
