"""What the benchmark of the generator measured."""

import math
from dataclasses import dataclass

import torch

from benchmarks.renderers import COMPILED
from benchmarks.timing import Timing

Grid = tuple[int, ...]


@dataclass(frozen=True, kw_only=True, slots=True)
class Measured:
    """Everything that was measured.

    Attributes:
        device: where ours rendered.
        presets: of ours.
        peers: that were installed.
        timings: one per generator, grid and batch size.
        peaks: bytes by generator, grid and batch size.
        growth: seconds a sample by preset and side of a square grid, batch 16.
        steps: milliseconds a sample by preset, ``draw`` or ``render``, and step; 2D, batch 16.
        endurance: memory held after every tenth of the batches, above the first tenth, by preset.
        endurance_batches: how many batches that were.
        copy_bytes_per_s: bandwidth of a copy.
        command: that was run.
    """

    device: torch.device
    presets: tuple[str, ...]
    peers: tuple[str, ...]
    timings: list[Timing]
    peaks: dict[str, dict[Grid, dict[int, int]]]
    growth: dict[str, dict[int, float]]
    steps: dict[str, dict[str, dict[str, float]]]
    endurance: dict[str, list[int]]
    endurance_batches: int
    copy_bytes_per_s: float
    command: str

    def cases(self) -> list[tuple[Grid, int]]:
        """Grids and batch sizes, in the order they were timed."""
        return list(dict.fromkeys((timing.grid, timing.batch) for timing in self.timings))

    def names(self) -> list[str]:
        """Generators that were timed: ours before peers, each preset before its compiled form."""
        timed = {timing.name for timing in self.timings}
        ours = [name + end for name in self.presets for end in ("", COMPILED)]
        return [name for name in (*ours, *self.peers) if name in timed]

    def by_work(self) -> dict[tuple[Grid, int, str], Timing]:
        """Timings by grid, batch size and generator."""
        return {(timing.grid, timing.batch, timing.name): timing for timing in self.timings}


def work_name(grid: Grid, batch: int | None = None) -> str:
    """Grid and batch size in words."""
    sides = " x ".join(map(str, grid))
    return f"{len(grid)}D {sides}" + ("" if batch is None else f", batch {batch}")


def short(value: float) -> str:
    """A number with three digits."""
    if value == 0 or not math.isfinite(value):
        return f"{value:g}"
    digits = max(0, 2 - math.floor(math.log10(abs(value))))
    return f"{value:,.{digits}f}"
