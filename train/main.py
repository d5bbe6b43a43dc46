"""Train Model A on synthetic images of label maps, Model B on real T1 images, or both.

    synthspine train --model A
    torchrun --nproc-per-node 2 -m synthspine train    # shares every batch, the same weights on all ranks
    synthspine train --use-dummy-data --epochs 2
    synthspine train --dry-run                         # try everything, save nothing

In a checkout also ``python train/main.py``, or ``torchrun train/main.py``.
Missing sets are built first. SIGTERM and Ctrl-C stop a run with its state saved, and the model so far as
stopped.pth; --resume auto goes on, also after a crash.
"""

import sys

from synthspine.interrupt import quiet_interrupt

with quiet_interrupt():
    import tyro
    from torch.distributed.elastic.multiprocessing.errors import record

    from synthspine.shards.command import run_command
    from synthspine.train.config import TrainOptions
    from synthspine.train.experiment import train_models
    from synthspine.train.runtime.distributed import join_ranks
    from synthspine.train.runtime.precision import deterministic_kernels
    from synthspine.train.runtime.stop import TrainingStopped

LESS_MEMORY = (
    "a higher --accumulate (the same steps in smaller parts), a lower --batch-size or --base-features, "
    "--precision bf16, and a lower --render-batch where a set is being written"
)


@record
def _train(*, ends_process: bool) -> None:
    options = tyro.cli(TrainOptions, description=__doc__)
    with deterministic_kernels(options.deterministic), join_ranks(options.shards.device) as ranks:
        try:
            train_models(options, ranks, ends_process)
        except TrainingStopped as stopped:
            if ranks.is_main:
                print(stopped, file=sys.stderr, flush=True)


def main(*, ends_process: bool = False) -> int:
    """Parse the command line and train; the exit status, 0 also after a stop in good order.

    With ``ends_process`` signals that come after the training are ignored: the process ends with this status.
    """
    return run_command(lambda: _train(ends_process=ends_process), less_memory=LESS_MEMORY)


if __name__ == "__main__":
    sys.exit(main(ends_process=True))
