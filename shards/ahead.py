"""Looking ahead: shards of the next window are loaded while the samples of this one are used."""

from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

import numpy as np

from shards.order import Places

Loaded = TypeVar("Loaded")

THREADS = 2
"""Threads that load: one that waits for bytes and one that hashes."""


def read_ahead(
    windows: Iterator[Places], load: Callable[[int], Loaded], threads: int = THREADS
) -> Iterator[tuple[Places, Callable[[int], Loaded]]]:
    """Windows, each with a function that gives its loaded shards.

    At most the shards of two windows are in memory. Shards are loaded in the order of their first use; an
    error of ``load`` is raised when its shard is asked for.

    Args:
        windows: what is read, one after the other.
        load: loads a shard, by number; called in the background.
        threads: calls of ``load`` at a time.
    """
    pool = ThreadPoolExecutor(threads, thread_name_prefix="shards")
    waiting: deque[tuple[Places, dict[int, Future[Loaded]]]] = deque()
    try:
        for places in windows:
            # The next window may need a shard of this one: what was loaded once is used again.
            known = waiting[-1][1] if waiting else {}
            numbers = _in_order_of_use(places.shards)
            waiting.append((places, {n: known.get(n) or pool.submit(load, n) for n in numbers}))
            if len(waiting) > 1:
                yield _loaded(*waiting.popleft())
        while waiting:
            yield _loaded(*waiting.popleft())
    finally:
        pool.shutdown(wait=False, cancel_futures=True)


def _loaded(places: Places, futures: dict[int, Future[Loaded]]) -> tuple[Places, Callable[[int], Loaded]]:
    return places, lambda shard: futures[shard].result()


def _in_order_of_use(shards: np.ndarray) -> list[int]:
    numbers, first_use = np.unique(shards, return_index=True)
    return numbers[np.argsort(first_use)].tolist()
