"""Local copies of shards, found by what they hold and not by what they are called."""

import fcntl
import hashlib
import os
import re
import threading
import time
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from synthspine.shards.storage.atomic import TEMPORARY

CACHE_VARIABLE = "SYNTHSPINE_CACHE"
CACHE_SIZE_VARIABLE = "SYNTHSPINE_CACHE_GB"
DEFAULT_GB = 20.0

_SHA256 = re.compile(r"[0-9a-f]{64}")
_LOCKS = 256
_STALE_S = 3600.0
"""Age in seconds from which a temporary file is taken for that of a killed process."""


class WrongContent(ValueError):
    """Content that is not what was asked for.

    Attributes:
        reason: what is wrong with it.
        content: what came instead.
    """

    def __init__(self, reason: str, content: bytes = b"") -> None:
        super().__init__(reason)
        self.reason = reason
        self.content = content


class ShardCache:
    """Local copies of shards, by the SHA-256 of their content, bounded in size.

    Any number of processes and threads may use one folder at a time; a shard is loaded once. The folder holds
    ``ab/abcdef....tar`` files and ``locks``. What was used longest ago is removed first. A disk that is full
    or cannot be written never stops the reading: there is one warning, and shards are loaded each time.

    Args:
        folder: where the copies are kept; made when it is needed.
        max_bytes: of all copies together. More may be there while shards are being written.

    Raises:
        ValueError: ``max_bytes`` is negative.
    """

    def __init__(self, folder: Path, max_bytes: int) -> None:
        if max_bytes < 0:
            raise ValueError(f"{folder}: a cache of {max_bytes} bytes")
        self.folder = Path(folder)
        self.max_bytes = max_bytes
        self._warned = False

    def fetch(self, sha256: str, size: int, load: Callable[[], bytes]) -> bytes:
        """Content of this SHA-256, checked, from the cache or else loaded.

        Args:
            sha256: of the content, 64 lower-case hexadecimal digits.
            size: of the content, bytes.
            load: gets it from where it comes from.

        Raises:
            WrongContent: what was loaded is not of that size or SHA-256. It is not kept.
            ValueError: not a SHA-256.
        """
        if not _SHA256.fullmatch(sha256):
            raise ValueError(f"{sha256!r}: is not a SHA-256 of 64 lower-case hexadecimal digits")
        if size > self.max_bytes:
            return checked_content(load(), sha256, size)
        path = self.folder / sha256[:2] / f"{sha256}.tar"
        content = self._copy(path, sha256, size)
        if content is not None:
            return content
        with self._locked(f"{int(sha256[:2], 16) % _LOCKS:02x}"):
            # Another process may have stored it while this one waited. A copy that is still damaged goes.
            content = self._copy(path, sha256, size, remove=True)
            if content is not None:
                return content
            content = checked_content(load(), sha256, size)
            self._store(path, content)
        return content

    def _copy(self, path: Path, sha256: str, size: int, remove: bool = False) -> bytes | None:
        try:
            content = path.read_bytes()
        except FileNotFoundError:
            return None
        except OSError as error:
            self._warn(error)
            return None
        if len(content) == size and hashlib.sha256(content).hexdigest() == sha256:
            with suppress(OSError):
                os.utime(path)
            return content
        if remove:
            try:
                path.unlink(missing_ok=True)
            except OSError as error:
                self._warn(error)
        return None

    def _store(self, path: Path, content: bytes) -> None:
        # Not flushed to disk: a copy that a crash leaves damaged is found out when it is read.
        temporary = path.parent / f"{TEMPORARY}{os.getpid()}-{threading.get_ident()}-{path.name}"
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            try:
                temporary.write_bytes(content)
                temporary.replace(path)
            finally:
                temporary.unlink(missing_ok=True)
            with self._locked("room"):
                self._make_room(path)
        except OSError as error:
            self._warn(error)

    def _make_room(self, newest: Path) -> None:
        """Remove what was used longest ago until the rest fits; the newest stays."""
        files = []
        now = time.time()
        for path in self.folder.glob("??/*.tar"):
            with suppress(FileNotFoundError):
                status = path.stat()
                if path.name.startswith(TEMPORARY) and now - status.st_mtime > _STALE_S:
                    path.unlink()
                elif not path.name.startswith(TEMPORARY):
                    files.append((status.st_mtime_ns, status.st_size, path))
        total = sum(size for _, size, _ in files)
        for _, size, path in sorted(files):
            if total <= self.max_bytes:
                break
            if path != newest:
                # Who is reading it has it open, and goes on; who comes later loads it again.
                path.unlink(missing_ok=True)
                total -= size

    @contextmanager
    def _locked(self, name: str) -> Iterator[None]:
        """One process and thread at a time; without a lock where the disk gives none."""
        descriptor = None
        try:
            locks = self.folder / "locks"
            locks.mkdir(parents=True, exist_ok=True)
            descriptor = os.open(locks / name, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o666)
            fcntl.flock(descriptor, fcntl.LOCK_EX)
        except OSError as error:
            self._warn(error)
        try:
            yield
        finally:
            if descriptor is not None:
                # Closing does not unlock what a process forked meanwhile holds open, too.
                with suppress(OSError):
                    fcntl.flock(descriptor, fcntl.LOCK_UN)
                os.close(descriptor)

    def _warn(self, error: OSError) -> None:
        if not self._warned:
            self._warned = True
            reason = error.strerror or error
            text = f"{self.folder}: shards cannot be kept here ({reason}) and are loaded again when needed"
            warnings.warn(text, stacklevel=4)


def checked_content(content: bytes, sha256: str, size: int) -> bytes:
    """The same content.

    Raises:
        WrongContent: it is not of that size, in bytes, or not of that SHA-256.
    """
    if len(content) != size:
        raise WrongContent(f"{len(content)} bytes instead of {size}", content)
    if hashlib.sha256(content).hexdigest() != sha256:
        raise WrongContent("SHA-256 differs", content)
    return content


def default_cache() -> ShardCache | None:
    """The cache that the environment asks for.

    ``SYNTHSPINE_CACHE`` is its folder, by default ``synthspine/shards`` in the user's cache folder; empty
    means none. ``SYNTHSPINE_CACHE_GB`` is its size, by default 20 (10^9 bytes each).

    Raises:
        ValueError: the size is not a number.
    """
    folder = os.environ.get(CACHE_VARIABLE)
    if folder == "":
        return None
    size = os.environ.get(CACHE_SIZE_VARIABLE, "") or str(DEFAULT_GB)
    try:
        max_bytes = int(float(size) * 1e9)
    except (ValueError, OverflowError):
        raise ValueError(f"{CACHE_SIZE_VARIABLE}={size}: is not a number of GB") from None
    caches = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    return ShardCache(Path(folder) if folder else caches / "synthspine" / "shards", max_bytes)
