"""Places on HTTP servers: read by GET, written by PUT, removed by DELETE as WebDAV servers do."""

import io
import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from html.parser import HTMLParser
from http import HTTPStatus
from typing import Any
from urllib.parse import quote, unquote, urljoin, urlsplit

import aiohttp
from fsspec.asyn import sync

from synthspine.shards.storage.auth import TOKEN_VARIABLE, authorization, begins_to_ask
from synthspine.shards.storage.place import Bytes, checked_name
from synthspine.shards.storage.remote import RemotePlace
from synthspine.shards.storage.retries import Retries, Transient, status_may_pass

TIMEOUT = aiohttp.ClientTimeout(total=900, sock_connect=10, sock_read=60)
"""Seconds for one attempt of a request, for connecting, and without a byte arriving."""

PATIENCE = Retries(attempts=30, longest_s=15.0)
"""Of what a server makes when it is asked: it may be busy for minutes, or be started again."""

_HINTS = {
    401: f"; it wants the token that {TOKEN_VARIABLE} should hold",
    405: "; the server must allow {method} here (nginx: dav_methods PUT DELETE)",
    409: "; the folder must be there (nginx: create_full_put_path on)",
    413: "; the server must take larger files (nginx: client_max_body_size)",
}


@dataclass(frozen=True, repr=False)
class HttpPlace(RemotePlace):
    """A folder of an HTTP server: read by GET, written by PUT, removed by DELETE as WebDAV servers do."""

    @property
    def name(self) -> str:
        """The last component: the folder, or the server."""
        return unquote(self.shown.rpartition("/")[2])

    def __truediv__(self, name: str) -> "HttpPlace":
        return HttpPlace(self._at(name), f"{self.shown}/{quote(checked_name(name))}")

    def read(self, name: str) -> bytes:
        """The whole content of a file."""
        at = self._at(name)
        return self.attempt(lambda: self._ask("GET", at).content, name)

    def read_with_headers(self, name: str) -> tuple[bytes, Mapping[str, str]]:
        """The whole content of a file and the headers with it; waits minutes for a server that is busy."""
        at = self._at(name)
        answer = self.attempt(lambda: self._ask("GET", at), name, PATIENCE)
        return answer.content, answer.headers

    def size(self, name: str) -> int | None:
        """Bytes that a file holds, None if there is no such file."""
        at = self._at(name)

        def size() -> int | None:
            try:
                length = self._ask("HEAD", at).headers.get("Content-Length")
            except FileNotFoundError:
                return None
            if length is None:
                raise OSError(f"{self.shown}/{name}: the server does not tell its size")
            return int(length)

        return self.attempt(size, name)

    def write(self, name: str, *parts: Bytes) -> None:
        """Write a file of these parts by PUT."""
        at, content = self._at(name), b"".join(parts)
        self.attempt(lambda: self._ask("PUT", at, content), name)

    def remove(self, name: str) -> None:
        """Remove a file by DELETE; a missing one is fine."""
        self.attempt(partial(self._delete, self._at(name)), name)

    def names(self) -> list[str]:
        """The plain files that the server's listing of this folder links to, sorted.

        Raises:
            PermissionError: the server does not list folders (nginx: autoindex on).
        """

        def names() -> list[str]:
            try:
                answer = self._ask("GET", f"{self.url}/", folder=True)
            except FileNotFoundError:
                return []
            if not answer.headers.get("Content-Type", "").startswith("text/html"):
                raise OSError(f"{self}: the server does not list this folder")
            return _linked_files(answer)

        return self.attempt(names)

    def remove_tree(self) -> None:
        """Remove this folder with all in it by DELETE; a missing one is fine."""
        self.check_not_the_root()
        self.attempt(partial(self._delete, f"{self.url}/"))

    def _at(self, name: str) -> str:
        return f"{self.url}/{quote(checked_name(name))}"

    def _delete(self, url: str) -> None:
        try:
            self._ask("DELETE", url)
        except FileNotFoundError:
            return

    def _ask(self, method: str, url: str, body: bytes | None = None, folder: bool = False) -> "_Answer":
        files = self.files()
        answer: _Answer = sync(files.loop, _request, files, method, url, body)
        if begins_to_ask(url, answer.url, answer.status, answer.headers):
            answer = sync(files.loop, _request, files, method, url, body)
        _check(method, answer)
        if method in ("GET", "HEAD") and urlsplit(answer.url).path.endswith("/") and not folder:
            raise FileNotFoundError("is a folder")
        return answer


@dataclass(frozen=True)
class _Answer:
    status: int
    headers: Any
    content: bytes
    url: str


async def _request(files: Any, method: str, url: str, body: bytes | None) -> _Answer:
    """One HTTP request in the session that fsspec configured; the body of the answer is whole or raises."""
    options: dict[str, Any] = {} if "timeout" in files.client_kwargs else {"timeout": TIMEOUT}
    options |= files.kwargs
    # Compressed answers have no length to check against.
    options["headers"] = {**authorization(url), **options.get("headers", {}), "Accept-Encoding": "identity"}
    if method == "DELETE" and url.endswith("/"):
        options["headers"]["Depth"] = "infinity"
    if body is not None:
        options["data"] = io.BytesIO(body)
    # A write that follows a redirect may end as a GET that wrote nothing.
    options["allow_redirects"] = method in ("GET", "HEAD")
    session = await files.set_session()
    try:
        async with session.request(method, files.encode_url(url), **options) as answer:
            content = await answer.read()
    except TimeoutError as error:
        raise Transient(f"timed out ({str(error) or 'no answer'})") from None
    except aiohttp.ClientPayloadError as error:
        raise Transient(f"the answer was cut short ({error})") from None
    framed = "Content-Length" in answer.headers or "Transfer-Encoding" in answer.headers
    if method == "GET" and answer.status == HTTPStatus.OK and not framed:
        raise Transient("the answer has no length, so that it may be cut short")
    return _Answer(answer.status, answer.headers, content, str(answer.url))


def _check(method: str, answer: _Answer) -> None:
    status = answer.status
    if status == HTTPStatus.OK or (200 <= status < 300 and method in ("PUT", "DELETE")):
        return
    phrase = HTTPStatus(status).phrase if status in HTTPStatus._value2member_map_ else ""
    text = f"the server answers {method} with {status} {phrase}".rstrip()
    if status in (404, 410):
        raise FileNotFoundError(text)
    if status in (401, 403, 407):
        raise PermissionError(text + _HINTS.get(status, ""))
    if status_may_pass(status):
        failure = Transient(text)
        wish = answer.headers.get("Retry-After", "")
        failure.after_s = float(wish) if wish.isascii() and wish.isdigit() else 0.0
        raise failure
    raise OSError(text + _HINTS.get(status, "").format(method=method))


class _Links(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.found: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.found += [value for name, value in attrs if tag == "a" and name == "href" and value]


def _linked_files(listing: _Answer) -> list[str]:
    links = _Links()
    links.feed(listing.content.decode("utf-8", errors="replace"))
    folder = unquote(urlsplit(listing.url).path)
    names = set()
    for link in links.found:
        parts = urlsplit(urljoin(listing.url, link))
        at, _, name = unquote(parts.path).rpartition("/")
        if at + "/" == folder and name and not parts.query and re.match(r"https?", parts.scheme):
            names.add(name)
    return sorted(names)
