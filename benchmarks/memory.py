"""Memory of a generator: the peak of a batch.

The kernel records one peak for the whole life of a process. On the CPU every generator is therefore measured
in a process of its own; on CUDA torch's allocator counts.
"""

import multiprocessing
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

import torch

from benchmarks.renderers import make_renderer
from synthspine.gen.core.memory import keep_freed_memory

_WARM_UP_SIDE = 16
_BATCHES_PER_PEAK = 3


def peak_bytes(
    name: str, grid: tuple[int, ...], batches: Sequence[int], device: torch.device
) -> dict[int, int]:
    """Bytes by batch size: peak of one batch above the process at rest, images and labels included.

    Batch sizes ascend, because on the CPU a later peak hides a lower one. The other arguments are those of
    :func:`make_renderer`.

    Raises:
        OSError: there is no ``/proc``.
    """
    if device.type == "cuda":
        return _allocated(name, grid, batches, device)
    with ProcessPoolExecutor(1, multiprocessing.get_context("spawn")) as process:
        return process.submit(_resident, name, grid, batches, torch.get_num_threads()).result()


def bytes_per_voxel(peaks: dict[int, int], voxels: int) -> float | None:
    """Growth of the peak from the smallest to the largest batch, bytes per voxel; None for one batch size."""
    first, last = min(peaks), max(peaks)
    return None if first == last else (peaks[last] - peaks[first]) / ((last - first) * voxels)


def _process_bytes(entry: str) -> int:
    """An entry of ``/proc/self/status``, in bytes."""
    status = Path("/proc/self/status").read_text()
    return 1024 * int(status.partition(f"\n{entry}:")[2].split()[0])


def _allocated(
    name: str, grid: tuple[int, ...], batches: Sequence[int], device: torch.device
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


def _resident(name: str, grid: tuple[int, ...], batches: Sequence[int], threads: int) -> dict[int, int]:
    torch.set_num_threads(threads)
    keep_freed_memory()
    device = torch.device("cpu")
    make_renderer(name, (_WARM_UP_SIDE,) * len(grid), device).run(1)
    renderer = make_renderer(name, grid, device)
    before = _process_bytes("VmRSS")
    peaks = {}
    for batch in batches:
        for _ in range(_BATCHES_PER_PEAK):
            renderer.run(batch)
        peaks[batch] = _process_bytes("VmHWM") - before
    return peaks
