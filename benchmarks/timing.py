"""Time measurement: tasks run in turns, so that a slow phase of the machine affects all of them alike.

Every benchmark that compares times calls :func:`time_in_turns`.
"""

import math
import statistics
import time
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from typing import Self

import torch

_LEAST_ROUNDS = 3


@dataclass(frozen=True, kw_only=True, slots=True)
class Task:
    """Work to be timed.

    Attributes:
        name: what is done.
        prepare: returns a context manager that yields the work as a function. The function is timed;
            entering and leaving the context is not.
    """

    name: str
    prepare: Callable[[], AbstractContextManager[Callable[[], object]]]

    @classmethod
    def of(cls, name: str, work: Callable[[], object]) -> Self:
        """A task without preparation."""
        return cls(name=name, prepare=lambda: nullcontext(work))


@dataclass(kw_only=True, slots=True)
class Times:
    """Measured times of one task."""

    name: str
    first_s: float = math.nan
    """Seconds of the first run, which warms up and includes compilation."""
    wall_s: list[float] = field(default_factory=list)
    """Seconds of every later run."""
    cpu_s: list[float] = field(default_factory=list)
    """CPU seconds of this process, all threads together, of the same runs."""

    @property
    def median_s(self) -> float:
        """Median of ``wall_s``."""
        return statistics.median(self.wall_s)

    @property
    def median_cpu_s(self) -> float:
        """Median of ``cpu_s``."""
        return statistics.median(self.cpu_s)


def time_in_turns(
    tasks: Sequence[Task],
    rounds: int,
    *,
    device: torch.device | None = None,
    least_s: float = 0.0,
    budget_s: float = math.inf,
) -> list[Times]:
    """Run every task once to warm up, then time all of them in every round.

    Args:
        tasks: the tasks. Each round begins with another one.
        rounds: number of timed rounds.
        device: device whose queued work is waited for before the clock is read; None for the CPU.
        least_s: a task is repeated within its turn until this many seconds have passed.
        budget_s: no new round starts after this many seconds; three rounds always run.

    Returns:
        One entry per task, in the order given.
    """
    found = [Times(name=task.name) for task in tasks]
    for task, times in zip(tasks, found, strict=True):
        with task.prepare() as work:
            times.first_s, _ = _seconds(work, device)
    start = time.perf_counter()
    for number in range(rounds):
        if number >= _LEAST_ROUNDS and time.perf_counter() - start > budget_s:
            break
        for place in range(len(tasks)):
            which = (number + place) % len(tasks)
            with tasks[which].prepare() as work:
                until = time.perf_counter() + least_s
                while True:
                    wall_s, cpu_s = _seconds(work, device)
                    found[which].wall_s.append(wall_s)
                    found[which].cpu_s.append(cpu_s)
                    if time.perf_counter() >= until:
                        break
    return found


def synchronize(device: torch.device | None) -> None:
    """Wait for the work that a CUDA device has queued; do nothing for other devices."""
    if device is not None and device.type == "cuda":
        torch.cuda.synchronize(device)


def _seconds(work: Callable[[], object], device: torch.device | None) -> tuple[float, float]:
    synchronize(device)
    wall_s, cpu_s = time.perf_counter(), time.process_time()
    work()
    synchronize(device)
    return time.perf_counter() - wall_s, time.process_time() - cpu_s
