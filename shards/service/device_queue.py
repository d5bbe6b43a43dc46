"""The queue of the device: requested shards and previews are rendered one after the other, in turns."""

import asyncio
import math
import time
from collections import deque
from collections.abc import AsyncIterator, Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager, nullcontext
from dataclasses import dataclass
from typing import Any

from synthspine.shards.building.build import WRITERS

_LONGEST_RETRY_S = 30
_LAST_RENDERS_S = 30.0
"""Longest time that a shutdown waits for unfinished renders, seconds."""
_WEIGHT = 0.2
"""Weight of the newest render in the running mean of their durations."""

Begin = Callable[[], Callable[[], Any]]


class Busy(Exception):
    """Too many jobs wait already.

    Attributes:
        retry_after_s: estimated time until there is room, whole seconds.
    """

    def __init__(self, retry_after_s: int) -> None:
        super().__init__(f"too many renders are waiting; try again in {retry_after_s} s")
        self.retry_after_s = retry_after_s


class Stopped(Exception):
    """The service is shutting down."""


@dataclass(slots=True, eq=False)
class _Job:
    """A job, how many wait for it, and whether it has begun."""

    quick: bool
    task: "asyncio.Task[Any] | None" = None
    waiters: int = 0
    begun: bool = False


class _Turns:
    """Lets one at a time have the device; where both kinds of jobs wait, they take turns."""

    def __init__(self) -> None:
        self._held = self._last_quick = False
        self._lines: dict[bool, deque[asyncio.Future[None]]] = {True: deque(), False: deque()}

    @asynccontextmanager
    async def turn(self, quick: bool) -> AsyncIterator[None]:
        """Have the device."""
        if self._held:
            mine: asyncio.Future[None] = asyncio.get_running_loop().create_future()
            self._lines[quick].append(mine)
            try:
                await mine
            except asyncio.CancelledError:
                if not mine.cancelled():
                    self._pass_on()
                raise
        self._held, self._last_quick = True, quick
        try:
            yield
        finally:
            self._pass_on()

    def _pass_on(self) -> None:
        for quick in (not self._last_quick, self._last_quick):
            while self._lines[quick]:
                if not (following := self._lines[quick].popleft()).done():
                    following.set_result(None)
                    return
        self._held = False


class DeviceQueue:
    """Runs one job at a time on the device, and each only once however often it is submitted.

    A job begins in the thread that owns the device. The function it returns packs, hashes and stores the
    result in another thread while the device continues. The number of unfinished jobs is bounded, and so is
    the memory they need. All methods are called in the event loop.

    Args:
        most: number of jobs that may wait; quick jobs are counted separately, and take turns with the others.
        count: called after each job with whether it was quick, its seconds, and its error or None.

    Attributes:
        failures: number of jobs, quick ones excluded, that failed since the last one succeeded.
    """

    def __init__(self, most: int, count: Callable[[bool, float, Exception | None], None]) -> None:
        self.failures = 0
        self._most = most
        self._count = count
        self._waiting = {True: 0, False: 0}
        self._jobs: dict[str, _Job] = {}
        self._stopped = False
        self._mean_s = 1.0
        self._owner = ThreadPoolExecutor(1, thread_name_prefix="device")
        self._writers = ThreadPoolExecutor(WRITERS, thread_name_prefix="pack")
        self._room = asyncio.Semaphore(2 * WRITERS)
        self._turns = _Turns()

    @property
    def waiting(self) -> int:
        """Number of jobs that wait for the device."""
        return sum(self._waiting.values())

    def submit(self, key: str, begin: Begin, *, quick: bool = False) -> "asyncio.Task[Any]":
        """The job of this key that is not finished; a new one if there is none.

        Raises:
            Busy: too many jobs wait.
        """
        job = self._jobs.get(key)
        if job is None:
            if self._waiting[quick] >= self._most:
                wait = math.ceil(self._mean_s * (1 + self.waiting))
                raise Busy(min(max(wait, 1), _LONGEST_RETRY_S))
            self._waiting[quick] += 1
            job = self._jobs[key] = _Job(quick)
            job.task = asyncio.create_task(self._run(key, job, begin))
            # Its error is known even if nobody waits for it any more.
            job.task.add_done_callback(lambda task: task.cancelled() or task.exception())
        job.waiters += 1
        assert job.task is not None
        return job.task

    def abandon(self, key: str) -> None:
        """One of those who submitted a job waits no more: if none does, it is dropped unless it has begun."""
        job = self._jobs.get(key)
        if job is None:
            return
        job.waiters -= 1
        if not (job.waiters or job.begun):
            del self._jobs[key]
            self._waiting[job.quick] -= 1
            assert job.task is not None
            job.task.cancel()

    async def close(self) -> None:
        """Finish the jobs that have begun; those that wait end with ``Stopped``."""
        self._stopped = True
        tasks = [job.task for job in self._jobs.values() if job.task is not None]
        if tasks:
            await asyncio.wait(tasks, timeout=_LAST_RENDERS_S)
        self._owner.shutdown(wait=False)
        self._writers.shutdown(wait=False)

    async def _run(self, key: str, job: _Job, begin: Begin) -> Any:
        loop, quick = asyncio.get_running_loop(), job.quick
        start = time.perf_counter()
        try:
            async with nullcontext() if quick else self._room:
                async with self._turns.turn(quick):
                    job.begun = True
                    self._waiting[quick] -= 1
                    if self._stopped:
                        raise Stopped("the service is shutting down")
                    start = time.perf_counter()
                    finish = await loop.run_in_executor(self._owner, begin)
                result = await loop.run_in_executor(self._writers, finish)
        except Exception as error:
            self._ended(quick, time.perf_counter() - start, error)
            raise
        else:
            self._ended(quick, time.perf_counter() - start, None)
            return result
        finally:
            if self._jobs.get(key) is job:
                del self._jobs[key]

    def _ended(self, quick: bool, seconds: float, error: Exception | None) -> None:
        if not quick:
            self._mean_s += _WEIGHT * (seconds - self._mean_s)
            self.failures = 0 if error is None else self.failures + 1
        self._count(quick, seconds, error)
