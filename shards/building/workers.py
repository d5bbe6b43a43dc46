"""Processes that build sets together: who does what, who waits for whom, and who may start."""

import errno
import fcntl
import hashlib
import os
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import IO, Any, TypeVar

import torch.distributed

from synthspine.shards.storage.place import Place

Item = TypeVar("Item")

# Ranks wait for the slowest one at every barrier, and a volume set can take hours.
_PATIENCE = timedelta(hours=24)


@dataclass(frozen=True, kw_only=True, slots=True)
class Workers:
    """This process among those that share the work; ``train.runtime.distributed.Ranks`` extends it.

    Attributes:
        rank: number of this process, 0..world_size-1.
        world_size: number of processes.
        gather: the values that all processes give, in the order of their ranks; it returns when all have.
    """

    rank: int = 0
    world_size: int = 1
    gather: Callable[[Any], list[Any]] = lambda value: [value]

    @property
    def is_main(self) -> bool:
        """True on the one process that writes what all share, and prints."""
        return self.rank == 0

    def barrier(self) -> None:
        """Wait until all processes have come here."""
        self.gather(None)

    def from_main(self, make: Callable[[], Item]) -> Item:
        """What the main process makes, in all of them."""
        return self.gather(make() if self.is_main else None)[0]

    def share(self, items: Sequence[Item]) -> Sequence[Item]:
        """This process' part: neighbours stay together, so that they can share what they read."""
        size, start = len(items), self.rank
        return items[start * size // self.world_size : (start + 1) * size // self.world_size]

    def log(self, text: str) -> None:
        """Print once, however many processes there are."""
        if self.is_main:
            print(text, flush=True)


ALONE = Workers()


def local_rank() -> int:
    """Number of this process on its machine, as ``torchrun`` counts."""
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
    """Hold ``place`` for one group of workers: another group on this machine waits here until it is done.

    So several processes may ask for the same sets at once; the first builds them, the others find them. A
    folder that machines share is held for all of them, as far as its file system knows locks.
    """
    file = _opened_lock(place) if workers.rank == 0 else None
    with file or nullcontext():
        if file is not None:
            _lock(file, place)
        workers.barrier()
        yield


def _opened_lock(place: Place) -> IO[str] | None:
    """The file to lock; None where nothing can be written, and complete sets can be used all the same."""
    try:
        return _lock_file(place).open("w")
    except OSError as error:
        if error.errno not in (errno.EACCES, errno.EROFS):
            raise
        return None


def _lock(file: IO[str], place: Place) -> None:
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        print(f"{place}: another process is writing here; waiting until it is done", flush=True)
        fcntl.flock(file, fcntl.LOCK_EX)
    except OSError as error:
        print(f"{place}: cannot be locked ({error.strerror}); see that nobody else writes here", flush=True)


def _lock_file(place: Place) -> Path:
    if place.path is not None:
        place.path.mkdir(parents=True, exist_ok=True)
        return place.path / ".lock"
    # A URL cannot be locked: only the processes of this machine exclude each other.
    digest = hashlib.sha256(str(place).encode()).hexdigest()
    return Path(tempfile.gettempdir()) / f"synthspine-{os.getuid()}-{digest[:16]}.lock"
