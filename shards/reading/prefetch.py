"""Reading ahead: items are loaded in background threads while earlier ones are used.

Used by readers of shards, by the feeds of training and by the prediction of many scans.
"""

import queue
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future
from contextlib import closing
from typing import Generic, TypeVar

from synthspine.shards.format.order import Places

Item = TypeVar("Item")
Loaded = TypeVar("Loaded")

LOADERS = 2
"""Threads that load shards: one that waits for bytes and one that hashes."""
GRACE_S = 1.0
"""Seconds given to a thread to end by itself: one that still runs at the end of the program may crash it."""


class Prefetcher(Generic[Item, Loaded]):
    """Threads that load items in the order of the requests, ``threads`` of them at a time.

    Unlike the threads of an executor they do not keep a program from ending for longer than ``GRACE_S``, so a
    program that waits for a server can be interrupted.
    """

    def __init__(self, load: Callable[[Item], Loaded], *, threads: int = 1, name: str = "prefetch") -> None:
        self._load = load
        self._closed = False
        self._requests: queue.SimpleQueue[tuple[Item, Future[Loaded]] | None] = queue.SimpleQueue()
        self._threads = [
            threading.Thread(target=self._work, name=f"{name}_{number}", daemon=True)
            for number in range(threads)
        ]
        for thread in self._threads:
            thread.start()

    def begin(self, item: Item) -> Future[Loaded]:
        """Request an item; the future gives it, or raises the error of ``load``."""
        future: Future[Loaded] = Future()
        self._requests.put((item, future))
        return future

    def close(self, *, wait: bool = False) -> None:
        """Drop what is not begun, end the threads: with ``wait`` after their loads, else in ``GRACE_S``."""
        self._closed = True
        for _ in self._threads:
            self._requests.put(None)
        last = time.monotonic() + GRACE_S
        for thread in self._threads:
            thread.join(None if wait else max(last - time.monotonic(), 0))

    def _work(self) -> None:
        while (request := self._requests.get()) is not None:
            item, future = request
            if self._closed:
                continue
            try:
                future.set_result(self._load(item))
            except BaseException as error:
                future.set_exception(error)
            # The thread keeps nothing alive while it waits for the next request.
            del request, item, future


def prefetch(items: Sequence[Item], load: Callable[[Item], Loaded]) -> Iterator[tuple[Item, Future[Loaded]]]:
    """Items with their loaded values; the next item is loaded in a thread while this one is used.

    An error of ``load`` is raised by the future.
    """
    with closing(Prefetcher(load)) as loader:
        coming = [loader.begin(item) for item in items[:1]]
        for number, item in enumerate(items):
            loaded = coming.pop()
            loaded.exception()
            coming += [loader.begin(following) for following in items[number + 1 : number + 2]]
            yield item, loaded


def read_ahead(
    windows: Iterator[Places], load: Callable[[int], Loaded]
) -> Iterator[tuple[Places, Callable[[int], Loaded]]]:
    """Windows, each with a function that gives its loaded shards; the next window is loaded meanwhile.

    At most the shards of two windows are in memory. ``load`` loads a shard, by number, in the background;
    shards are loaded in the order of their first use. An error is raised when its shard is requested.
    """
    loaders = Prefetcher(load, threads=LOADERS, name="shards")
    waiting: deque[tuple[Places, dict[int, Future[Loaded]]]] = deque()
    try:
        for places in windows:
            # The next window may need a shard of this one: what was loaded once is used again.
            known = waiting[-1][1] if waiting else {}
            numbers = dict.fromkeys(places.shards.tolist())
            waiting.append((places, {n: known.get(n) or loaders.begin(n) for n in numbers}))
            if len(waiting) > 1:
                yield _loaded(*waiting.popleft())
        while waiting:
            yield _loaded(*waiting.popleft())
    finally:
        loaders.close()


def _loaded(places: Places, futures: dict[int, Future[Loaded]]) -> tuple[Places, Callable[[int], Loaded]]:
    return places, lambda shard: futures[shard].result()
