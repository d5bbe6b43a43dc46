"""The generator next to its peers: time, memory, growth, distance to the floor, time by step.

    python benchmarks/generator.py [--device auto|cpu|cuda] [--repeats 5] [--no-compile] [--quick]
                                   [--endurance 10000] [--output-dir benchmarks/results]

Writes generator_DEVICE.md, .json (every measured value), .png (times) and _samples.png (what was rendered).
Peers are installed with ``pip install -e '.[bench]'``; without them only ours is measured.
"""

import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

# The packages are those of the repository, whatever this folder's files are called.
sys.path[0] = str(Path(__file__).resolve().parents[1])

import torch
import tyro

from benchmarks import memory, report, steps
from benchmarks.measured import Grid, Measured
from benchmarks.pictures import SAMPLES
from benchmarks.renderers import COMPILED, PEERS, make_renderer, missing_peers
from benchmarks.timing import Timing, copy_bytes_per_s, growth, time_batches
from synthspine.gen.core.device import pick_device
from synthspine.shards.command import run_command


@dataclass(frozen=True, kw_only=True, slots=True)
class Arguments:
    """Measure the generator and its peers."""

    device: Literal["auto", "cpu", "cuda"] = "auto"
    """Where to render."""
    presets: tuple[str, ...] = ("synthseg", "spine")
    """Presets of ours."""
    repeats: int = 5
    """Rounds of every size."""
    budget_s: float = 20.0
    """Seconds after which a size starts no new round (three are always run)."""
    threads: int = 0
    """CPU threads of all of them; 0 leaves the default."""
    compile: bool = True
    """Measure ``torch.compile(render)`` too: at batch 16 and in 3D, on CUDA at batch 512 and 2048."""
    peers: bool = True
    """Measure the peers too."""
    endurance: int = 0
    """Batches of small maps after which memory must not have grown; 0 leaves it out."""
    quick: bool = False
    """Tiny sizes, to see that everything works."""
    output_dir: Path = Path(__file__).parent / "results"
    """Where to write."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Work:
    """What is rendered: grids, batch sizes, and which of them are compiled."""

    slices: Grid = (256, 256)
    volume: Grid = (128, 128, 128)
    batches: tuple[int, ...] = (1, 16, 64)
    compiled: tuple[int, ...] = (16,)
    sides: tuple[int, ...] = (128, 256, 512)
    peak_slices: tuple[int, ...] = (16, 64)
    peak_volumes: tuple[int, ...] = (1, 3)
    endurance_side: int = 64

    def cases(self) -> list[tuple[Grid, int]]:
        """Grids and batch sizes to time."""
        return [*((self.slices, batch) for batch in self.batches), (self.volume, 1)]

    def is_compiled(self, grid: Grid, batch: int) -> bool:
        """Whether compiled code is timed there."""
        return grid == self.volume or batch in self.compiled


ON_CPU = Work()
ON_CUDA = Work(
    batches=(1, 16, 64, 512, 2048), compiled=(512, 2048), peak_slices=(512, 2048), peak_volumes=(1, 8)
)
QUICK = Work(
    slices=(32, 32),
    volume=(12, 12, 12),
    batches=(1, 2),
    compiled=(2,),
    sides=(16, 32),
    peak_slices=(1, 2),
    peak_volumes=(1, 2),
    endurance_side=16,
)
_STEP_BATCH = 16
_ENDURANCE_BATCH = 4


def main() -> int:
    """Parse the command line, measure, write the tables; the exit status."""
    return run_command(_measure)


def _measure() -> None:
    arguments = tyro.cli(Arguments, description=__doc__)
    device = pick_device(arguments.device)
    if arguments.threads:
        torch.set_num_threads(arguments.threads)
    torch.manual_seed(0)  # for the peers: they draw from the global state
    work = QUICK if arguments.quick else ON_CUDA if device.type == "cuda" else ON_CPU
    compiled = arguments.compile and _compiles(device)
    peers = [name for name in PEERS if arguments.peers and name not in missing_peers()]
    for name in missing_peers() if arguments.peers else ():
        print(f"{name} is not installed and left out; pip install -e '.[bench]' brings it")
    measured = Measured(
        device=device,
        presets=arguments.presets,
        peers=tuple(peers),
        timings=_timings(arguments, work, peers, compiled, device),
        peaks=_peaks(arguments, work, peers, compiled, device),
        growth={
            name: growth(name, work.sides, 16, repeats=arguments.repeats, device=device)
            for name in arguments.presets
        },
        steps=_steps(arguments, work, device),
        endurance={
            name: memory.growth_bytes(
                name, work.endurance_side, _ENDURANCE_BATCH, arguments.endurance, device
            )
            for name in (arguments.presets if arguments.endurance else ())
        },
        endurance_batches=arguments.endurance,
        copy_bytes_per_s=copy_bytes_per_s(device),
        command="python benchmarks/generator.py " + " ".join(sys.argv[1:]),
    )
    samples = {
        name: make_renderer(name, work.slices, device).run(SAMPLES).cpu()
        for name in (*arguments.presets, *peers)
    }
    print(report.write(measured, samples, arguments.output_dir))


def _compiles(device: torch.device) -> bool:
    """Whether torch can compile here: on the CPU it needs a C++ compiler."""
    try:
        torch.compile(lambda x: 2 * x + 1)(torch.ones(8, device=device))
    except Exception as error:
        print(f"torch.compile does not work here and is left out: {str(error).splitlines()[0]}")
        return False
    return True


def _timings(
    arguments: Arguments, work: Work, peers: list[str], compiled: bool, device: torch.device
) -> list[Timing]:
    timings = []
    for grid, batch in work.cases():
        names = list(arguments.presets)
        if compiled and work.is_compiled(grid, batch):
            names += [name + COMPILED for name in arguments.presets]
        renderers = [make_renderer(name, grid, device) for name in (*names, *peers)]
        timings += time_batches(
            renderers,
            grid,
            batch,
            repeats=arguments.repeats,
            budget_s=arguments.budget_s,
            device=device,
        )
        print(report.timing_lines(timings[-len(renderers) :]), flush=True)
    return timings


def _peaks(
    arguments: Arguments, work: Work, peers: list[str], compiled: bool, device: torch.device
) -> dict[str, dict[Grid, dict[int, int]]]:
    """Peak memory by generator, grid and batch size; peers, which loop, at one batch size."""
    names = list(arguments.presets)
    if compiled and device.type == "cuda":
        names += [name + COMPILED for name in arguments.presets]
    ours = {work.slices: work.peak_slices, work.volume: work.peak_volumes}
    theirs = {grid: (min(_STEP_BATCH, *batches),) for grid, batches in ours.items()}
    return {
        name: {
            grid: memory.peak_bytes(name, grid, batches, device)
            for grid, batches in (theirs if name in peers else ours).items()
        }
        for name in (*names, *peers)
    }


def _steps(arguments: Arguments, work: Work, device: torch.device) -> dict[str, dict[str, dict[str, float]]]:
    """Milliseconds a sample by preset, ``draw`` or ``render``, and step."""
    tables = {}
    for name in arguments.presets:
        seconds = steps.step_seconds(name, work.slices, _STEP_BATCH, arguments.repeats, device)
        tables[name] = {
            whole: {step: 1e3 * value / _STEP_BATCH for step, value in table.items()}
            for whole, table in seconds.items()
        }
    return tables


if __name__ == "__main__":
    sys.exit(main())
