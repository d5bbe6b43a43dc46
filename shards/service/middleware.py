"""What every request has to pass: a bound on how many, on their size, and the token."""

import secrets
import time
from collections.abc import Mapping

from starlette.datastructures import Headers
from starlette.responses import JSONResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from synthspine.shards.service.measures import Measures
from synthspine.shards.storage.auth import CHALLENGE

LONGEST_TARGET = 4096
"""Bytes of path and query."""
LONGEST_HEADERS = 2**14
"""Bytes of all headers."""
_GUARDED = ("/v1/", "/metrics")
"""Beginnings of paths that need the token; the page, its files and what tells health hold no secrets."""
_RETRY_S = 2


class Guard:
    """Refuses what the service does not take, counts what it answers.

    Args:
        app: what answers.
        measures: where it counts.
        requests: that may be answered at a time; asking for health is always answered.
        token: that has to come with data; None for none.
    """

    def __init__(self, app: ASGIApp, measures: Measures, requests: int, token: str | None) -> None:
        self._app = app
        self._measures = measures
        self._most = requests
        self._token = None if token is None else token.encode()
        self._open = 0
        measures.watch("requests_open", "Requests that are being answered", lambda: self._open)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request, or refuse it."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        start, status = time.perf_counter(), 500

        async def send_counted(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
            await send(message)

        refusal = self._refusal(scope)
        self._open += 1
        try:
            if refusal is None:
                await self._app(scope, receive, send_counted)
            else:
                await refusal(scope, receive, send_counted)
        finally:
            self._open -= 1
            route = getattr(scope.get("route"), "path", "refused" if refusal else "other")
            self._measures.requests.labels(route, str(status)).inc()
            self._measures.seconds.labels(route).observe(time.perf_counter() - start)

    def _refusal(self, scope: Scope) -> JSONResponse | None:
        headers, path = Headers(scope=scope), scope["path"]
        if len(scope.get("raw_path") or b"") + len(scope["query_string"]) > LONGEST_TARGET:
            return self._refused("too long", 414, f"path and query are longer than {LONGEST_TARGET} bytes")
        if sum(len(name) + len(value) for name, value in headers.raw) > LONGEST_HEADERS:
            return self._refused("headers", 431, f"the headers are longer than {LONGEST_HEADERS} bytes")
        if headers.get("Content-Length", "0") != "0" or "Transfer-Encoding" in headers:
            # The body is not read, so nothing else can come on this connection.
            return self._refused("body", 413, "no request has a body here", {"Connection": "close"})
        needs_token = self._token is not None and path.startswith(_GUARDED)
        if needs_token and not self._is_token(headers.get("Authorization", "")):
            return self._refused(
                "token", 401, "the token is missing or wrong", {"WWW-Authenticate": CHALLENGE}
            )
        if self._open >= self._most and path.startswith(_GUARDED):
            return self._refused(
                "too many", 503, f"{self._most} requests are being answered", {"Retry-After": str(_RETRY_S)}
            )
        return None

    def _is_token(self, header: str) -> bool:
        kind, _, token = header.partition(" ")
        # In constant time: how long it takes must not tell how much of a guess is right.
        same = secrets.compare_digest(token.strip().encode("utf-8", "replace"), self._token or b"")
        return same and kind.lower() == "bearer"

    def _refused(
        self, reason: str, status: int, text: str, headers: Mapping[str, str] | None = None
    ) -> JSONResponse:
        self._measures.refused.labels(reason).inc()
        return JSONResponse({"error": text}, status, headers)
