"""How much memory a generator takes, and whether it grows.

    python benchmarks/memory.py --name spine --grid 256 256 --batches 16 64

On the CPU the kernel keeps the peak of a process for its whole life, so every generator is measured in a
process of its own (this script, which prints JSON); on CUDA torch's allocator counts.
"""

import json
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

# The packages are those of the repository, whatever this folder's files are called.
sys.path[0] = str(Path(__file__).resolve().parents[1])

import torch
import tyro

from benchmarks.renderers import make_renderer
from synthspine.gen.core.device import pick_device
from synthspine.shards.command import run_command

_WARM_UP = 16
_TURNS = 3
"""Batches after which the peak is read; the first one also pays for what is made once."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Arguments:
    """Peak memory of one generator, in a process of its own."""

    name: str
    """Generator to measure."""
    grid: tuple[int, ...]
    """Sides of the grid."""
    batches: tuple[int, ...]
    """Batch sizes, ascending."""
    device: str = "cpu"
    """Where to render."""


def peak_bytes(
    name: str, grid: tuple[int, ...], batches: tuple[int, ...], device: torch.device
) -> dict[int, int]:
    """Peak memory of one batch above what the process held before, bytes, for every batch size.

    Images and labels that come out are part of it.

    Args:
        name: generator, see ``make_renderer``.
        grid: sides of the grid.
        batches: batch sizes, ascending (on the CPU a later peak hides a lower one).
        device: where to render.

    Raises:
        OSError: the measuring process failed, or there is no ``/proc``.
    """
    if device.type == "cuda":
        return _allocated(name, grid, batches, device)
    command = [sys.executable, __file__, "--name", name, "--grid", *map(str, grid)]
    command += ["--batches", *map(str, batches), "--device", str(device)]
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode:
        raise OSError(f"measuring the memory of {name} failed: {done.stderr[-1000:]}")
    return {int(batch): size for batch, size in json.loads(done.stdout).items()}


def bytes_per_voxel(peaks: dict[int, int], voxels: int) -> float | None:
    """How the peak grows from the smallest to the largest batch, bytes per voxel; None for one batch size."""
    first, last = min(peaks), max(peaks)
    return None if first == last else (peaks[last] - peaks[first]) / ((last - first) * voxels)


def growth_bytes(name: str, side: int, batch: int, count: int, device: torch.device) -> list[int]:
    """Memory held after a tenth, two tenths ... of ``count`` batches, above the first of these, bytes."""
    renderer = make_renderer(name, (side, side), device)
    held = []
    for number in range(count):
        renderer.run(batch)
        if (number + 1) % max(1, count // 10) == 0:
            held.append(_held(device))
    return [size - held[0] for size in held]


def _held(device: torch.device) -> int:
    return torch.cuda.memory_reserved(device) if device.type == "cuda" else _status("VmRSS")


def _status(entry: str) -> int:
    """An entry of the kernel's account of this process, bytes."""
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith(entry + ":"):
            return 1024 * int(line.split()[1])
    raise OSError(f"/proc/self/status has no {entry}")


def _allocated(
    name: str, grid: tuple[int, ...], batches: tuple[int, ...], device: torch.device
) -> dict[int, int]:
    renderer = make_renderer(name, grid, device)
    peaks = {}
    for batch in batches:
        renderer.run(batch)
        torch.cuda.synchronize(device)
        torch.cuda.reset_peak_memory_stats(device)
        before = torch.cuda.memory_allocated(device)
        renderer.run(batch)
        torch.cuda.synchronize(device)
        peaks[batch] = torch.cuda.max_memory_allocated(device) - before
    return peaks


def _resident(
    name: str, grid: tuple[int, ...], batches: tuple[int, ...], device: torch.device
) -> dict[int, int]:
    make_renderer(name, (_WARM_UP,) * len(grid), device).run(1)
    renderer = make_renderer(name, grid, device)
    before = _status("VmRSS")
    peaks = {}
    for batch in sorted(batches):
        for _ in range(_TURNS):
            renderer.run(batch)
        peaks[batch] = _status("VmHWM") - before
    return peaks


def main() -> int:
    """Measure one generator in this process and print JSON; the exit status."""
    return run_command(_measure)


def _measure() -> None:
    arguments = tyro.cli(Arguments, description=__doc__)
    device = pick_device(arguments.device)
    print(json.dumps(_resident(arguments.name, arguments.grid, arguments.batches, device)))


if __name__ == "__main__":
    sys.exit(main())
