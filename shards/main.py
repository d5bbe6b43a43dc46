"""Write the sets of slices and synthetic samples that training and evaluation read.

    python shards/main.py [--data-dir DATA] [--labels-dir LABELS] [--shards-dir data/shards] [--sets all]
    torchrun --nproc-per-node 2 shards/main.py        # shares the work, writes the same bytes

Without data it writes the phantom first. A second run writes nothing; a killed one goes on.
"""

import sys
from dataclasses import dataclass, field

import tyro

from shards.command import run_command
from shards.options import ShardOptions
from shards.sets import SETS, ensure_sets
from shards.workers import torchrun_workers


@dataclass(frozen=True, kw_only=True, slots=True)
class Arguments:
    """Write the sets of slices and synthetic samples that training and evaluation read."""

    sets: tuple[str, ...] = ("all",)
    """Which sets to write: all, labels, labels_val, synthetic, real_t1_train, real_t1_val, real_t2_val."""
    options: tyro.conf.OmitArgPrefixes[ShardOptions] = field(default_factory=ShardOptions)


def main() -> int:
    """Parse the command line, write the sets; the exit status."""
    return run_command(_write)


def _write() -> None:
    arguments = tyro.cli(Arguments, description=__doc__)
    names = SETS if "all" in arguments.sets else arguments.sets
    with torchrun_workers() as workers:
        ensure_sets(names, arguments.options, workers)


if __name__ == "__main__":
    sys.exit(main())
