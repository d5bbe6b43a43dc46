"""Local copies of shards on disk: bounded in size, and checked by the SHA-256 of their content."""

import errno
import hashlib
import os
import re
import tempfile
import time
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, cast

from filelock import FileLock

from synthspine.gen.core.documents import UnfitFile, open_regular, read_regular
from synthspine.shards.storage.atomic import TEMPORARY, atomic_path

CACHE_VARIABLE = "SYNTHSPINE_CACHE"
CACHE_SIZE_VARIABLE = "SYNTHSPINE_CACHE_GB"
DEFAULT_GB = 20.0

_SHA256 = re.compile(r"[0-9a-f]{64}")
_SPARE = 20
"""A full cache is emptied by one part in this many at once, so that few writes look at all files."""
_STALE_S = 3600.0
"""Age in seconds from which a temporary file is considered left by a killed process."""
_COUNTS_BYTES = 64
_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
"""Errors of a disk that takes no more."""
_RECHECK_S = 600.0
"""Time after which an unchanged file is hashed again when it is opened, seconds."""
_POLL_S = 0.01
"""Interval at which a waiting process tries to get a lock, seconds."""


class WrongContent(ValueError):
    """Content of another size or SHA-256 than requested; the text says which."""


@dataclass(frozen=True, slots=True)
class CachedShard:
    """An open shard, its size and SHA-256; it stays readable when the cache removes its file.

    The caller closes the file.
    """

    file: BinaryIO
    bytes: int
    sha256: str

    def again(self) -> "CachedShard":
        """The same shard, open once more."""
        return CachedShard(os.fdopen(os.dup(self.file.fileno()), "rb"), self.bytes, self.sha256)


class ShardCache:
    """Shards on disk, bounded in size; the least recently used are removed first.

    Any number of processes and threads may share one folder. It holds locks, the number and size of the files
    (``counts``), and one file per shard: ``ab/SHA256.tar``, or ``ab/KEY-SHA256.tar`` where the shard is found
    by another key than its SHA-256.

    Args:
        folder: where the files are kept; created when it is needed.
        max_bytes: size of all files together. A file that is being written may exceed it for a moment.

    Attributes:
        shards: number of files when this process last removed or wrote some.
        bytes: their size.

    Raises:
        ValueError: ``max_bytes`` is negative.
    """

    def __init__(self, folder: Path, max_bytes: int) -> None:
        if max_bytes < 0:
            raise ValueError(f"{folder}: a cache of {max_bytes} bytes")
        self.folder = Path(folder)
        self.max_bytes = max_bytes
        self.shards = self.bytes = 0
        self._checked: dict[str, tuple[_Mark, float]] = {}
        self._counted = self._warned = False

    def fetch(self, sha256: str, size: int, load: Callable[[], bytes]) -> bytes:
        """Content of this SHA-256 and size, checked: from the cache, or else loaded and kept.

        Processes that request the same content at the same time load it once. A disk that is full or cannot
        be written does not stop the reading: there is one warning, and content is loaded each time. Content
        larger than the cache is not kept.

        Raises:
            WrongContent: the loaded content has another size or SHA-256. It is not kept.
            ValueError: not a SHA-256 of 64 lower-case hexadecimal digits.
        """
        if not _SHA256.fullmatch(sha256):
            raise ValueError(f"{sha256!r}: is not a SHA-256 of 64 lower-case hexadecimal digits")
        if size > self.max_bytes:
            return checked_content(load(), sha256, size)
        content = self._read(sha256, size)
        if content is not None:
            return content
        with self._locked(sha256[:2]):
            # Another process may have stored it in the meantime. A copy that is still damaged is removed.
            content = self._read(sha256, size, remove=True)
            if content is None:
                content = checked_content(load(), sha256, size)
                try:
                    self.put(sha256, sha256, content)
                except OSError as error:
                    self._warn(error)
        return content

    def put(self, key: str, sha256: str, content: bytes) -> None:
        """Keep a shard, and remove other content of the same key; the shard itself stays, however large.

        If the disk is full, the least recently used shards are removed to make room for it. The key, by which
        it is found, is as long as a SHA-256. Raises OSError if the file cannot be written.
        """
        path = self._path(key, sha256)
        known = path.exists()
        try:
            _write(path, content)
        except OSError as error:
            if error.errno not in _FULL:
                raise
            with self._locked("room"):
                self.shards, self.bytes = self._remove_oldest(path, spare=2 * len(content))
                self._counted = False
            _write(path, content)
        with suppress(OSError):
            self._checked[path.name] = _mark(path.stat()), time.monotonic()
        for other in self._find(key):
            if other != path:
                other.unlink(missing_ok=True)
                known = True
        self.make_room(path, None if known else len(content))

    def open(self, key: str) -> CachedShard | None:
        """The shard of this key; None if it is not there or damaged. A damaged file is removed.

        A file is hashed if it has changed since this process last did so, and otherwise now and then: disks
        may lose bits without a trace.
        """
        for path in self._find(key):
            sha256 = path.stem[-64:]
            try:
                file = open_regular(path)
            except FileNotFoundError:
                continue
            except UnfitFile:
                with suppress(OSError):
                    path.unlink()
                continue
            status = os.fstat(file.fileno())
            mark, checked = self._checked.get(path.name, (None, 0.0))
            if mark != _mark(status) or time.monotonic() - checked > _RECHECK_S:
                checked = time.monotonic()
                if hashlib.file_digest(file, "sha256").hexdigest() != sha256:
                    file.close()
                    path.unlink(missing_ok=True)
                    continue
                file.seek(0)
            with suppress(OSError):
                os.utime(file.fileno())
            self._checked[path.name] = _mark(os.fstat(file.fileno())), checked
            return CachedShard(file, status.st_size, sha256)
        return None

    def make_room(self, newest: Path | None = None, written: int | None = None) -> None:
        """If all files together are too large, remove the least recently used ones, but not the newest.

        ``written`` is its size, if the other files are counted already; None to look at all files. Raises
        OSError if a file cannot be removed.
        """
        with self._locked("room") as locked:
            # The number and size of the files are stored, so that few writes look at all of them.
            file = self.folder / "counts"
            try:
                shards, size = map(int, read_regular(file, _COUNTS_BYTES).split())
            except (OSError, ValueError):
                written = None
            if not locked or written is None or not self._counted or size + written > self.max_bytes:
                self.shards, self.bytes = self._remove_oldest(newest)
            else:
                self.shards, self.bytes = shards + 1, size + written
            # A link in its place is replaced, not followed.
            with suppress(OSError), atomic_path(file, flush=False) as temporary:
                temporary.write_text(f"{self.shards} {self.bytes}")
            self._counted = True

    def _remove_oldest(self, newest: Path | None, spare: int = 0) -> tuple[int, int]:
        """Remove files until the rest fits, and so many more bytes are free; number and size of the rest."""
        files = []
        now = time.time()
        for path in self.folder.glob("??/*.tar"):
            with suppress(FileNotFoundError):
                status = path.stat()
                if not path.name.startswith(TEMPORARY):
                    files.append((status.st_mtime_ns, status.st_size, path))
                elif now - status.st_mtime > _STALE_S:
                    path.unlink()
        number, total = len(files), sum(size for _, size, _ in files)
        limit = self.max_bytes if total <= self.max_bytes else self.max_bytes - self.max_bytes // _SPARE
        limit = min(limit, total - spare)
        for _, size, path in sorted(files):
            if total <= limit:
                break
            if path != newest:
                # A process that has the file open can read on; others load the content again.
                path.unlink(missing_ok=True)
                self._checked.pop(path.name, None)
                number, total = number - 1, total - size
        return number, total

    def _path(self, key: str, sha256: str) -> Path:
        return self.folder / key[:2] / (f"{key}.tar" if key == sha256 else f"{key}-{sha256}.tar")

    def _find(self, key: str) -> list[Path]:
        return list((self.folder / key[:2]).glob(f"{key}*.tar"))

    def _read(self, sha256: str, size: int, remove: bool = False) -> bytes | None:
        path = self._path(sha256, sha256)
        try:
            content = read_regular(path, size)
            if len(content) == size and hashlib.sha256(content).hexdigest() == sha256:
                with suppress(OSError):
                    os.utime(path)
                return content
            if remove:
                path.unlink(missing_ok=True)
        except FileNotFoundError:
            pass
        except UnfitFile:
            with suppress(OSError):
                if remove:
                    path.unlink()
        except OSError as error:
            self._warn(error)
        return None

    @contextmanager
    def _locked(self, name: str) -> Iterator[bool]:
        """Exclude other processes and threads; whether that succeeded: not all disks support locks."""
        lock = FileLock(self.folder / "locks" / name, poll_interval=_POLL_S)
        try:
            (self.folder / "locks").mkdir(parents=True, exist_ok=True)
            lock.acquire()
        except OSError as error:
            self._warn(error)
        try:
            yield lock.is_locked
        finally:
            lock.release()

    def _warn(self, error: OSError) -> None:
        if not self._warned:
            self._warned = True
            reason = error.strerror or error
            text = f"{self.folder}: shards cannot be kept here ({reason}) and are loaded again when needed"
            warnings.warn(text, stacklevel=4)


_Mark = tuple[int, ...]


def _mark(status: os.stat_result) -> _Mark:
    """What changes whenever a file is written."""
    return status.st_ino, status.st_size, status.st_mtime_ns, status.st_ctime_ns


def _write(path: Path, content: bytes) -> None:
    # Not flushed to disk: a file that a crash damages is detected when it is read.
    with atomic_path(path, flush=False) as temporary:
        temporary.write_bytes(content)


def in_memory(content: bytes, sha256: str) -> CachedShard:
    """An open shard that needs no place on a disk, as far as the system can do without one."""
    if hasattr(os, "memfd_create"):
        file = cast(BinaryIO, os.fdopen(os.memfd_create("shard"), "w+b"))
    else:
        file = cast(BinaryIO, tempfile.TemporaryFile())  # noqa: SIM115
    file.write(content)
    file.flush()
    return CachedShard(file, len(content), sha256)


def checked_content(content: bytes, sha256: str, size: int) -> bytes:
    """The same content; raises WrongContent if it is not of that size, in bytes, or not of that SHA-256."""
    if len(content) != size:
        raise WrongContent(f"{len(content)} bytes instead of {size}")
    if hashlib.sha256(content).hexdigest() != sha256:
        raise WrongContent("SHA-256 differs")
    return content


def default_cache() -> ShardCache | None:
    """The cache that the environment specifies.

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
    return ShardCache(Path(folder) if folder else user_cache_folder() / "shards", max_bytes)


def user_cache_folder() -> Path:
    """The project's folder in the user's cache folder (``XDG_CACHE_HOME``, by default ``~/.cache``)."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "synthspine"
