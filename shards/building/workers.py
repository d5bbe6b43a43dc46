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
    """This process among those that share the work.

    Attributes:
        rank: number of this process; rank 0 prints and completes the set.
        world: number of processes.
        gather: the values of all processes in the order of their ranks; blocks until all have called it.
    """

    rank: int = 0
    world: int = 1
    gather: Callable[[Any], list[Any]] = lambda value: [value]

    def barrier(self) -> None:
        """Wait for all processes."""
        self.gather(None)

    def from_first(self, make: Callable[[], Item]) -> Item:
        """The value that the first process makes, in all processes."""
        return self.gather(make() if self.rank == 0 else None)[0]

    def share(self, items: Sequence[Item]) -> Sequence[Item]:
        """The part of this process; neighbouring items stay together and can share what is read."""
        size, start = len(items), self.rank
        return items[start * size // self.world : (start + 1) * size // self.world]

    def log(self, text: str) -> None:
        """Print from the first process only."""
        if self.rank == 0:
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
        yield joined_workers()
    finally:
        torch.distributed.destroy_process_group()


def joined_workers() -> Workers:
    """The processes of the default process group, or this one alone."""
    if not torch.distributed.is_initialized():
        return ALONE
    return Workers(
        rank=torch.distributed.get_rank(), world=torch.distributed.get_world_size(), gather=_gather
    )


def _gather(value: Any) -> list[Any]:
    values: list[Any] = [None] * torch.distributed.get_world_size()
    torch.distributed.all_gather_object(values, value)
    return values


@contextmanager
def one_builder(place: Place, workers: Workers) -> Iterator[None]:
    """Hold ``place`` for one group of workers; another group on this machine waits until it is done.

    So several processes may request the same sets at once: the first builds them, the others use them.
    """
    with locked(place) if workers.rank == 0 else nullcontext():
        workers.barrier()
        yield
