"""Processes that build sets together: shared work, barriers, and one group of writers at a time."""

import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, TypeVar

import torch.distributed

from synthspine.shards.storage.lock import locked
from synthspine.shards.storage.place import Place

Item = TypeVar("Item")

# Ranks wait for the slowest one at every barrier, and a volume set can take hours.
_PATIENCE = timedelta(hours=24)


@dataclass(frozen=True, kw_only=True, slots=True)
class Workers:
    """This process among those that share the work; ``train.runtime.distributed.Ranks`` extends it.

    Attributes:
        rank: number of this process; rank 0 prints and completes the set.
        world_size: number of processes.
        gather: the values of all processes in the order of their ranks; blocks until all have called it.
    """

    rank: int = 0
    world_size: int = 1
    gather: Callable[[Any], list[Any]] = lambda value: [value]

    @property
    def is_main(self) -> bool:
        """True on the one process that writes what all share, and prints."""
        return self.rank == 0

    def barrier(self) -> None:
        """Wait for all processes."""
        self.gather(None)

    def from_main(self, make: Callable[[], Item]) -> Item:
        """The value that the main process makes, in all processes."""
        return self.gather(make() if self.is_main else None)[0]

    def share(self, items: Sequence[Item]) -> Sequence[Item]:
        """The part of this process; neighbouring items stay together and can share what is read."""
        size, start = len(items), self.rank
        return items[start * size // self.world_size : (start + 1) * size // self.world_size]

    def log(self, text: str) -> None:
        """Print from the main process only."""
        if self.is_main:
            print(text, flush=True)


ALONE = Workers()


def local_rank() -> int:
    """Number of this process on its machine (``LOCAL_RANK`` of ``torchrun``)."""
    return int(os.environ.get("LOCAL_RANK", "0"))


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
            world_size=torch.distributed.get_world_size(),
            gather=gather_objects,
        )
    finally:
        torch.distributed.destroy_process_group()


def gather_objects(value: Any) -> list[Any]:
    """The values of all processes of the default group, in the order of their ranks."""
    values: list[Any] = [None] * torch.distributed.get_world_size()
    torch.distributed.all_gather_object(values, value)
    return values


@contextmanager
def one_builder(place: Place, workers: Workers) -> Iterator[None]:
    """Hold ``place`` for one group of workers; another group on this machine waits until it is done."""
    with locked(place) if workers.is_main else nullcontext():
        workers.barrier()
        yield
