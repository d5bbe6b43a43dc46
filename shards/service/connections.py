"""Connections: bounded in number, and closed when their clients keep the service waiting."""

import asyncio
import logging
import resource
import socket
from enum import Enum
from typing import Any

import uvicorn
from uvicorn.protocols.http.h11_impl import H11Protocol

REQUEST_S = 10.0
"""Longest time for a client to send a request, since it connected or got its last answer, seconds."""
MOST_CONNECTIONS = 1000
FEWEST_CONNECTIONS = 8

_FILES_PER_CONNECTION = 3
"""Descriptors: the connection, and the shard that is sent, which is opened twice."""
_OTHER_FILES = 64
"""Descriptors that the rest of the process needs."""
_LOOK_S = 0.1
"""Interval at which all connections are looked at, seconds."""
_NO_DESCRIPTOR_S = 1.0
"""Pause after a connection could not be accepted, seconds."""

_log = logging.getLogger("synthspine.service")


class Waits(Enum):
    """What a connection waits for."""

    SERVICE = "the service makes the answer"
    REQUEST = "the client has to send a request"
    READING = "the client has to read what was sent"


class Connection(H11Protocol):
    """A connection that knows for how long it has waited for its client."""

    _state: tuple[Waits, Any, int] | None = None
    _since = 0.0
    _resumed = 0

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Begin to wait for the first request."""
        super().connection_made(transport)
        self.waits()

    def resume_writing(self) -> None:
        """The client has read a piece."""
        super().resume_writing()
        self._resumed += 1

    def waits(self) -> tuple[Waits, float]:
        """What the connection waits for, and for how long, seconds."""
        if self.flow.write_paused or self.transport.is_closing():
            kind = Waits.READING
        elif self.cycle is None or self.cycle.response_complete:
            kind = Waits.REQUEST
        else:
            kind = Waits.SERVICE
        now, state = self.loop.time(), (kind, self.cycle, self._resumed)
        if state != self._state:
            self._state, self._since = state, now
        return kind, now - self._since


class BoundedServer(uvicorn.Server):
    """Accepts connections, ``most`` at a time, and closes those whose clients stall.

    Where there is no more room, the connection that has waited longest for its client is closed in favour of
    a new one. If all of them wait for the service, none is accepted until one ends. ``stall_s`` is the
    longest time for a client to read a piece of an answer, seconds.
    """

    def __init__(self, config: uvicorn.Config, *, stall_s: float, most: int) -> None:
        super().__init__(config)
        self._limits_s = {Waits.REQUEST: REQUEST_S, Waits.READING: stall_s, Waits.SERVICE: float("inf")}
        self._most = most
        self._accepting: list[asyncio.Task[None]] = []
        self._looking: asyncio.Task[None] | None = None

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Start the application, and accept connections."""
        await super().startup(sockets=[])
        self._looking = asyncio.create_task(self._look())
        self._accepting = [asyncio.create_task(self._accept(listener)) for listener in sockets or []]

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Accept no more connections, and finish open requests."""
        for task in self._accepting:
            task.cancel()
        await asyncio.gather(*self._accepting, return_exceptions=True)
        await super().shutdown(sockets)
        if self._looking is not None:
            self._looking.cancel()

    async def _accept(self, listener: socket.socket) -> None:
        loop = asyncio.get_running_loop()
        listener.setblocking(False)
        while True:
            if len(self.server_state.connections) >= self._most:
                # A connection that was closed is gone in the next round of the loop.
                await asyncio.sleep(0 if self._close_longest() else _LOOK_S)
                continue
            try:
                accepted, _ = await loop.sock_accept(listener)
                await loop.connect_accepted_socket(self._connection, accepted)
            except OSError as error:
                _log.warning("no connection can be accepted (%s)", error.strerror)
                self._close_longest()
                await asyncio.sleep(_NO_DESCRIPTOR_S)

    def _connection(self) -> Connection:
        return Connection(self.config, self.server_state, self.lifespan.state)

    def _connections(self) -> list[Connection]:
        return [each for each in self.server_state.connections if isinstance(each, Connection)]

    def _close_longest(self) -> bool:
        """Close the connection that has waited longest for its client; whether there was one."""
        waiting = [(*each.waits(), each) for each in self._connections()]
        mine = [(since, each) for kind, since, each in waiting if kind is not Waits.SERVICE]
        if mine:
            max(mine, key=lambda pair: pair[0])[1].transport.abort()
        return bool(mine)

    async def _look(self) -> None:
        while True:
            await asyncio.sleep(_LOOK_S)
            for each in self._connections():
                kind, seconds = each.waits()
                if seconds < self._limits_s[kind]:
                    continue
                if kind is Waits.REQUEST:
                    # The end of the last answer may still be on its way.
                    each.transport.close()
                else:
                    each.transport.abort()


def most_connections() -> int:
    """Connections at a time, so that the descriptors of this process suffice."""
    files, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    if files == resource.RLIM_INFINITY:
        return MOST_CONNECTIONS
    room = (files - _OTHER_FILES) // _FILES_PER_CONNECTION
    return max(FEWEST_CONNECTIONS, min(MOST_CONNECTIONS, room))


class OncePerSecond(logging.Filter):
    """Lets one record of a kind through in a second, with the number of those that were left out."""

    def __init__(self) -> None:
        super().__init__()
        self._last: dict[tuple[str, str], float] = {}
        self._left_out: dict[tuple[str, str], int] = {}

    def filter(self, record: logging.LogRecord) -> bool:
        """Whether to log a record; a kind is a logger with the first line of a text before its values."""
        kind = record.name, str(record.msg).partition("\n")[0]
        if record.created - self._last.get(kind, 0.0) < 1.0:
            self._left_out[kind] = self._left_out.get(kind, 0) + 1
            return False
        self._last[kind] = record.created
        if left_out := self._left_out.pop(kind, 0):
            record.msg = f"{record.msg} ({left_out} more like this)"
        return True
