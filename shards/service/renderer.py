"""One owner of the device: a thread that renders what is asked for, one after the other."""

import math
import threading
import time
from collections import deque
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any

from synthspine.shards.building.write import WRITERS

_LONGEST_WAIT_S = 30
_LAST_S = 30.0
"""Longest time to wait for a render at the end, seconds."""
_WEIGHT = 0.2
"""Of the newest render in the running mean of their seconds."""

Begin = Callable[[], Callable[[], Any]]


class Busy(Exception):
    """Too much is waiting already.

    Attributes:
        retry_after_s: when it may be worth to come again, whole seconds.
    """

    def __init__(self, retry_after_s: int) -> None:
        super().__init__(f"too many renders are waiting; come again in {retry_after_s} s")
        self.retry_after_s = retry_after_s


class Stopped(Exception):
    """The service ends."""


@dataclass(slots=True)
class _Job:
    key: str
    begin: Begin
    quick: bool
    done: Future[Any] = field(default_factory=Future)


class DeviceQueue:
    """Renders one thing at a time, and each once however many ask for it.

    A job begins in the thread that owns the device; what it returns finishes it in another thread, while the
    device goes on: packing, hashing, writing. So many finish at a time, and as many again are begun, that
    memory is bounded.

    Args:
        most: jobs that may wait; quick ones are counted for themselves and go first.
        landed: called with the seconds a job took and its error, None if it ended well.
    """

    def __init__(self, most: int, landed: Callable[[bool, float, Exception | None], None]) -> None:
        self._most = most
        self._landed = landed
        self._waiting: dict[bool, deque[_Job]] = {True: deque(), False: deque()}
        self._flights: dict[str, _Job] = {}
        self._changed = threading.Condition()
        self._stopped = False
        self._room = threading.BoundedSemaphore(2 * WRITERS)
        self._writers = ThreadPoolExecutor(WRITERS, thread_name_prefix="pack")
        self._mean_s = 1.0
        self._failures = 0
        self._owner = threading.Thread(target=self._own, name="device", daemon=True)
        self._owner.start()

    @property
    def waiting(self) -> int:
        """Jobs that wait for the device."""
        return sum(map(len, self._waiting.values()))

    @property
    def failures(self) -> int:
        """Jobs, but for quick ones, that failed since one of them ended well."""
        return self._failures

    def submit(self, key: str, begin: Begin, *, quick: bool = False) -> Future[Any]:
        """Result of a job; of the one with that key that waits or runs already, if there is one.

        Args:
            key: what is rendered.
            begin: begins it, and returns what finishes it.
            quick: whether it goes before the others.

        Raises:
            Busy: too much is waiting.
            Stopped: the service ends.
        """
        with self._changed:
            if self._stopped:
                raise Stopped("the service ends")
            if (flight := self._flights.get(key)) is not None:
                return flight.done
            if len(self._waiting[quick]) >= self._most:
                wait = math.ceil(self._mean_s * (1 + self.waiting))
                raise Busy(min(max(wait, 1), _LONGEST_WAIT_S))
            job = _Job(key, begin, quick)
            self._flights[key] = job
            self._waiting[quick].append(job)
            self._changed.notify()
        return job.done

    def close(self) -> None:
        """End: what waits is dropped, what was begun is finished."""
        with self._changed:
            self._stopped = True
            dropped = [*self._waiting[True], *self._waiting[False]]
            for jobs in self._waiting.values():
                jobs.clear()
            self._changed.notify_all()
        for job in dropped:
            job.done.set_exception(Stopped("the service ends"))
        # A device that hangs must not keep the process from ending.
        self._owner.join(_LAST_S)
        self._writers.shutdown(wait=True)

    def _own(self) -> None:
        while True:
            self._room.acquire()
            with self._changed:
                while not self._stopped and not self.waiting:
                    self._changed.wait()
                if self._stopped:
                    return
                job = (self._waiting[True] or self._waiting[False]).popleft()
            start = time.perf_counter()
            try:
                finish = job.begin()
                self._writers.submit(self._finish, job, finish, start)
            except Exception as error:
                self._land(job, start, None, error)

    def _finish(self, job: _Job, finish: Callable[[], Any], start: float) -> None:
        try:
            result = finish()
        except Exception as error:
            self._land(job, start, None, error)
        else:
            self._land(job, start, result, None)

    def _land(self, job: _Job, start: float, result: Any, error: Exception | None) -> None:
        seconds = time.perf_counter() - start
        with self._changed:
            del self._flights[job.key]
            if not job.quick:
                self._mean_s += _WEIGHT * (seconds - self._mean_s)
                self._failures = 0 if error is None else self._failures + 1
        self._room.release()
        self._landed(job.quick, seconds, error)
        if error is None:
            job.done.set_result(result)
        else:
            job.done.set_exception(error)
