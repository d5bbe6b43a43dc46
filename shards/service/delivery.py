"""What the service serves, without HTTP: previews, and shards from the disk cache or made on demand."""

import asyncio
import hashlib
from collections.abc import Coroutine, Mapping
from typing import Any

from synthspine.shards.format.manifest import ShardEntry, manifest_text
from synthspine.shards.service.device_queue import DeviceQueue
from synthspine.shards.service.metrics import Metrics
from synthspine.shards.service.options import ServeOptions
from synthspine.shards.service.preview_query import Preview
from synthspine.shards.service.previews import Previews
from synthspine.shards.service.sets import RenderedSet, ServedSet, content_key
from synthspine.shards.storage.cache import CachedShard, ShardCache

_ATTEMPTS = 4
"""How often a request looks for its shard: a small cache may remove it before it is opened."""
_UNHEALTHY_FAILURES = 3
"""Failed renders in a row after which the service is not ready."""


class NotReadyYet(Exception):
    """The requested shard or picture is still being made."""


class Abandoned(Exception):
    """The client that requested it has gone."""


class Delivery:
    """The sets, the disk cache, the device and the metrics of one service.

    Attributes:
        sets: by name.
        manifests: content and SHA-256 of each ``manifest.json``, by name of the set.
        entries: set and entry of each shard, by names of the set and the file.
    """

    def __init__(
        self, rendered: RenderedSet, stored: Mapping[str, ServedSet], cache: ShardCache, options: ServeOptions
    ) -> None:
        self.rendered = rendered
        self.sets: dict[str, ServedSet] = {rendered.manifest.name: rendered, **stored}
        texts = {name: manifest_text(served.manifest).encode() for name, served in self.sets.items()}
        self.manifests = {name: (text, hashlib.sha256(text).hexdigest()) for name, text in texts.items()}
        self.entries = {
            (name, entry.name): (served, entry)
            for name, served in self.sets.items()
            for entry in served.manifest.shards
        }
        self.previews = Previews(rendered.samples)
        self.metrics = Metrics()
        self._cache = cache
        self._patience_s = options.patience_s
        self._queue = DeviceQueue(options.waiting, self.metrics.count_render)
        self._warm_up: asyncio.Task[Any] | None = None
        self.metrics.add_gauge("queue", "Renders that wait", lambda: self._queue.waiting)
        self.metrics.add_gauge("cache_bytes", "Bytes in the disk cache", lambda: cache.bytes)
        self.metrics.add_gauge("cache_shards", "Shards in the disk cache", lambda: cache.shards)

    def warm_up(self, preview: Preview) -> None:
        """Start a first render, so that the first request does not wait for the device to be set up."""
        self._warm_up = self._queue.submit("warm-up", lambda: self.previews.begin(preview), quick=True)

    def not_ready(self) -> str | None:
        """Why no requests should be sent to this service now; None if it is ready."""
        if self._warm_up is None or not self._warm_up.done():
            return "starting"
        if self._warm_up.exception() is not None:
            return f"the first render failed ({type(self._warm_up.exception()).__name__})"
        if self._queue.failures >= _UNHEALTHY_FAILURES:
            return f"the last {self._queue.failures} renders failed"
        return None

    async def facts(self, served: ServedSet, entry: ShardEntry) -> tuple[int, str] | None:
        """Size in bytes and SHA-256 of a shard; None if it has to be rendered to know them."""
        if not served.manifest.on_demand:
            return entry.bytes, entry.sha256
        found = await asyncio.to_thread(self._cache.open, content_key(entry))
        if found is None:
            return None
        found.file.close()
        return found.bytes, found.sha256

    async def shard(
        self, served: ServedSet, entry: ShardEntry, gone: Coroutine[Any, Any, None]
    ) -> CachedShard:
        """A shard, open to be sent; ``gone`` ends when the client has gone.

        Raises:
            Abandoned: the client has gone.
            Busy: too many renders wait.
            Stopped: the service is shutting down.
            NotReadyYet: it is still being made; a later request will find it.
            Exception: it cannot be made.
        """
        key, leaving = content_key(entry), asyncio.create_task(gone)
        try:
            for _ in range(_ATTEMPTS):
                found = await asyncio.to_thread(self._cache.open, key)
                if found is not None:
                    self.metrics.hits.inc()
                    return found
                self.metrics.misses.inc()
                if served.manifest.on_demand:
                    job = self._queue.submit(key, lambda: served.begin(entry))
                    unkept = await self._wait_for(key, job, leaving)
                else:
                    unkept = await asyncio.to_thread(lambda: served.begin(entry)())
                if unkept is not None:
                    return unkept.again()
        finally:
            leaving.cancel()
        raise NotReadyYet(f"{entry.name}: the disk cache is too small for all the requested shards")

    async def preview(self, preview: Preview, gone: Coroutine[Any, Any, None]) -> bytes:
        """A PNG; raises the same errors as :meth:`shard`."""
        key, leaving = self.previews.key(preview), asyncio.create_task(gone)
        try:
            job = self._queue.submit(key, lambda: self.previews.begin(preview), quick=True)
            png: bytes = await self._wait_for(key, job, leaving)
        finally:
            leaving.cancel()
        return png

    async def close(self) -> None:
        """Finish the renders that have begun, and drop those that wait."""
        await self._queue.close()

    async def _wait_for(self, key: str, job: "asyncio.Task[Any]", leaving: "asyncio.Task[None]") -> Any:
        # A client that is told to come back does not stop the render, one that has gone does.
        await asyncio.wait([job, leaving], timeout=self._patience_s, return_when=asyncio.FIRST_COMPLETED)
        if not job.done() and leaving.done():
            self._queue.abandon(key)
            raise Abandoned("the client has gone")
        if not job.done():
            raise NotReadyYet(f"not rendered within {self._patience_s:g} s; it will be ready soon")
        return job.result()
