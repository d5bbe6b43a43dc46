"""Checks that every request has to pass: size, host, token, number of requests."""

import secrets
import time
from collections.abc import Callable, Collection, Mapping
from urllib.parse import urlsplit

from starlette.datastructures import Headers, MutableHeaders
from starlette.responses import JSONResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from synthspine.shards.service.metrics import Metrics
from synthspine.shards.service.responses import RETRY_S
from synthspine.shards.storage.auth import CHALLENGE

LONGEST_TARGET = 4096
"""Bytes of path and query."""
LONGEST_HEADERS = 2**14
"""Bytes of all headers."""
_PROTECTED = ("/v1/", "/metrics")
"""Prefixes of the paths that need the token; the page, its files and the health checks hold no secrets."""


class RequestChecks:
    """ASGI middleware that refuses requests beyond the limits, and counts responses.

    Args:
        app: the application.
        metrics: its counters.
        requests: largest number of requests for data at a time; all others are always answered.
        token: token that requests for data must carry; None if they need none.
        answers_to: whether requests without a token may name this host.
        uploads: paths to which a body may be posted; their routes bound its size and time.
    """

    def __init__(
        self,
        app: ASGIApp,
        metrics: Metrics,
        *,
        requests: int,
        token: str | None,
        answers_to: Callable[[str], bool],
        uploads: Collection[str] = (),
    ) -> None:
        self._app = app
        self._metrics = metrics
        self._limit = requests
        self._token = None if token is None else token.encode()
        self._answers_to = answers_to
        self._uploads = uploads
        self._open = 0
        metrics.add_gauge("requests_open", "Requests in progress", lambda: self._open)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request on, or refuse it."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        start, status = time.perf_counter(), 500

        async def send_counted(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                _make_relative(message)
            await send(message)
            self._metrics.sent.inc(len(message.get("body", b"")))

        refusal = self._refusal(scope)
        # Whoever may not have data takes no place of those who may.
        places = int(refusal is None and scope["path"].startswith(_PROTECTED))
        self._open += places
        try:
            await (refusal or self._app)(scope, receive, send_counted)
        finally:
            self._open -= places
            route = getattr(scope.get("route"), "path", "refused" if refusal else "other")
            self._metrics.requests.labels(route, str(status)).inc()
            self._metrics.seconds.labels(route).observe(time.perf_counter() - start)

    def _refusal(self, scope: Scope) -> JSONResponse | None:
        headers, path = Headers(scope=scope), scope["path"]
        if len(scope.get("raw_path") or b"") + len(scope["query_string"]) > LONGEST_TARGET:
            return self._refuse("too long", 414, f"path and query are longer than {LONGEST_TARGET} bytes")
        if sum(len(name) + len(value) for name, value in headers.raw) > LONGEST_HEADERS:
            return self._refuse("headers", 431, f"the headers are longer than {LONGEST_HEADERS} bytes")
        upload = scope["method"] == "POST" and path in self._uploads
        if not upload and (headers.get("Content-Length", "0") != "0" or "Transfer-Encoding" in headers):
            # The body is not read, so the connection cannot be used again.
            return self._refuse("body", 413, "requests have no body here", {"Connection": "close"})
        if self._token is None and (refusal := self._foreign(headers, scope["method"])) is not None:
            return refusal
        if not path.startswith(_PROTECTED):
            return None
        if self._token is not None and not self._has_token(headers.get("Authorization", "")):
            challenge = {"WWW-Authenticate": CHALLENGE}
            return self._refuse("token", 401, "the token is missing or wrong", challenge)
        if self._open >= self._limit:
            later = {"Retry-After": str(RETRY_S)}
            return self._refuse("too many", 503, f"{self._limit} requests are in progress", later)
        return None

    def _foreign(self, headers: Headers, method: str) -> JSONResponse | None:
        """Refuse what a foreign page in a browser of this machine requests."""
        host = _host(headers.get("Host", ""))
        if not self._answers_to(host):
            text = f"this service has no name {host!r}; it answers to localhost, and to those of --hosts"
            return self._refuse("host", 421, text)
        # A link may lead here from anywhere, a form may not.
        followed = headers.get("Sec-Fetch-Dest") == "document" and method in ("GET", "HEAD")
        if headers.get("Sec-Fetch-Site") == "cross-site" and not followed:
            return self._refuse("foreign page", 403, "a page of another server requests this")
        return None

    def _has_token(self, header: str) -> bool:
        kind, _, token = header.partition(" ")
        # In constant time: the duration must not tell how much of a guess is right.
        same = secrets.compare_digest(token.strip().encode("utf-8", "replace"), self._token or b"")
        return same and kind.lower() == "bearer"

    def _refuse(
        self, reason: str, status: int, text: str, headers: Mapping[str, str] | None = None
    ) -> JSONResponse:
        self._metrics.refused.labels(reason).inc()
        return JSONResponse({"error": text}, status, headers)


def _host(header: str) -> str:
    """The host of a ``Host`` header, without its port, in lower case; empty if it is malformed."""
    try:
        return (urlsplit(f"//{header}").hostname or "") if header.isascii() and "@" not in header else ""
    except ValueError:
        return ""


def _make_relative(message: Message) -> None:
    """Redirect to a path of this service, whatever host the request named."""
    headers = MutableHeaders(raw=message["headers"])
    if "Location" in headers:
        headers["Location"] = urlsplit(headers["Location"])._replace(scheme="", netloc="").geturl()
