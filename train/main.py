"""Train Model A on synthetic images of label maps, Model B on real T1 images, or both.

    torchrun train/main.py --model A
    torchrun --nproc-per-node 2 train/main.py          # shares every batch, the same weights on all ranks
    python train/main.py --use-dummy-data --epochs 2

Missing sets are built first. A killed run goes on with --resume.
"""

import sys

import tyro

from shards.command import run_command
from train.distributed import join_ranks
from train.experiment import train_models
from train.options import TrainOptions
from train.stop import Stopped

TERMINATED = 128 + 15


def main() -> int:
    """Parse the command line and train; the exit status."""
    try:
        return run_command(_train)
    except Stopped as stopped:
        print(stopped, file=sys.stderr)
        return TERMINATED


def _train() -> None:
    options = tyro.cli(TrainOptions, description=__doc__)
    with join_ranks(options.shards.device) as ranks:
        train_models(options, ranks)


if __name__ == "__main__":
    sys.exit(main())
