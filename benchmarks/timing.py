"""Time measurement: tasks run in turns, so that a slow phase of the machine affects all of them alike.

Every benchmark that compares times calls :func:`time_in_turns`. :func:`step_milliseconds` times every step of
``draw`` and ``render``.
"""

import dataclasses
import inspect
import math
import statistics
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass, field
from types import CodeType, FunctionType, ModuleType
from typing import Any, Self

import torch

from benchmarks.label_maps import label_maps
from synthspine.gen import draw, preset, render
from synthspine.gen.params import FEATURES

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


REST = "rest"
"""Time of ``draw`` and ``render`` between their steps."""


@contextmanager
def timed_steps(whole: Callable[..., Any], device: torch.device) -> Iterator[dict[str, float]]:
    """Time every function that ``draw`` or ``render`` calls by a name of its own module, and features.

    Functions of that module are looked into; functions of other modules are the steps, and so is the
    ``sample`` of every feature, less that of features that it draws in turn.

    Yields:
        Seconds of all calls by name of the step; filled while the context is open.
    """
    seconds: dict[str, float] = {}
    clock = _clock(device)

    def timed(name: str, function: Callable[..., Any]) -> Callable[..., Any]:
        def call(*args: Any, **kwargs: Any) -> Any:
            synchronize(device)
            start, inner = clock(), sum(seconds.values())
            result = function(*args, **kwargs)
            synchronize(device)
            inner = sum(seconds.values()) - inner
            seconds[name] = seconds.get(name, 0.0) + clock() - start - inner
            return result

        return call

    module = inspect.getmodule(inspect.unwrap(whole))
    assert module is not None
    originals: list[tuple[Any, str, str]] = [(module, name, name) for name in _steps_of(whole, module, set())]
    if whole is draw:
        originals += [(kind, "sample", name) for name, kind in FEATURES.items() if "sample" in vars(kind)]
    functions = [getattr(owner, name) for owner, name, _ in originals]
    for (owner, name, step), function in zip(originals, functions, strict=True):
        setattr(owner, name, timed(step, function))
    try:
        yield seconds
    finally:
        for (owner, name, _), function in zip(originals, functions, strict=True):
            setattr(owner, name, function)


def _clock(device: torch.device) -> Callable[[], float]:
    return time.process_time if device.type == "cpu" else time.perf_counter


def _steps_of(function: Callable[..., Any], module: ModuleType, seen: set[str]) -> list[str]:
    steps: list[str] = []
    code = inspect.unwrap(function).__code__
    # Comprehensions are code of their own, kept among the constants.
    inner = [constant for constant in code.co_consts if isinstance(constant, CodeType)]
    for name in (name for part in (code, *inner) for name in part.co_names):
        step = getattr(module, name, None)
        if isinstance(step, FunctionType) and name not in seen:
            seen.add(name)
            own = step.__module__ == module.__name__
            steps += _steps_of(step, module, seen) if own else [name]
    return steps


def step_milliseconds(
    name: str, grid: tuple[int, ...], batch: int, repeats: int, device: torch.device
) -> dict[str, dict[str, float]]:
    """Median milliseconds per sample of every step of ``draw`` and ``render``, and of the rest of them.

    Times ``repeats`` batches of the preset ``name``, after one to warm up.
    """
    bank = label_maps(grid).to(device)
    clock = _clock(device)
    config = preset(name)
    config = dataclasses.replace(config, slice_spacing_mm=config.spacing_mm)

    def draw_batch(number: int) -> Any:
        indices = torch.arange(batch) + number * batch
        return draw(config, 0, indices, maps=len(bank), dims=len(grid))

    batches = [draw_batch(number) for number in range(repeats + 1)]
    tables = {}
    for whole, call in ((draw, draw_batch), (render, lambda number: render(bank, batches[number]))):
        rounds = []
        for number in range(repeats + 1):
            with timed_steps(whole, device) as seconds:
                synchronize(device)
                start = clock()
                call(number)
                synchronize(device)
                total = clock() - start
            rounds.append({**seconds, REST: total - sum(seconds.values())})
        tables[whole.__name__] = {
            step: 1e3 * statistics.median(turn.get(step, 0.0) for turn in rounds[1:]) / batch
            for step in rounds[-1]
        }
    return tables
