"""Places behind a URL: object stores, and any other file system of fsspec.

A place holds no file system: fsspec caches them per process and handles forks.
"""

import os
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, TypeVar
from urllib.parse import unquote, urlsplit

import fsspec
from fsspec import AbstractFileSystem
from fsspec.asyn import AsyncFileSystem
from fsspec.config import conf

from synthspine.gen.core.documents import UnfitFile
from synthspine.shards.storage.atomic import temporary_name
from synthspine.shards.storage.place import Place, check_held, checked_name
from synthspine.shards.storage.retries import Retries, Transient

RETRIES = Retries()
S3 = ("s3", "s3a")

_WHOLE_OR_NOT = {*S3, "gs", "gcs", "az", "abfs", "abfss", "oci", "ocilake", "oss", "memory"}
"""Protocols that show a file only when it is complete; with others it is written and then renamed."""

Result = TypeVar("Result")


@dataclass(frozen=True, repr=False)
class RemotePlace(Place):
    """A folder of an fsspec file system.

    Attributes:
        url: without a slash at the end; it may hold credentials.
        shown: the same without credentials.
    """

    url: str
    shown: str

    @property
    def name(self) -> str:
        """The last component: the folder, or the bucket or server."""
        return self.shown.rpartition("/")[2]

    @property
    def path(self) -> None:
        """None: it is not a local folder."""
        return None

    def __truediv__(self, name: str) -> "RemotePlace":
        return type(self)(self._at(name), f"{self.shown}/{name}")

    def __str__(self) -> str:
        return self.shown

    def read(self, name: str, most_bytes: int | None = None) -> bytes:
        """The whole content of a file."""

        def read(files: Any, path: str) -> bytes:
            # With more than one connection s3fs requests the size first.
            options = {"max_concurrency": 1} if self._is_s3() else {}
            if most_bytes is not None:
                # One byte more, to tell that the file is longer.
                options |= {"start": 0, "end": most_bytes + 1}
            try:
                content = files.cat_file(path, **options)
            except OSError as error:
                # An empty file has no first byte, which S3 answers with an error.
                if "range" not in str(error) or files.info(path)["size"]:
                    raise
                content = b""
            check_held(len(content), most_bytes)
            if not isinstance(files, AsyncFileSystem) and len(content) != files.info(path)["size"]:
                raise Transient(f"{self.shown}/{name}: only {len(content)} bytes came")
            return bytes(content)

        return self._do(read, name)

    def size(self, name: str) -> int | None:
        """Bytes that a file holds, None if there is no such file."""
        try:
            info = self._do(lambda files, path: files.info(path, **self._fresh()), name)
        except FileNotFoundError:
            return None
        return int(info["size"]) if info["type"] == "file" else None

    def write(self, name: str, content: bytes) -> None:
        """Write a file, whole or not at all."""

        def write(files: Any, path: str) -> None:
            if self.protocol in _WHOLE_OR_NOT:
                files.pipe_file(path, content)
                return
            if type(files).mv is AbstractFileSystem.mv:
                # It would copy and remove: a reader could see half of the file.
                raise PermissionError(f"{self.protocol}:// is read only, because it cannot rename files")
            folder, _, last = path.rpartition("/")
            temporary = f"{folder}/{temporary_name(last)}"
            files.makedirs(folder, exist_ok=True)
            try:
                files.pipe_file(temporary, content)
                files.mv(temporary, path)
            except BaseException:
                with suppress(Exception):
                    files.rm_file(temporary)
                raise

        self._do(write, name)

    def remove(self, name: str) -> None:
        """Remove a file, if it exists."""
        with suppress(FileNotFoundError):
            self._do(lambda files, path: files.rm_file(path), name)

    def names(self) -> list[str]:
        """Sorted names of the files directly in this folder; none if the folder does not exist."""

        def names(files: Any, folder: str) -> list[str]:
            found = files.ls(folder, detail=True, **self._fresh())
            entries = [(*entry["name"].rpartition("/"), entry["type"]) for entry in found]
            return sorted(last for at, _, last, kind in entries if kind == "file" and last and at == folder)

        try:
            return self._do(names)
        except FileNotFoundError:
            return []

    def remove_tree(self) -> None:
        """Remove this folder with its content, if it exists."""
        if "/" not in self.shown.partition("://")[2]:
            raise ValueError(f"{self}: a whole server or bucket is not removed")
        with suppress(FileNotFoundError):
            self._do(lambda files, path: files.rm(path, recursive=True))

    @property
    def protocol(self) -> str:
        """The protocol of the URL, in lower case."""
        return self.url.partition("://")[0]

    def _at(self, name: str) -> str:
        return f"{self.url}/{checked_name(name)}"

    def _is_s3(self) -> bool:
        return self.protocol in S3

    def _fresh(self) -> dict[str, bool]:
        # Cached listings of s3fs lack the files that others wrote since.
        return {"refresh": True} if self._is_s3() else {}

    def files(self) -> Any:
        """The file system, as configured, without cached listings."""
        _used.add(self.protocol)
        kind = fsspec.get_filesystem_class(self.protocol)
        options = kind._get_kwargs_from_urls(self.url)
        if self._is_s3():
            # Only RETRIES tries again: its attempts would multiply with those of s3fs and botocore.
            config = {"retries": {"total_max_attempts": 1}, **conf.get("s3", {}).get("config_kwargs", {})}
            options |= {"use_listings_cache": False, "config_kwargs": config}
        files = fsspec.filesystem(self.protocol, **options)
        if self._is_s3():
            files.retries = 1
        else:
            files.invalidate_cache()
        return files

    def attempt(
        self, work: Callable[[], Result], name: str | None = None, retries: Retries | None = None
    ) -> Result:
        """The result of some work on this folder, or on a file in it; transient failures are tried again.

        Raises:
            OSError: it failed; the text names the URL and shows no credentials.
        """
        shown = self.shown if name is None else f"{self.shown}/{name}"
        try:
            return (retries or RETRIES).call(work, shown)
        except FileNotFoundError:
            raise FileNotFoundError(f"{shown}: is not there") from None
        except Exception as error:
            raise self._readable(error, shown) from None

    def _do(self, work: Callable[[Any, str], Result], name: str | None = None) -> Result:
        """The result of ``work(file system, path in it)`` for this folder or a file in it."""
        at = self.url if name is None else self._at(name)

        def attempt() -> Result:
            files = self.files()
            return work(files, files._strip_protocol(at).rstrip("/"))

        return self.attempt(attempt, name)

    def _readable(self, error: Exception, shown: str) -> OSError:
        text = getattr(error, "strerror", None) or str(error) or type(error).__name__
        user, _, password = urlsplit(self.url).netloc.rpartition("@")[0].partition(":")
        for secret in (f"{user}:{password}@", f"{user}@", password, unquote(password)):
            text = text.replace(secret, "") if len(secret) > 1 else text
        text = text if shown in text else f"{shown}: {text}"
        if type(error).__name__ in ("NoCredentialsError", "PartialCredentialsError"):
            return PermissionError(text)
        if isinstance(error, UnfitFile):
            return UnfitFile(text, error.held)
        if not isinstance(error, OSError):
            return OSError(text)
        readable = type(error)(text) if type(error).__module__ == "builtins" else OSError(text)
        readable.errno = error.errno
        return readable


def _hold() -> None:
    # A forked child drops fsspec's file systems. Collecting them there would close their connections, which
    # unregisters them from the event loop of the parent, too, because both share its epoll descriptor: the
    # parent's next request would hang until it times out.
    for protocol in tuple(_used):
        _held.extend(tuple(fsspec.get_filesystem_class(protocol)._cache.values()))


def _inherit() -> None:
    _inherited.extend(_held)
    _held.clear()


_used: set[str] = set()
_held: list[Any] = []
_inherited: list[Any] = []
os.register_at_fork(before=_hold, after_in_parent=_held.clear, after_in_child=_inherit)
