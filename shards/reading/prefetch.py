"""Looking ahead: shards of the next window are loaded while the samples of this one are used."""

import queue
import threading
from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from typing import Generic, TypeVar

import numpy as np

from synthspine.shards.format.order import Places

Loaded = TypeVar("Loaded")

LOADERS = 2
"""Threads that load: one that waits for bytes and one that hashes."""


def read_ahead(
    windows: Iterator[Places], load: Callable[[int], Loaded], threads: int = LOADERS
) -> Iterator[tuple[Places, Callable[[int], Loaded]]]:
    """Windows, each with a function that gives its loaded shards.

    At most the shards of two windows are in memory. Shards are loaded in the order of their first use; an
    error of ``load`` is raised when its shard is asked for.

    Args:
        windows: what is read, one after the other.
        load: loads a shard, by number; called in the background.
        threads: calls of ``load`` at a time.
    """
    loaders = _Loaders(load, threads)
    waiting: deque[tuple[Places, dict[int, Future[Loaded]]]] = deque()
    try:
        for places in windows:
            # The next window may need a shard of this one: what was loaded once is used again.
            known = waiting[-1][1] if waiting else {}
            numbers = _in_order_of_use(places.shards)
            waiting.append((places, {n: known.get(n) or loaders.begin(n) for n in numbers}))
            if len(waiting) > 1:
                yield _loaded(*waiting.popleft())
        while waiting:
            yield _loaded(*waiting.popleft())
    finally:
        loaders.stop()


class _Loaders(Generic[Loaded]):
    """Threads that load shards, in the order in which they were asked for.

    Unlike those of an executor they are not waited for when the program ends: a server that does not answer
    must not keep it from being interrupted.
    """

    def __init__(self, load: Callable[[int], Loaded], threads: int) -> None:
        self._load = load
        self._stopped = False
        self._asked: queue.SimpleQueue[tuple[int, Future[Loaded]] | None] = queue.SimpleQueue()
        self._threads = threads
        for number in range(threads):
            threading.Thread(target=self._work, name=f"shards_{number}", daemon=True).start()

    def begin(self, shard: int) -> Future[Loaded]:
        future: Future[Loaded] = Future()
        self._asked.put((shard, future))
        return future

    def stop(self) -> None:
        self._stopped = True
        for _ in range(self._threads):
            self._asked.put(None)

    def _work(self) -> None:
        while (asked := self._asked.get()) is not None:
            shard, future = asked
            if self._stopped:
                continue
            try:
                future.set_result(self._load(shard))
            except BaseException as error:
                future.set_exception(error)


def _loaded(places: Places, futures: dict[int, Future[Loaded]]) -> tuple[Places, Callable[[int], Loaded]]:
    return places, lambda shard: futures[shard].result()


def _in_order_of_use(shards: np.ndarray) -> list[int]:
    numbers, first_use = np.unique(shards, return_index=True)
    return numbers[np.argsort(first_use)].tolist()
