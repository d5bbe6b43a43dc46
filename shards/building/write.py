"""Writing shards in background threads, while the device renders the next ones."""

from collections import deque
from collections.abc import Callable, Iterable
from concurrent.futures import Future, ThreadPoolExecutor
from types import TracebackType
from typing import Self

from synthspine.shards.format.sample import Sample
from synthspine.shards.format.tar import Packed, pack
from synthspine.shards.storage.place import Place

WRITERS = 2
"""Threads that pack and write: one packs while the other waits for the disk."""


def write_shard(place: Place, name: str, samples: Iterable[Sample]) -> Packed:
    """Write samples as one WebDataset tar, whole or not at all.

    Raises:
        OSError: it cannot be written.
    """
    packed = pack(samples)
    place.write(name, *packed.parts)
    return packed


class Background:
    """A bounded pool of threads for jobs.

    As a context manager, it waits for all jobs at the end. The first error of a job is raised by a later
    :meth:`add` or at the end. After an error in the block, jobs that have not begun are dropped.

    Args:
        threads: jobs at a time. As many again may be queued; then :meth:`add` blocks.
    """

    def __init__(self, threads: int = WRITERS) -> None:
        self._pool = ThreadPoolExecutor(threads, thread_name_prefix="write")
        self._most = 2 * threads
        self._jobs: deque[Future[None]] = deque()

    def add(self, job: Callable[[], None]) -> None:
        """Queue a job."""
        while len(self._jobs) >= self._most or (self._jobs and self._jobs[0].done()):
            self._jobs.popleft().result()
        self._jobs.append(self._pool.submit(job))

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._pool.shutdown(wait=True, cancel_futures=error is not None)
        if error is None:
            for job in self._jobs:
                job.result()
