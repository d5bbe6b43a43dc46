"""Results of the generator benchmark: the page of tables, and a picture of samples."""

import math
from dataclasses import dataclass
from pathlib import Path

import matplotlib
import torch
from torch import Tensor

matplotlib.use("Agg")
from matplotlib import pyplot as plt

from benchmarks.page import markdown_table, page, save, short
from benchmarks.renderers import COMPILED, GRAPHS, PEERS, bytes_per_voxel
from benchmarks.timing import Times

Grid = tuple[int, ...]

LOOPED_SAMPLES = 64
"""Samples per timed batch of a generator that loops over samples; more samples take the same time each."""
PICTURED_SAMPLES = 6
"""Samples of each generator in the picture."""
_BYTES_PER_VOXEL = 1 + 1 + 4
_PACKAGES = (*PEERS.values(), "SimpleITK")


@dataclass(frozen=True, kw_only=True, slots=True)
class Measured:
    """Everything that was measured.

    Attributes:
        device: where the presets rendered.
        presets: names of the presets.
        peers: peers that are installed.
        timings: times per sample of every generator, by grid and batch size, in a process like others.
        kept: some of them again after ``keep_freed_memory``.
        peaks: bytes by generator, grid and batch size.
        steps: milliseconds per sample by preset, ``draw`` or ``render``, and step; 2D, batch 16.
        copy_bytes_per_s: bandwidth of a copy.
    """

    device: torch.device
    presets: tuple[str, ...]
    peers: tuple[str, ...]
    timings: dict[tuple[Grid, int], dict[str, Times]]
    kept: dict[tuple[Grid, int], dict[str, Times]]
    peaks: dict[str, dict[Grid, dict[int, int]]]
    steps: dict[str, dict[str, dict[str, float]]]
    copy_bytes_per_s: float

    def names(self) -> list[str]:
        """Generators that were timed: presets before peers, each preset before its compiled form."""
        presets = [name + end for name in self.presets for end in ("", COMPILED, GRAPHS)]
        timed = {name for found in self.timings.values() for name in found}
        return [name for name in (*presets, *self.peers) if name in timed]


def write(measured: Measured, samples: dict[str, Tensor], folder: Path) -> str:
    """Write the page and the picture, and return the page.

    The samples are images ``(PICTURED_SAMPLES, 1, H, W)`` by generator.
    """
    stem = f"generator_{measured.device.type}"
    text = _page(measured, stem)
    save(text, folder / f"{stem}.md")
    _plot_samples(samples, folder / f"{stem}_samples.png")
    return text


def work_name(grid: Grid, batch: int) -> str:
    """Grid and batch size in words."""
    return f"{len(grid)}D {' x '.join(map(str, grid))}, batch {batch}"


def floor_s(voxels: int, bytes_per_s: float) -> float:
    """Seconds to move a sample: 1 byte of label in, 1 byte of target and 4 of image out per voxel."""
    return voxels * _BYTES_PER_VOXEL / bytes_per_s


def _page(measured: Measured, stem: str) -> str:
    parts = [
        "All generators render the same four label maps of 14 labels, in turns, in one process with the same "
        "threads. Times of the presets include `draw` and `render`. cornucopia is "
        "`SynthFromLabelTransform` with its default steps and a sampled background. TorchIO is a chain of "
        "affine and elastic deformation (one resampling, the faster choice), labels to image, bias, gamma, "
        "blur, anisotropy, noise and rescaling; a slice is a volume of one slice. cornucopia and TorchIO 1 "
        f"loop over samples, so their batches hold at most {LOOPED_SAMPLES} samples; TorchIO 1 renders on "
        f"the CPU alone; TorchIO 2 renders whole batches. Samples: [{stem}_samples.png]({stem}_samples.png).",
        "The process is that of a program that uses the library: it does not keep freed memory, as the "
        "commands of this project do. What that changes stands below.",
        "## Medians of a sample",
        *_tables(measured, measured.timings, "ms"),
        "CPU time is that of all threads; on a machine with other work it is steadier than time.",
        *_tables(measured, measured.timings, "ms of CPU"),
        "The same in a process that keeps freed memory (`keep_freed_memory`, called by every command):",
        *_tables(measured, measured.kept, "ms, kept memory"),
        *_tables(measured, measured.kept, "ms of CPU, kept memory"),
        "## Throughput and the floor",
        f"A copy moves {measured.copy_bytes_per_s / 1e9:.1f} GB/s (bytes read and written); the floor is "
        f"{_BYTES_PER_VOXEL} bytes a voxel at that rate: 1 label in, 1 target and 4 image out.",
        _floor(measured),
        "## Peak memory above the process at rest",
        "The images and labels of the batch are included (5 bytes a voxel). A peer that loops holds one "
        "sample at a time besides them. On the CPU the kernel counts the peak of a separate process, which "
        "keeps freed memory for its next tensors.",
        _memory(measured),
        "## Where the time goes, milliseconds (on the CPU: of CPU time) a sample of 2D at batch 16, eager",
        _steps(measured),
    ]
    return page("The generator next to its peers", measured.device, parts, _PACKAGES)


def _tables(measured: Measured, timings: dict[tuple[Grid, int], dict[str, Times]], unit: str) -> list[str]:
    """A sample's median time or CPU time, and how many times as fast as each peer that is."""

    def milliseconds(times: Times) -> float:
        return 1e3 * (times.median_cpu_s if "CPU" in unit else times.median_s)

    names = [name for name in measured.names() if any(name in found for found in timings.values())]
    pairs = [(name, peer) for name in names if name not in measured.peers for peer in measured.peers]
    rows, ratios = [], []
    for work, found in timings.items():
        medians = {name: milliseconds(times) for name, times in found.items()}
        rows.append([work_name(*work), *(short(medians[name]) if name in found else "" for name in names)])
        faster = (f"{short(medians[peer] / medians[name])}x" if name in found else "" for name, peer in pairs)
        ratios.append([work_name(*work), *faster])
    tables = [markdown_table([f"{unit}, a sample", *names], rows)]
    if pairs:
        tables.append(
            markdown_table(["times as fast", *(f"{n} against {peer}" for n, peer in pairs)], ratios)
        )
    return tables


def _floor(measured: Measured) -> str:
    rows = []
    for (grid, batch), found in measured.timings.items():
        voxels = math.prod(grid)
        floor = floor_s(voxels, measured.copy_bytes_per_s)
        for name in (name for name in found if name not in measured.peers):
            median_s = found[name].median_s
            first = f"{found[name].first_s:.1f}" if name.endswith((COMPILED, GRAPHS)) else ""
            rate, ratio = short(voxels / median_s / 1e6), f"{short(median_s / floor)}x"
            rows.append([work_name(grid, batch), name, rate, ratio, first])
    return markdown_table(["work", "generator", "Mvoxel/s", "above the floor", "first batch, s"], rows)


def _memory(measured: Measured) -> str:
    if not any(measured.peaks.values()):
        return "Not measured in this run."
    rows = []
    for name, grids in measured.peaks.items():
        for grid, peaks in grids.items():
            voxels = math.prod(grid)
            slope = bytes_per_voxel(peaks, voxels)
            for batch, size in peaks.items():
                added = "" if slope is None or batch == min(peaks) else short(slope)
                cells = [short(size / 1e6), short(size / (voxels * batch)), added]
                rows.append([work_name(grid, batch), name, *cells])
    head = ["work", "generator", "peak, MB", "bytes a voxel", "bytes a voxel added by the batch"]
    return markdown_table(head, rows)


def _steps(measured: Measured) -> str:
    """Steps of all presets, the longest of the last preset first; steps below 1 % together."""
    columns = {name: _with_others(tables) for name, tables in measured.steps.items()}
    last = list(columns.values())[-1]
    totals = {name: sum(column.values()) for name, column in columns.items()}
    order = {step: None for column in columns.values() for step in column}
    rows = [["all", *(entry for total in totals.values() for entry in (f"{total:.3f}", "100%"))]]
    for step in sorted(order, key=lambda step: -last.get(step, 0)):
        row = [step]
        for name, column in columns.items():
            value = column.get(step)
            row += ["", ""] if value is None else [f"{value:.3f}", f"{value / totals[name]:.0%}"]
        rows.append(row)
    return markdown_table(["step", *(head for name in columns for head in (f"{name}, ms", "share"))], rows)


def _with_others(tables: dict[str, dict[str, float]]) -> dict[str, float]:
    """Milliseconds by step; steps below a hundredth of the whole are added up."""
    total = sum(value for table in tables.values() for value in table.values())
    column: dict[str, float] = {}
    for whole, table in tables.items():
        for step, value in table.items():
            name = f"{whole}: {step}" if value >= total / 100 else f"{whole}: others, below 1% each"
            column[name] = column.get(name, 0) + value
    return column


def _plot_samples(samples: dict[str, Tensor], path: Path) -> None:
    """A row of images per generator."""
    size = (1.6 * PICTURED_SAMPLES, 1.7 * len(samples))
    figure, axes = plt.subplots(
        len(samples), PICTURED_SAMPLES, figsize=size, layout="constrained", squeeze=False
    )
    for row, (name, images) in zip(axes, samples.items(), strict=True):
        row[0].set_title(name, fontsize=8, loc="left")
        for place, image in zip(row, images, strict=True):
            place.imshow(image[0], cmap="gray", vmin=0, vmax=1)
            place.set_axis_off()
    figure.savefig(path, dpi=90)
    plt.close(figure)
