"""The generator next to its peers: time, memory, distance to the memory bandwidth, time by step.

    python benchmarks/generator.py [--device auto|cpu|cuda] [--repeats 5] [--kinds eager compiled graphs]
                                   [--batches 64 512] [--quick] [--output-dir benchmarks/results]

Writes generator_DEVICE.md and generator_DEVICE_samples.png (rendered samples).
``pip install -e '.[bench]'`` installs the peers; without them the presets alone are measured.
"""

import sys
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial
from importlib.util import find_spec
from pathlib import Path
from typing import Literal

# Packages are imported from the repository, not from this folder.
sys.path[0] = str(Path(__file__).resolve().parents[1])

import torch
import tyro

from benchmarks import generator_page, renderers, timing
from benchmarks.generator_page import LOOPED_SAMPLES, PICTURED_SAMPLES, Grid, Measured, work_name
from benchmarks.page import RESULTS
from benchmarks.renderers import COMPILED, GRAPHS, PEERS, Renderer, make_renderer
from benchmarks.timing import Task, Times, time_in_turns
from synthspine.gen.core.device import pick_device
from synthspine.gen.core.memory import keep_freed_memory
from synthspine.shards.command import run_command

BATCH = 16
"""Batch size of the grids of other sizes, of the peers' memory and of the times by step."""
_TURN_SECONDS = 0.2
_COPY_BYTES = 2**28


@dataclass(frozen=True, kw_only=True, slots=True)
class Arguments:
    """Measure the generator and its peers."""

    device: Literal["auto", "cpu", "cuda"] = "auto"
    """Where to render."""
    presets: tuple[str, ...] = ("synthseg", "spine")
    """Presets to measure."""
    repeats: int = 5
    """Rounds of every size."""
    budget_s: float = 20.0
    """Seconds after which a size starts no new round; three rounds always run."""
    kinds: tuple[Literal["eager", "compiled", "graphs"], ...] = ("eager", "compiled")
    """How the presets are rendered: eager, with ``torch.compile(render)``, or as CUDA graphs of it. The last
    two at batch 16 and in 3D, on CUDA at batch 512 and 2048."""
    batches: tuple[int, ...] = ()
    """Time slices of these batch sizes alone, in every kind, and memory on CUDA alone; by default all."""
    peers: bool = True
    """Measure the peers too."""
    quick: bool = False
    """Tiny sizes, to see that everything works."""
    output_dir: Path = RESULTS
    """Folder of the result files."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Sizes:
    """Grids and batch sizes to render, and which of them are compiled."""

    slices: Grid = (256, 256)
    volume: Grid | None = (128, 128, 128)
    batches: tuple[int, ...] = (1, 16, 64)
    compiled: tuple[int, ...] = (16,)
    other_slices: tuple[Grid, ...] = ((128, 128), (512, 512))
    peak_slices: tuple[int, ...] = (16, 64)
    peak_volumes: tuple[int, ...] = (1, 3)

    def cases(self) -> list[tuple[Grid, int]]:
        """Grids and batch sizes to time."""
        slices = [(self.slices, batch) for batch in self.batches]
        volumes = [] if self.volume is None else [(self.volume, 1)]
        return [*slices, *((grid, BATCH) for grid in self.other_slices), *volumes]


ON_CPU = Sizes()
ON_CUDA = Sizes(
    batches=(1, 16, 64, 512, 2048), compiled=(512, 2048), peak_slices=(512, 2048), peak_volumes=(1, 8)
)
QUICK = Sizes(
    slices=(32, 32),
    volume=(12, 12, 12),
    batches=(1, 2),
    compiled=(2,),
    other_slices=((16, 16),),
    peak_slices=(1, 2),
    peak_volumes=(1, 2),
)


def time_renderers(
    renderers: Sequence[Renderer], batch: int, *, repeats: int, budget_s: float, device: torch.device
) -> dict[str, Times]:
    """Time batches of generators on the same grid in turns; every turn takes at least 0.2 s.

    A generator that loops renders at most ``LOOPED_SAMPLES`` of the samples of a batch. The other arguments
    are those of :func:`time_in_turns`.

    Returns:
        By name, seconds of the first batch, and seconds and CPU seconds per sample of every later one.
    """
    counts = [min(batch, LOOPED_SAMPLES) if renderer.loops else batch for renderer in renderers]
    tasks = [
        Task.of(renderer.name, partial(renderer.run, count))
        for renderer, count in zip(renderers, counts, strict=True)
    ]
    found = time_in_turns(tasks, repeats, device=device, least_s=_TURN_SECONDS, budget_s=budget_s)
    for times, count in zip(found, counts, strict=True):
        times.wall_s = [seconds / count for seconds in times.wall_s]
        times.cpu_s = [seconds / count for seconds in times.cpu_s]
    return {times.name: times for times in found}


def copy_bytes_per_s(device: torch.device) -> float:
    """Bandwidth of copying a large tensor: bytes read plus bytes written per second, best of seven."""
    source = torch.ones(_COPY_BYTES // 4, device=device)
    target = torch.empty_like(source)
    (times,) = time_in_turns([Task.of("copy", lambda: target.copy_(source))], 7, device=device)
    return 2 * _COPY_BYTES / min(times.wall_s)


def _measure() -> None:
    arguments = tyro.cli(Arguments, description=__doc__)
    device = pick_device(arguments.device)
    torch.manual_seed(0)  # for the peers, which draw from the global generator
    sizes = QUICK if arguments.quick else ON_CUDA if device.type == "cuda" else ON_CPU
    if batches := arguments.batches:
        sizes = replace(sizes, batches=batches, compiled=batches, other_slices=(), volume=None,
                        peak_slices=batches if device.type == "cuda" else ())  # fmt: skip
    if set(arguments.kinds) != {"eager"} and not _compiles(device):
        arguments = replace(arguments, kinds=("eager",))
    missing = [name for name, package in PEERS.items() if find_spec(package) is None]
    peers = [name for name in PEERS if arguments.peers and name not in missing]
    for name in missing if arguments.peers else ():
        print(f"{name} is not installed and left out; pip install -e '.[bench]' installs it")
    timings = _timings(arguments, sizes.cases(), sizes, peers, device)
    by_step = {
        name: timing.step_milliseconds(name, sizes.slices, BATCH, arguments.repeats, device)
        for name in arguments.presets
    }
    # For the rest of the process: everything before is as in a program that uses the library.
    keep_freed_memory()
    measured = Measured(
        device=device,
        presets=arguments.presets,
        peers=tuple(peers),
        timings=timings,
        kept=_timings(
            replace(arguments, kinds=("eager",)), [(sizes.slices, sizes.compiled[0])], sizes, peers, device
        ),
        peaks=_peaks(arguments, sizes, peers, device),
        steps=by_step,
        copy_bytes_per_s=copy_bytes_per_s(device),
    )
    samples = {
        name: make_renderer(name, sizes.slices, device).run(PICTURED_SAMPLES).cpu()
        for name in (*arguments.presets, *peers)
    }
    generator_page.write(measured, samples, arguments.output_dir)


def _compiles(device: torch.device) -> bool:
    """Whether torch can compile here: on the CPU it needs a C++ compiler."""
    try:
        torch.compile(lambda x: 2 * x + 1)(torch.ones(8, device=device))
        return True
    except Exception as error:
        print(f"torch.compile does not work here and is left out: {str(error).splitlines()[0]}")
        return False


def _presets(arguments: Arguments, *, compiled: bool) -> list[str]:
    """The presets in every kind; without ``compiled`` eager alone."""
    ends = {"eager": "", "compiled": COMPILED, "graphs": GRAPHS}
    kinds = arguments.kinds if compiled else ("eager",)
    return [name + ends[kind] for kind in kinds for name in arguments.presets]


def _timings(
    arguments: Arguments,
    cases: Sequence[tuple[Grid, int]],
    sizes: Sizes,
    peers: list[str],
    device: torch.device,
) -> dict[tuple[Grid, int], dict[str, Times]]:
    timings = {}
    for grid, batch in cases:
        both = grid == sizes.volume or (grid == sizes.slices and batch in sizes.compiled)
        names = _presets(arguments, compiled=both)
        renderers = [make_renderer(name, grid, device) for name in (*names, *peers)]
        found = timings[grid, batch] = time_renderers(
            renderers, batch, repeats=arguments.repeats, budget_s=arguments.budget_s, device=device
        )
        for name, times in found.items():
            wall_ms, cpu_ms = 1e3 * times.median_s, 1e3 * times.median_cpu_s
            print(
                f"{work_name(grid, batch)}: {name} {wall_ms:.2f} ms a sample, {cpu_ms:.2f} of CPU", flush=True
            )
    return timings


def _peaks(
    arguments: Arguments, sizes: Sizes, peers: list[str], device: torch.device
) -> dict[str, dict[Grid, dict[int, int]]]:
    """Peak memory by generator, grid and batch size; peers, which loop, at one batch size."""
    names = _presets(arguments, compiled=device.type == "cuda" and not arguments.batches)
    batches = {sizes.slices: sizes.peak_slices} if sizes.peak_slices else {}
    if sizes.volume is not None:
        batches[sizes.volume] = sizes.peak_volumes
    one_batch = {grid: (min(BATCH, *of_grid),) for grid, of_grid in batches.items()}
    return {
        name: {
            grid: renderers.peak_bytes(name, grid, of_grid, device)
            for grid, of_grid in (one_batch if name in peers else batches).items()
        }
        for name in (*names, *peers)
    }


if __name__ == "__main__":
    sys.exit(run_command(_measure, keeps_memory=False))
