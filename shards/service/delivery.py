"""From a name to a shard that can be sent: out of the disk cache, or made, once however many ask."""

import asyncio
import hashlib
from collections.abc import Callable, Mapping
from concurrent.futures import Future
from typing import Any, TypeVar

from synthspine.shards.format.manifest import ShardEntry
from synthspine.shards.service.measures import Measures
from synthspine.shards.service.previews import Previews
from synthspine.shards.service.renderer import DeviceQueue
from synthspine.shards.service.sets import RenderedSet, ServedSet, manifest_bytes
from synthspine.shards.service.settings import Look
from synthspine.shards.storage.cache import CachedShard, ShardCache

Result = TypeVar("Result")

_TRIES = 3
"""How often a shard is made for a request: a small cache may lose it to others before it is opened."""
_SICK = 3
"""Renders in a row that failed, from which on the service is not ready."""


class TookTooLong(Exception):
    """What was asked for is not there yet."""


class Delivery:
    """Everything the service keeps and does, without HTTP.

    Args:
        rendered: the set that is rendered on demand.
        stored: other sets, by name.
        cache: where shards are kept.
        waiting: renders that may wait.
        patience_s: longest wait of a request, seconds.
    """

    def __init__(
        self,
        rendered: RenderedSet,
        stored: Mapping[str, ServedSet],
        cache: ShardCache,
        *,
        waiting: int,
        patience_s: float,
    ) -> None:
        self.rendered = rendered
        self.sets: dict[str, ServedSet] = {rendered.manifest.name: rendered, **stored}
        self.manifests = {name: _sealed(manifest_bytes(served)) for name, served in self.sets.items()}
        self._entries = {
            (name, entry.name): entry
            for name, served in self.sets.items()
            for entry in served.manifest.shards
        }
        self.previews = Previews(rendered.samples)
        self.measures = Measures()
        self._cache = cache
        self._patience_s = patience_s
        self._queue = DeviceQueue(waiting, self.measures.landed)
        self._warm: Future[Any] | None = None
        self.measures.watch("queue", "Renders that wait", lambda: self._queue.waiting)
        self.measures.watch("cache_bytes", "Bytes in the disk cache", lambda: cache.bytes)
        self.measures.watch("cache_shards", "Shards in the disk cache", lambda: cache.shards)

    def warm_up(self, look: Look) -> None:
        """Begin with a render, so that the first one who asks does not wait for the device to be set up."""
        self._warm = self._queue.submit("warm-up", lambda: self.previews.begin(look), quick=True)

    def not_ready(self) -> str | None:
        """Why no work should be sent here; None if it should."""
        if self._warm is None or not self._warm.done():
            return "starting"
        if self._warm.exception() is not None:
            return f"the first render failed: {self._warm.exception()}"
        if self._queue.failures >= _SICK:
            return f"the last {self._queue.failures} renders failed"
        return None

    def entry(self, set_name: str, shard: str) -> tuple[ServedSet, ShardEntry] | None:
        """A shard by the names of its set and file; None if there is none."""
        entry = self._entries.get((set_name, shard))
        return None if entry is None else (self.sets[set_name], entry)

    async def shard(self, served: ServedSet, entry: ShardEntry) -> CachedShard:
        """A shard, open to be sent.

        Raises:
            Busy: too many wait.
            Stopped: the service ends.
            TookTooLong: it is still being made; it will be there for who comes again.
            Exception: it could not be made.
        """
        key = served.key(entry)
        for _ in range(_TRIES):
            found = await asyncio.to_thread(self._cache.open, key)
            if found is not None:
                self.measures.hits.inc()
                return found
            self.measures.misses.inc()
            if served.on_device:
                await self._wait_for(self._queue.submit(key, lambda: served.begin(entry)))
            else:
                await asyncio.to_thread(lambda: served.begin(entry)())
        found = await asyncio.to_thread(self._cache.open, key)
        if found is None:
            raise TookTooLong(
                f"{entry.name}: the disk cache is too small for the shards that are requested at a time"
            )
        return found

    async def preview(self, look: Look) -> bytes:
        """A PNG; raises as :meth:`shard`."""
        key = self.previews.key(look)
        kept = self.previews.kept(key)
        if kept is not None:
            return kept
        begin: Callable[[], Callable[[], bytes]] = lambda: self.previews.begin(look)  # noqa: E731
        png: bytes = await self._wait_for(self._queue.submit(key, begin, quick=True))
        return png

    def close(self) -> None:
        """End what was begun, drop what waits."""
        self._queue.close()

    async def _wait_for(self, future: "Future[Any]") -> Any:
        # Who gives up must not stop the render: others may wait for it, and who comes again finds it made.
        waiting = asyncio.wrap_future(future)
        done, _ = await asyncio.wait([asyncio.shield(waiting)], timeout=self._patience_s)
        if not done:
            waiting.add_done_callback(lambda late: late.cancelled() or late.exception())
            raise TookTooLong(f"not rendered within {self._patience_s:g} s; it will be there soon")
        return done.pop().result()


def _sealed(content: bytes) -> tuple[bytes, str]:
    """A content with its SHA-256."""
    return content, hashlib.sha256(content).hexdigest()
