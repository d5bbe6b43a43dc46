"""How long generators take: they render in turns, so that a machine that slows down slows all of them."""

import math
import statistics
import time
from collections.abc import Sequence
from dataclasses import dataclass

import torch

from benchmarks.renderers import Renderer, make_renderer

LOOPED_SAMPLES = 64
"""Samples per timed batch of a generator that loops over samples: more would only repeat them."""
_ROUND_SECONDS = 0.2
_LEAST_ROUNDS = 3
_COPY_BYTES = 2**28
_BYTES_PER_VOXEL = 1 + 1 + 4


@dataclass(frozen=True, kw_only=True, slots=True)
class Timing:
    """What was measured of one generator at one size.

    Attributes:
        name: of the generator.
        grid: sides of the grid.
        batch: samples per batch.
        first_s: seconds of the first batch, compilation included.
        sample_s: seconds a sample of every timed batch.
    """

    name: str
    grid: tuple[int, ...]
    batch: int
    first_s: float
    sample_s: list[float]

    @property
    def median_s(self) -> float:
        """Median of the seconds a sample."""
        return statistics.median(self.sample_s)

    @property
    def voxels_per_s(self) -> float:
        """Voxels rendered per second."""
        return math.prod(self.grid) / self.median_s


def time_batches(
    renderers: Sequence[Renderer],
    grid: tuple[int, ...],
    batch: int,
    *,
    repeats: int,
    budget_s: float,
    device: torch.device,
) -> list[Timing]:
    """Let generators render batches in turns.

    Args:
        renderers: generators on the same grid.
        grid: sides of the grid.
        batch: samples per batch; a generator that loops renders at most ``LOOPED_SAMPLES``.
        repeats: rounds; in each one every generator renders a batch or more, for 0.2 s.
        budget_s: no new round starts after that, but three rounds are run.
        device: where they render.

    Returns:
        One timing per generator, in the order given.
    """
    counts = [min(batch, LOOPED_SAMPLES) if renderer.loops else batch for renderer in renderers]
    first = [
        _seconds(renderer, 1 if renderer.loops else count, device)
        for renderer, count in zip(renderers, counts, strict=True)
    ]
    samples: list[list[float]] = [[] for _ in renderers]
    start = time.perf_counter()
    for number in range(repeats):
        if number >= _LEAST_ROUNDS and time.perf_counter() - start > budget_s:
            break
        for renderer, count, seconds in zip(renderers, counts, samples, strict=True):
            until = time.perf_counter() + _ROUND_SECONDS
            seconds.append(_seconds(renderer, count, device) / count)
            while time.perf_counter() < until:
                seconds.append(_seconds(renderer, count, device) / count)
    return [
        Timing(name=renderer.name, grid=grid, batch=batch, first_s=seconds, sample_s=values)
        for renderer, seconds, values in zip(renderers, first, samples, strict=True)
    ]


def _seconds(renderer: Renderer, count: int, device: torch.device) -> float:
    _synchronise(device)
    start = time.perf_counter()
    renderer.run(count)
    _synchronise(device)
    return time.perf_counter() - start


def _synchronise(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def growth(
    name: str, sides: Sequence[int], batch: int, *, repeats: int, device: torch.device
) -> dict[int, float]:
    """Median seconds a sample by side of a square grid."""
    timings = {}
    for side in sides:
        grid = (side, side)
        renderer = make_renderer(name, grid, device)
        timing = time_batches([renderer], grid, batch, repeats=repeats, budget_s=20, device=device)
        timings[side] = timing[0].median_s
    return timings


def exponent(seconds: dict[int, float]) -> float:
    """Slope of log time over log voxels of square grids between the smallest and the largest; 1 is linear."""
    first, last = min(seconds), max(seconds)
    return math.log(seconds[last] / seconds[first]) / (2 * math.log(last / first))


def copy_bytes_per_s(device: torch.device) -> float:
    """Bandwidth of copying a large tensor: bytes read plus bytes written per second, best of seven."""
    source = torch.ones(_COPY_BYTES // 4, device=device)
    target = torch.empty_like(source)
    best = math.inf
    for _ in range(7):
        _synchronise(device)
        start = time.perf_counter()
        target.copy_(source)
        _synchronise(device)
        best = min(best, time.perf_counter() - start)
    return 2 * _COPY_BYTES / best


def floor_s(voxels: int, bytes_per_s: float) -> float:
    """Seconds that moving a sample takes: 1 byte of label in, 1 byte of target and 4 of image out a voxel."""
    return voxels * _BYTES_PER_VOXEL / bytes_per_s
