"""Where the time of ``draw`` and ``render`` goes, step by step."""

import dataclasses
import inspect
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import CodeType, FunctionType
from typing import Any

import torch

from benchmarks.label_maps import label_maps
from synthspine.gen import draw, generator, preset, render

REST = "rest"
"""What ``draw`` and ``render`` do between their steps."""


@contextmanager
def timed_steps(whole: str, synchronise: Callable[[], None]) -> Iterator[dict[str, list[float]]]:
    """Time every function that ``whole`` calls by a name of ``gen.generator``.

    Functions of ``gen.generator`` itself are looked into; the others are the steps.

    Args:
        whole: ``"draw"`` or ``"render"``.
        synchronise: waits until the device is done.

    Yields:
        Seconds of every call, by name of the step; filled while the context is open.
    """
    seconds: dict[str, list[float]] = {}

    def timed(name: str, function: Callable[..., Any]) -> Callable[..., Any]:
        def call(*args: Any, **kwargs: Any) -> Any:
            synchronise()
            start = time.perf_counter()
            result = function(*args, **kwargs)
            synchronise()
            seconds.setdefault(name, []).append(time.perf_counter() - start)
            return result

        return call

    originals = {name: getattr(generator, name) for name in _steps_of(getattr(generator, whole), set())}
    for name, function in originals.items():
        setattr(generator, name, timed(name, function))
    try:
        yield seconds
    finally:
        for name, function in originals.items():
            setattr(generator, name, function)


def _steps_of(function: Callable[..., Any], seen: set[str]) -> list[str]:
    steps: list[str] = []
    code = inspect.unwrap(function).__code__
    # Comprehensions are code of their own, kept among the constants.
    inner = [constant for constant in code.co_consts if isinstance(constant, CodeType)]
    for name in (name for part in (code, *inner) for name in part.co_names):
        step = getattr(generator, name, None)
        if not isinstance(step, FunctionType) or name in seen:
            continue
        seen.add(name)
        steps += _steps_of(step, seen) if step.__module__ == generator.__name__ else [name]
    return steps


def step_seconds(
    name: str, grid: tuple[int, ...], batch: int, repeats: int, device: torch.device
) -> dict[str, dict[str, float]]:
    """Median seconds per batch of every step of ``draw`` and ``render``, and of the rest of them.

    Args:
        name: preset.
        grid: sides of the grid.
        batch: samples per batch.
        repeats: batches to time, after one to warm up.
        device: where to render.
    """
    bank = label_maps(grid).to(device)
    config = preset(name)
    config = dataclasses.replace(config, slice_spacing_mm=config.spacing_mm)

    def synchronise() -> None:
        if device.type == "cuda":
            torch.cuda.synchronize(device)

    def drawn(number: int) -> Any:
        indices = torch.arange(batch) + number * batch
        return draw(config, 0, indices, maps=len(bank), dims=len(grid), device=device)

    batches = [drawn(number) for number in range(repeats + 1)]
    tables = {}
    for whole, call in (("draw", drawn), ("render", lambda number: render(bank, batches[number]))):
        rounds = []
        for number in range(repeats + 1):
            with timed_steps(whole, synchronise) as seconds:
                synchronise()
                start = time.perf_counter()
                call(number)
                synchronise()
                total = time.perf_counter() - start
            steps = {step: sum(values) for step, values in seconds.items()}
            rounds.append({**steps, REST: total - sum(steps.values())})
        tables[whole] = _medians(rounds[1:])
    return tables


def _medians(rounds: list[dict[str, float]]) -> dict[str, float]:
    return {
        step: torch.tensor([turn.get(step, 0.0) for turn in rounds]).median().item() for step in rounds[-1]
    }
