"""The queue of the device: requested shards and previews are rendered one after the other."""

import asyncio
import math
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import nullcontext
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


class DeviceQueue:
    """Runs one job at a time on the device, and each only once however often it is submitted.

    A job begins in the thread that owns the device. The function it returns packs, hashes and stores the
    result in another thread while the device continues. The number of unfinished jobs is bounded, and so is
    the memory they need. All methods are called in the event loop.

    Args:
        most: number of jobs that may wait; quick jobs are counted separately and run first.
        count: called after each job with whether it was quick, its seconds, and its error or None.

    Attributes:
        failures: number of jobs, quick ones excluded, that failed since the last one succeeded.
    """

    def __init__(self, most: int, count: Callable[[bool, float, Exception | None], None]) -> None:
        self.failures = 0
        self._most = most
        self._count = count
        self._waiting = {True: 0, False: 0}
        self._jobs: dict[str, asyncio.Task[Any]] = {}
        self._stopped = False
        self._mean_s = 1.0
        self._owner = ThreadPoolExecutor(1, thread_name_prefix="device")
        self._writers = ThreadPoolExecutor(WRITERS, thread_name_prefix="pack")
        self._room = asyncio.Semaphore(2 * WRITERS)
        self._device = asyncio.Lock()
        # Only one shard at a time waits for the device: a quick job is at most second in line.
        self._shard_turn = asyncio.Lock()

    @property
    def waiting(self) -> int:
        """Number of jobs that wait for the device."""
        return sum(self._waiting.values())

    def submit(self, key: str, begin: Begin, *, quick: bool = False) -> "asyncio.Task[Any]":
        """The job of this key that is not finished; a new one if there is none. Quick jobs run first.

        Raises:
            Busy: too many jobs wait.
        """
        if key not in self._jobs:
            if self._waiting[quick] >= self._most:
                wait = math.ceil(self._mean_s * (1 + self.waiting))
                raise Busy(min(max(wait, 1), _LONGEST_RETRY_S))
            self._waiting[quick] += 1
            self._jobs[key] = asyncio.create_task(self._run(key, begin, quick))
        return self._jobs[key]

    async def close(self) -> None:
        """Finish the jobs that have begun; those that wait end with ``Stopped``."""
        self._stopped = True
        if self._jobs:
            await asyncio.wait(self._jobs.values(), timeout=_LAST_RENDERS_S)
        self._owner.shutdown(wait=False)
        self._writers.shutdown(wait=False)

    async def _run(self, key: str, begin: Begin, quick: bool) -> Any:
        loop = asyncio.get_running_loop()
        start = time.perf_counter()
        error = None
        try:
            async with nullcontext() if quick else self._room:
                async with nullcontext() if quick else self._shard_turn, self._device:
                    self._waiting[quick] -= 1
                    if self._stopped:
                        raise Stopped("the service is shutting down")
                    start = time.perf_counter()
                    finish = await loop.run_in_executor(self._owner, begin)
                return await loop.run_in_executor(self._writers, finish)
        except Exception as raised:
            error = raised
            raise
        finally:
            del self._jobs[key]
            seconds = time.perf_counter() - start
            if not quick:
                self._mean_s += _WEIGHT * (seconds - self._mean_s)
                self.failures = 0 if error is None else self.failures + 1
            self._count(quick, seconds, error)
