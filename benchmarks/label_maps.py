"""The label maps that all benchmarks render, in memory and as a set of shards."""

from collections.abc import Callable, Sequence
from pathlib import Path

import torch
from torch import Tensor

from synthspine.gen.core.anatomy import CANAL, disc_code, vertebra_code
from synthspine.shards import open_place
from synthspine.shards.building.build import build_set
from synthspine.shards.building.workers import ALONE
from synthspine.shards.format.sample import Sample, sample_key
from synthspine.shards.storage.place import Place

LEVELS = 6
MAPS = 4
PER_SHARD = 64
"""Samples in a shard of the benchmarks' sets."""
SLICE = (320, 256)
"""Grid of the slices in these sets, in pixels of 1 mm."""

_LOWEST, _PITCH, _DISC = 0.93, 0.14, 0.24
"""Lower end of the spine and height of a level, shares of the grid; height of a disc, share of a level."""


def label_maps(grid: tuple[int, ...]) -> Tensor:
    """Four spines of six vertebrae with arches, six discs and a canal: 14 labels with the background.

    They are drawn by formula, so every grid shows the same anatomy. The grid is ``(H, W)`` or ``(Z, H, W)``:
    left to right, superior to inferior, anterior to posterior. Returned are dense codes, uint8,
    ``(4, *grid)``.
    """
    down, back = (_centres(grid[axis]) for axis in (-2, -1))
    side = (_centres(grid[0]) - 0.5).abs().view(-1, 1, 1) if len(grid) == 3 else torch.zeros(1, 1)
    maps = [_spine(down.view(-1, 1), back, side, number / MAPS) for number in range(MAPS)]
    return torch.stack([codes.expand(grid) for codes in maps]).contiguous()


class SamplesInMemory:
    """Samples in memory as the source of a set; see :class:`shards.building.build.SampleSource`."""

    left_out = ()

    def __init__(self, name: str, samples: Sequence[Sample]) -> None:
        self._name, self._samples = name, samples

    def identity(self) -> dict[str, object]:
        """The entries that readers of the manifest need."""
        grid = {"spacing_mm": 1.0, "shape": list(SLICE)}
        return {"version": 2, "set": self._name, "samples_per_shard": PER_SHARD, "grid": grid}

    def made_with(self) -> dict[str, str]:
        """Nothing: the samples are given."""
        return {}

    def prepare(self, *_: object) -> None:
        """Nothing to prepare."""

    def __len__(self) -> int:
        return len(self._samples)

    def begin(self, start: int, stop: int) -> Callable[[], Sequence[Sample]]:
        """Samples ``start`` to ``stop`` (excluded)."""
        return lambda: self._samples[start:stop]


def write_samples(folder: Path, samples: Sequence[Sample]) -> Place:
    """Write a set of samples; the folder's name is the set's name."""
    place, source = open_place(folder), SamplesInMemory(folder.name, samples)
    build_set(place, source, source.identity(), phantom=True, samples_per_shard=PER_SHARD, workers=ALONE)
    return place


def write_label_maps(folder: Path) -> Place:
    """Write a set of the four label maps as slices of 320 x 256."""
    origin = {"source": "1_t1", "patient": "1", "slice": 0}
    maps = enumerate(label_maps(SLICE).numpy())
    return write_samples(folder, [Sample(sample_key(number), None, codes, origin) for number, codes in maps])


def _centres(count: int) -> Tensor:
    """Centres of the pixels of an axis of length 1."""
    return (torch.arange(count) + 0.5) / count


def _spine(down: Tensor, back: Tensor, side: Tensor, phase: float) -> Tensor:
    middle = 0.42 + 0.05 * torch.sin(6 * (down + phase))
    behind = back - middle
    level = (_LOWEST - down) / _PITCH
    number = level.floor()
    within = level - number
    rank = torch.where((number >= 0) & (number < LEVELS), number + 1, 0)
    disc = (within < _DISC) & (behind.abs() < 0.072) & (side < 0.18)
    waist = 0.066 - 0.03 * (within - _DISC) * (1 - within)
    arch = ((behind - 0.20) / 0.06) ** 2 + ((within - 0.45) / 0.25) ** 2 + (side / 0.06) ** 2 < 1
    bone = (within >= _DISC) & (behind.abs() < waist) & (side < 0.17)
    canal = ((behind - 0.105).abs() < 0.026) & (side < 0.08) & (down > 0.03) & (down < 0.97)
    codes = torch.where(canal, CANAL, 0)
    codes = torch.where((bone | arch) & (rank > 0) & (codes == 0), rank * vertebra_code(1), codes)
    return torch.where(disc & (rank > 0), rank - 1 + disc_code(1), codes).to(torch.uint8)
