"""Time of every step of ``draw`` and ``render``: CPU time on the CPU, which other programs disturb less."""

import dataclasses
import inspect
import statistics
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import CodeType, FunctionType, ModuleType
from typing import Any

import torch

from benchmarks.label_maps import label_maps
from benchmarks.timing import synchronize
from synthspine.gen import draw, preset, render
from synthspine.gen.params import FEATURES

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
        return draw(config, 0, indices, maps=len(bank), dims=len(grid), device=device)

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
