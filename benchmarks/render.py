"""Speed of the generator: milliseconds per 256 x 256 sample at several batch sizes.

    python benchmarks/render.py [--device auto|cpu|cuda] [--repeats 7]

Batch sizes take turns, so that a machine that slows down slows all of them; medians are printed.
"""

import statistics
import sys
import time
from dataclasses import dataclass
from typing import Literal

import torch
import tyro

from gen import draw, preset, render
from gen.anatomy import CANAL, disc_code, vertebra_code
from gen.device import pick_device
from shards.command import run_command

SIZE = 256
BATCHES = (1, 16, 64)


@dataclass(frozen=True, kw_only=True, slots=True)
class Arguments:
    """Speed of the generator."""

    device: Literal["auto", "cpu", "cuda"] = "auto"
    """Where to render."""
    repeats: int = 7
    """Timed batches of every size."""
    preset: str = "spine"
    """Generator configuration."""


def label_bank() -> torch.Tensor:
    """One map with six vertebrae, discs and a canal, uint8 ``(1, 256, 256)``."""
    codes = torch.zeros(1, SIZE, SIZE, dtype=torch.uint8)
    for rank in range(1, 7):
        bottom = 236 - 36 * (rank - 1)
        codes[0, bottom - 8 : bottom, 80:116] = disc_code(rank)
        codes[0, bottom - 36 : bottom - 8, 82:114] = vertebra_code(rank)
    codes[0, 10:246, 120:136] = CANAL
    return codes


def main() -> int:
    """Parse the command line, measure, print a table; the exit status."""
    return run_command(_measure)


def _measure() -> None:
    arguments = tyro.cli(Arguments, description=__doc__)
    device = pick_device(arguments.device)
    bank = label_bank().to(device)
    config = preset(arguments.preset)
    seconds: dict[int, list[float]] = {batch: [] for batch in BATCHES}
    for repeat in range(arguments.repeats + 1):
        for batch in BATCHES:
            start = time.perf_counter()
            render(bank, draw(config, 0, torch.arange(batch), maps=1, device=device))
            if device.type == "cuda":
                torch.cuda.synchronize()
            # The first round pays for allocations and kernels that are made once.
            if repeat:
                seconds[batch].append(time.perf_counter() - start)
    print(f"preset {arguments.preset}, {SIZE} x {SIZE}, {device}, {torch.get_num_threads()} threads")
    print("| batch | ms a sample | Mpixel/s |")
    print("|---|---|---|")
    for batch in BATCHES:
        sample = statistics.median(seconds[batch]) / batch
        print(f"| {batch} | {1e3 * sample:.2f} | {SIZE**2 / sample / 1e6:.1f} |")


if __name__ == "__main__":
    sys.exit(main())
