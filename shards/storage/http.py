"""Places on HTTP servers. They are read only: write to the folder or bucket that a server serves."""

import asyncio
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any, NoReturn
from urllib.parse import quote, unquote, urlsplit

import aiohttp
from fsspec.asyn import sync

from synthspine.shards.storage.auth import (
    TOKEN_VARIABLE,
    accept_challenge,
    authorization,
    name_server,
    named_server,
)
from synthspine.shards.storage.place import check_held, checked_name
from synthspine.shards.storage.remote import RemotePlace
from synthspine.shards.storage.retries import Retries, Transient, is_transient_status

TIMEOUT = aiohttp.ClientTimeout(total=900, sock_connect=10, sock_read=60)
"""Seconds for one attempt of a request, for connecting, and without a byte arriving."""
ANSWER_S = 120.0
"""Time until the headers of an answer are complete, seconds; a service renders before it answers."""
PACE_S = 30.0
LEAST_RATE = 10_000.0
"""A body arrives with that many bytes per second, at least, measured over ``PACE_S`` seconds."""

PATIENCE = Retries(attempts=30, longest_s=15.0)
"""For shards that are rendered on demand: the server may be busy for minutes, or be restarted."""


@dataclass(frozen=True, repr=False)
class HttpPlace(RemotePlace):
    """A folder of an HTTP server: its files can be read; they cannot be listed, written or removed."""

    @property
    def name(self) -> str:
        """The last component: the folder, or the server."""
        return unquote(self.shown.rpartition("/")[2])

    def __reduce__(self) -> tuple[Any, ...]:
        return _in_this_process, (self.url, self.shown, named_server())

    def __truediv__(self, name: str) -> "HttpPlace":
        return HttpPlace(self._at(name), f"{self.shown}/{quote(checked_name(name))}")

    def read(self, name: str, most_bytes: int | None = None) -> bytes:
        """The whole content of a file."""
        at = self._at(name)
        return self.attempt(lambda: self._request("GET", at, most_bytes).content, name)

    def read_with_headers(self, name: str, most_bytes: int | None = None) -> tuple[bytes, Mapping[str, str]]:
        """The whole content of a file and its headers; waits minutes for a busy server."""
        at = self._at(name)
        answer = self.attempt(lambda: self._request("GET", at, most_bytes), name, PATIENCE)
        return answer.content, answer.headers

    def size(self, name: str) -> int | None:
        """Bytes that a file holds, None if there is no such file."""
        at = self._at(name)

        def size() -> int | None:
            try:
                length = self._request("HEAD", at).headers.get("Content-Length")
            except FileNotFoundError:
                return None
            if length is None:
                raise OSError(f"{self.shown}/{name}: the server does not send its size")
            return int(length)

        return self.attempt(size, name)

    def names(self) -> list[str]:
        """Raises PermissionError."""
        raise PermissionError(f"{self}: folders of a web server cannot be listed")

    def _do(self, work: Callable[[Any, str], Any], name: str | None = None) -> NoReturn:
        """What writes or removes raises PermissionError."""
        where = self.shown if name is None else f"{self.shown}/{checked_name(name)}"
        hint = "write to a folder or a bucket (s3://...) that one serves"
        raise PermissionError(f"{where}: web servers are read only; {hint}")

    def _at(self, name: str) -> str:
        return f"{self.url}/{quote(checked_name(name))}"

    def _request(self, method: str, url: str, most_bytes: int | None = None) -> "_Answer":
        files = self.files()
        answer: _Answer = sync(files.loop, _send, files, method, url, most_bytes)
        if accept_challenge(url, answer.url, answer.status, answer.headers):
            answer = sync(files.loop, _send, files, method, url, most_bytes)
        _check(method, answer)
        if urlsplit(answer.url).path.endswith("/"):
            raise FileNotFoundError("is a folder")
        return answer


def _in_this_process(url: str, shown: str, named: str) -> HttpPlace:
    """A place that another process opened, with the server that the user named first there."""
    name_server(named)
    return HttpPlace(url, shown)


@dataclass(frozen=True)
class _Answer:
    status: int
    headers: Any
    content: bytes
    url: str


async def _send(files: Any, method: str, url: str, most_bytes: int | None) -> _Answer:
    """One HTTP request in the session that fsspec configured; an incomplete body is an error.

    The body of an error is not read. Compressed answers have no length to check against, and may unpack to
    any size: they are not requested and not accepted.
    """
    options: dict[str, Any] = {} if "timeout" in files.client_kwargs else {"timeout": TIMEOUT}
    longest_s = ANSWER_S if options else None
    options |= {**files.kwargs, "auto_decompress": False}
    options["headers"] = {**authorization(url), **options.get("headers", {}), "Accept-Encoding": "identity"}
    session = await files.set_session()
    try:
        async with (
            asyncio.timeout(longest_s) as limit,
            session.request(method, files.encode_url(url), **options) as answer,
        ):
            read = method == "GET" and answer.status == HTTPStatus.OK
            content = await _body(answer, limit, most_bytes) if read else b""
    except TimeoutError as error:
        slow = f"no answer, or fewer than {LEAST_RATE:g} bytes per second"
        raise Transient(f"timed out ({str(error) or slow})") from None
    except aiohttp.ClientPayloadError as error:
        raise Transient(f"the answer was cut short ({error})") from None
    return _Answer(answer.status, answer.headers, content, str(answer.url))


async def _body(answer: aiohttp.ClientResponse, limit: asyncio.Timeout, most_bytes: int | None) -> bytes:
    """The body of an answer, no more than ``most_bytes``, as long as it arrives fast enough."""
    encoding = answer.headers.get("Content-Encoding", "identity")
    if encoding.lower() != "identity":
        raise OSError(f"the server sends it in the encoding {encoding[:40]!r}, which was not requested")
    if "Content-Length" not in answer.headers and "Transfer-Encoding" not in answer.headers:
        raise Transient("the answer has no length, so that it may be cut short")
    check_held(answer.content_length or 0, most_bytes)
    loop = asyncio.get_running_loop()
    parts, received, due = [], 0, PACE_S * LEAST_RATE
    limit.reschedule(loop.time() + PACE_S)
    async for part in answer.content.iter_any():
        parts.append(part)
        received += len(part)
        check_held(received, most_bytes)
        if received >= due:
            due = received + PACE_S * LEAST_RATE
            limit.reschedule(loop.time() + PACE_S)
    return b"".join(parts)


def _check(method: str, answer: _Answer) -> None:
    status = answer.status
    if status == HTTPStatus.OK:
        return
    phrase = HTTPStatus(status).phrase if status in HTTPStatus._value2member_map_ else ""
    text = f"the server answers {method} with {status} {phrase}".rstrip()
    if status in (404, 410):
        raise FileNotFoundError(text)
    if status in (401, 403, 407):
        hint = f"; it requires the token that {TOKEN_VARIABLE} should hold" if status == 401 else ""
        raise PermissionError(text + hint)
    if is_transient_status(status):
        failure = Transient(text)
        wait = answer.headers.get("Retry-After", "")
        failure.after_s = float(wait) if wait.isascii() and wait.isdigit() else 0.0
        raise failure
    raise OSError(text)
