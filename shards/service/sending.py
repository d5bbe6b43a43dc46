"""Sending a shard: always with its length, never much of it in memory."""

import asyncio
import os
from collections.abc import Callable, Mapping

from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from synthspine.shards.storage.cache import CachedShard

_PIECE = 2**20
"""Bytes that are read and sent at a time: to hand over between threads costs more than to read. An answer
holds about two of them."""


class ShardResponse(Response):
    """A shard or a part of it.

    A client that takes nothing for ``stall_s`` seconds is left: the length that was promised tells it that
    the rest is missing.

    Args:
        shard: what is sent; closed at the end.
        status: 200 or 206.
        headers: but for the length.
        start: first byte.
        stop: end, excluded.
        stall_s: longest time for a piece, seconds.
        sent: called with the bytes of every piece.
    """

    def __init__(
        self,
        shard: CachedShard,
        status: int,
        headers: Mapping[str, str],
        start: int,
        stop: int,
        *,
        stall_s: float,
        sent: Callable[[int], None],
    ) -> None:
        self.shard = shard
        self.status_code = status
        self.background = None
        self.body = b""
        self.init_headers({**headers, "Content-Length": str(stop - start)})
        self._start, self._stop = start, stop
        self._stall_s = stall_s
        self._sent = sent

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send it."""
        try:
            await send(
                {"type": "http.response.start", "status": self.status_code, "headers": self.raw_headers}
            )
            if scope["method"] == "HEAD":
                await send({"type": "http.response.body", "body": b""})
                return
            descriptor, at = self.shard.file.fileno(), self._start
            while at < self._stop:
                piece = await asyncio.to_thread(os.pread, descriptor, min(_PIECE, self._stop - at), at)
                if not piece:
                    raise OSError(f"{self.shard.file.name}: is shorter than it was")
                at += len(piece)
                message = {"type": "http.response.body", "body": piece, "more_body": at < self._stop}
                async with asyncio.timeout(self._stall_s):
                    await send(message)
                self._sent(len(piece))
        finally:
            self.shard.file.close()
