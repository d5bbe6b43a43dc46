"""Batches of slices from a set of shards."""

from collections.abc import Iterator, Sequence
from pathlib import Path

import torch
from torch import Tensor

from synthspine.gen.geometry.refine import refine_maps
from synthspine.shards.format.sample import ShardError
from synthspine.shards.reading.open import open_set
from synthspine.shards.storage.place import Place

Batch = tuple[Tensor, Tensor, Sequence[str], Sequence[str]]
"""Images, float ``(B, 1, H, W)``, dense codes, uint8 ``(B, H, W)``, and patient and volume of every slice."""


class SliceBatches:
    """Batches ``(image, label, patients)`` of a set in stored order; can be iterated several times.

    ``image`` is float32 ``(B, 1, H, W)`` in [0, 1], ``label`` uint8 ``(B, H, W)`` dense codes, ``patients`` a
    list of B patient ids; the last batch may be smaller. Refined labels tell posterior elements and what may
    be sacrum apart (``gen.geometry.refine``).

    Raises ShardError if the set is broken, or has no images.
    """

    def __init__(
        self,
        path: Path | str | Place,
        batch_size: int,
        device: torch.device | str = "cpu",
        *,
        refined: bool = False,
    ) -> None:
        opened = open_set(path)
        self.place = opened.place
        self.phantom = bool(opened.manifest.phantom)
        self.spacing_mm = float(opened.manifest.identity["grid"]["spacing_mm"])
        self.identity_hash = opened.manifest.identity_hash
        self.label_digest = opened.manifest.label_digest
        self._batch_size = batch_size
        self.images = self._labels = torch.empty(0)
        self.records: list[dict] = []
        if not len(opened):
            return
        arrays = opened.read()
        if arrays.images is None:
            raise ShardError(f"{path}: the set has label maps without images; evaluation needs images")
        self.images = torch.from_numpy(arrays.images).to(device)
        self._labels = torch.from_numpy(arrays.labels).to(device)
        if refined:
            self._labels = refine_maps(self._labels, (self.spacing_mm, self.spacing_mm))
        self.records = arrays.records

    @property
    def slices(self) -> int:
        """Number of slices."""
        return len(self.records)

    @property
    def patients(self) -> list[str]:
        """Patient of every slice."""
        return [str(record["patient"]) for record in self.records]

    def __len__(self) -> int:
        """Number of batches."""
        return -(-self.slices // self._batch_size)

    def __iter__(self) -> Iterator[tuple[Tensor, Tensor, Sequence[str]]]:
        """Iterate over the batches from the first."""
        patients = self.patients
        for start in range(0, self.slices, self._batch_size):
            part = slice(start, start + self._batch_size)
            yield self.images[part, None].float(), self._labels[part], patients[part]

    def at(self, indices: Tensor) -> tuple[Tensor, Tensor]:
        """Images, float32 ``(B, 1, H, W)``, and labels ``(B, H, W)`` of slices, int64 ``(B,)``."""
        indices = indices.to(self.images.device)
        return self.images[indices, None].float(), self._labels[indices]


def spread_over_patients(
    patients: Sequence[str], per_patient: int, among: Sequence[int] | None = None
) -> list[int]:
    """Indices of slices evenly spread over the slices of every patient, ascending; 0 per patient for all.

    They are chosen from ``among``, by default from all.
    """
    by_patient: dict[str, list[int]] = {}
    for index in range(len(patients)) if among is None else among:
        by_patient.setdefault(patients[index], []).append(index)
    chosen: list[int] = []
    for indices in by_patient.values():
        count = len(indices) if per_patient == 0 else min(per_patient, len(indices))
        # Middles of equal parts, so that a single slice is the middle one.
        chosen += [indices[(2 * part + 1) * len(indices) // (2 * count)] for part in range(count)]
    return sorted(chosen)
