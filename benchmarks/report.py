"""What the benchmark of the generator writes: a page of tables, every measured value, two pictures."""

import dataclasses
import json
import math
import platform
from collections.abc import Iterable, Sequence
from pathlib import Path

import torch
from torch import Tensor

from benchmarks.measured import Measured, short, work_name
from benchmarks.memory import bytes_per_voxel
from benchmarks.pictures import plot_samples, plot_times
from benchmarks.renderers import COMPILED, versions
from benchmarks.timing import LOOPED_SAMPLES, Timing, exponent, floor_s

_MEGA = 1e6


def write(measured: Measured, samples: dict[str, Tensor], folder: Path) -> str:
    """Write the page, the values and the pictures; the page is returned.

    Args:
        measured: what was measured.
        samples: images ``(SAMPLES, 1, H, W)`` by generator.
        folder: where the files go.
    """
    folder.mkdir(parents=True, exist_ok=True)
    stem = f"generator_{measured.device.type}"
    page = _page(measured, stem)
    (folder / f"{stem}.md").write_text(page)
    (folder / f"{stem}.json").write_text(_values(measured))
    plot_times(measured, folder / f"{stem}.png")
    plot_samples(samples, folder / f"{stem}_samples.png")
    return page


def timing_lines(timings: Sequence[Timing]) -> str:
    """One line per timing, for the terminal."""
    return "\n".join(
        f"{work_name(timing.grid, timing.batch)}: {timing.name} {1e3 * timing.median_s:.2f} ms a sample"
        for timing in timings
    )


def _page(measured: Measured, stem: str) -> str:
    parts = [
        "# The generator next to its peers",
        f"{_machine(measured.device)}.\n" + "; ".join(f"{k} {v}" for k, v in versions().items()) + ".",
        f"```sh\n{measured.command.strip()}\n```",
        "All render the same four label maps of 14 labels, in turns, in one process with the same threads. "
        "Ours counts `draw` and `render`. cornucopia is `SynthFromLabelTransform` with its defaults, all "
        "steps on, background sampled; TorchIO is a chain of affine and elastic deformation (in one "
        "resampling, the faster way), labels to image, bias, gamma, blur, anisotropy, noise and rescaling; "
        "it takes a slice as a volume of one slice. cornucopia and TorchIO 1 loop over samples, so their "
        f"batches are timed on at most {LOOPED_SAMPLES} samples; TorchIO 1 works on the CPU alone; TorchIO 2 "
        "renders whole batches. "
        f"What each renders: [{stem}_samples.png]({stem}_samples.png).",
        "## Milliseconds a sample, medians",
        _times(measured),
        f"![Times]({stem}.png)",
        "## Times as fast as the peers",
        _ratios(measured),
        "## Throughput and the floor",
        f"A copy moves {measured.copy_bytes_per_s / 1e9:.1f} GB/s (bytes read and written); the floor is 6 "
        "bytes a voxel at that rate: 1 label in, 1 target and 4 image out.",
        _floor(measured),
        "## Peak memory above the process at rest",
        "Images and labels that come out are part of it (5 bytes a voxel). A peer that loops holds one "
        "sample at a time besides them. On the CPU this is what the kernel counted for a process of its own, "
        "which keeps what it frees for its next tensors.",
        _memory(measured),
        "## Growth with the grid, batch 16",
        _growth(measured),
        _endurance(measured),
        "## Where the time goes, milliseconds a sample of 2D at batch 16, eager",
        _steps(measured),
    ]
    return "\n\n".join(part for part in parts if part) + "\n"


def _times(measured: Measured) -> str:
    found = measured.by_work()
    names = measured.names()
    rows = []
    for grid, batch in measured.cases():
        timings = [found.get((grid, batch, name)) for name in names]
        rows.append(
            [work_name(grid, batch), *("" if t is None else short(1e3 * t.median_s) for t in timings)]
        )
    return _table(["work", *names], rows)


def _ratios(measured: Measured) -> str:
    found = measured.by_work()
    ours = [name for name in measured.names() if name not in measured.peers]
    pairs = [(name, peer) for name in ours for peer in measured.peers]
    rows = []
    for grid, batch in measured.cases():
        row = [work_name(grid, batch)]
        for name, peer in pairs:
            timing = found.get((grid, batch, name))
            ratio = found[grid, batch, peer].median_s / timing.median_s if timing else None
            row.append("" if ratio is None else f"{short(ratio)}x")
        rows.append(row)
    return _table(["work", *(f"{name} against {peer}" for name, peer in pairs)], rows) if pairs else ""


def _floor(measured: Measured) -> str:
    rows = []
    for timing in measured.timings:
        if timing.name in measured.peers:
            continue
        floor = floor_s(math.prod(timing.grid), measured.copy_bytes_per_s)
        rows.append(
            [
                work_name(timing.grid, timing.batch),
                timing.name,
                short(timing.voxels_per_s / _MEGA),
                f"{short(timing.median_s / floor)}x",
                f"{timing.first_s:.1f}" if timing.name.endswith(COMPILED) else "",
            ]
        )
    return _table(["work", "generator", "Mvoxel/s", "above the floor", "first batch, s"], rows)


def _memory(measured: Measured) -> str:
    rows = []
    for name, grids in measured.peaks.items():
        for grid, peaks in grids.items():
            voxels = math.prod(grid)
            slope = bytes_per_voxel(peaks, voxels)
            for batch, size in peaks.items():
                more = "" if slope is None or batch == min(peaks) else short(slope)
                cells = [short(size / _MEGA), short(size / (voxels * batch)), more]
                rows.append([work_name(grid, batch), name, *cells])
    return _table(
        ["work", "generator", "peak, MB", "bytes a voxel", "bytes a voxel added by the batch"], rows
    )


def _growth(measured: Measured) -> str:
    rows = [
        [name, *(short(1e3 * value) for value in seconds.values()), f"{exponent(seconds):.2f}"]
        for name, seconds in measured.growth.items()
    ]
    sides = next(iter(measured.growth.values()))
    head = ["generator", *(f"ms a sample at {side} x {side}" for side in sides), "time ~ voxels to the power"]
    return _table(head, rows)


def _endurance(measured: Measured) -> str:
    if not measured.endurance:
        return "Growth over many batches was not measured in this run (`--endurance 10000`)."
    lines = [
        f"- {name}: " + ", ".join(f"{size / _MEGA:+.1f}" for size in held)
        for name, held in measured.endurance.items()
    ]
    head = f"Memory held after every tenth of {measured.endurance_batches} batches, MB above the first tenth:"
    return head + "\n\n" + "\n".join(lines)


def _steps(measured: Measured) -> str:
    """Steps of all presets in the order of what they take of the last one; small ones together."""
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
    return _table(["step", *(head for name in columns for head in (f"{name}, ms", "share"))], rows)


def _with_others(tables: dict[str, dict[str, float]]) -> dict[str, float]:
    """Milliseconds by step, those below a hundredth of the whole added up."""
    total = sum(value for table in tables.values() for value in table.values())
    column: dict[str, float] = {}
    for whole, table in tables.items():
        for step, value in table.items():
            name = f"{whole}: {step}" if value >= total / 100 else f"{whole}: others, below 1% each"
            column[name] = column.get(name, 0) + value
    return column


def _table(head: Iterable[str], rows: Iterable[Sequence[str]]) -> str:
    head = list(head)
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def _machine(device: torch.device) -> str:
    name = platform.machine()
    account = Path("/proc/cpuinfo")
    if account.exists():
        models = [line for line in account.read_text().splitlines() if line.startswith("model name")]
        name = models[0].split(":")[1].strip() if models else name
    threads = f"{name}, {torch.get_num_threads()} threads, {torch.backends.cpu.get_cpu_capability()}"
    python = f"Python {platform.python_version()}"
    if device.type == "cuda":
        return f"{torch.cuda.get_device_name(device)} (peers without CUDA: {threads}); {python}"
    return f"{threads}; {python}"


def _values(measured: Measured) -> str:
    """JSON of the measured; grids become ``"256x256"``."""
    values = {
        "machine": _machine(measured.device),
        "versions": versions(),
        "timings": [dataclasses.asdict(timing) for timing in measured.timings],
        "peaks": {
            name: {"x".join(map(str, grid)): peaks for grid, peaks in grids.items()}
            for name, grids in measured.peaks.items()
        },
        **{
            entry: getattr(measured, entry)
            for entry in (
                "growth",
                "steps",
                "endurance",
                "endurance_batches",
                "copy_bytes_per_s",
                "command",
            )
        },
    }
    return json.dumps(values, indent=1) + "\n"
