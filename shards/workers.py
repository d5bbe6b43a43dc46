"""Processes that build sets together: who does what, who waits for whom, and who may start."""

import fcntl
import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import TypeVar

import torch.distributed

Item = TypeVar("Item")

# Ranks wait for the slowest one at every barrier, and a volume set can take hours.
_PATIENCE = timedelta(hours=24)


def _no_wait() -> None:
    return None


@dataclass(frozen=True, kw_only=True, slots=True)
class Workers:
    """This process among those that share the work.

    Attributes:
        rank: number of this process, 0 is the one that prints and finishes.
        world: number of processes.
        barrier: returns when all processes have come to it.
    """

    rank: int = 0
    world: int = 1
    barrier: Callable[[], None] = _no_wait

    def share(self, items: Sequence[Item]) -> Sequence[Item]:
        """This process' part: neighbours stay together, so that they can share what they read."""
        size, start = len(items), self.rank
        return items[start * size // self.world : (start + 1) * size // self.world]

    def say(self, text: str) -> None:
        """Print once, however many processes there are."""
        if self.rank == 0:
            print(text, flush=True)


ALONE = Workers()


@contextmanager
def torchrun_workers() -> Iterator[Workers]:
    """The processes that ``torchrun`` started, or this one alone."""
    if int(os.environ.get("WORLD_SIZE", "1")) == 1:
        yield ALONE
        return
    torch.distributed.init_process_group("gloo", timeout=_PATIENCE)
    try:
        yield Workers(
            rank=torch.distributed.get_rank(),
            world=torch.distributed.get_world_size(),
            barrier=torch.distributed.barrier,
        )
    finally:
        torch.distributed.destroy_process_group()


@contextmanager
def one_builder(folder: Path, workers: Workers) -> Iterator[None]:
    """Hold ``folder`` for one group of workers: another group waits here until this one is done.

    So several processes may ask for the same sets at once; the first builds them, the others find them.
    """
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / ".lock").open("w") as file:
        if workers.rank == 0:
            fcntl.flock(file, fcntl.LOCK_EX)
        workers.barrier()
        yield
