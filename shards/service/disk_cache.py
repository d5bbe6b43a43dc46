"""The spool: rendered shards on disk, bounded in bytes; what was used longest ago goes first."""

import fcntl
import hashlib
import os
import re
import threading
from collections import OrderedDict
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from synthspine.shards.storage.atomic import TEMPORARY

_NAME = re.compile(r"([0-9a-f]{64})-([0-9a-f]{64})\.tar")


@dataclass(frozen=True, slots=True)
class SpooledShard:
    """A shard that can be sent, whatever happens to the spool meanwhile.

    Attributes:
        file: its content, open for reading; to be closed.
        bytes: their number.
        sha256: SHA-256 of all of them.
    """

    file: BinaryIO
    bytes: int
    sha256: str


@dataclass(slots=True)
class _Kept:
    path: Path
    bytes: int
    sha256: str
    checked: bool


class Spool:
    """Shards by content key, in a folder of one process.

    Files are called ``KEY-SHA256.tar`` and are whole as soon as they have that name. What an earlier process
    left is used after its SHA-256 was checked. All methods may be called by any thread.

    Args:
        folder: made if it is not there.
        max_bytes: of all files together. The newest stays, however large it is.

    Raises:
        ValueError: another process uses the folder.
        OSError: it cannot be used.
    """

    def __init__(self, folder: Path, max_bytes: int) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.folder = folder
        self.max_bytes = max_bytes
        self._at = threading.Lock()
        self._lock_file = (folder / ".lock").open("w")
        try:
            fcntl.flock(self._lock_file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            self._lock_file.close()
            raise ValueError(
                f"{folder}: another service keeps its shards here; take another --spool-dir"
            ) from None
        self._kept = self._found()
        self._bytes = sum(kept.bytes for kept in self._kept.values())
        with self._at:
            self._make_room()

    @property
    def held(self) -> int:
        """Bytes of all shards that are kept."""
        return self._bytes

    def __len__(self) -> int:
        return len(self._kept)

    def put(self, key: str, parts: Iterable[bytes], size: int, sha256: str) -> None:
        """Keep a shard of that key, length in bytes and SHA-256.

        Raises:
            OSError: it cannot be written.
        """
        path = self.folder / f"{key}-{sha256}.tar"
        temporary = self.folder / f"{TEMPORARY}{os.getpid()}-{threading.get_ident()}-{key}"
        try:
            # Not flushed to disk: what a crash leaves damaged is found out before it is used again.
            with temporary.open("wb") as file:
                file.writelines(parts)
            with self._at:
                temporary.replace(path)
                self._forget(key)
                self._kept[key] = _Kept(path, size, sha256, checked=True)
                self._bytes += size
                self._make_room()
        finally:
            temporary.unlink(missing_ok=True)

    def open(self, key: str) -> SpooledShard | None:
        """The shard of that key, None if it is not there, or not as it was written."""
        with self._at:
            kept = self._kept.get(key)
            if kept is None:
                return None
            self._kept.move_to_end(key)
            try:
                file = kept.path.open("rb")
            except OSError:
                self._drop(key)
                return None
        with suppress(OSError):
            # The next process goes by it.
            os.utime(kept.path)
        if not kept.checked:
            whole = hashlib.file_digest(file, "sha256").hexdigest() == kept.sha256
            if not whole:
                file.close()
                with self._at:
                    if self._kept.get(key) is kept:
                        self._drop(key)
                return None
            file.seek(0)
            kept.checked = True
        return SpooledShard(file, kept.bytes, kept.sha256)

    def close(self) -> None:
        """Let another process use the folder."""
        self._lock_file.close()

    def _found(self) -> OrderedDict[str, _Kept]:
        """What lies there, that which was used longest ago first."""
        files = []
        for path in self.folder.iterdir():
            if path.name.startswith(TEMPORARY):
                path.unlink(missing_ok=True)
            elif name := _NAME.fullmatch(path.name):
                status = path.stat()
                files.append(
                    (status.st_mtime_ns, name[1], _Kept(path, status.st_size, name[2], checked=False))
                )
        return OrderedDict((key, kept) for _, key, kept in sorted(files, key=lambda found: found[0]))

    def _make_room(self) -> None:
        while self._bytes > self.max_bytes and len(self._kept) > 1:
            self._drop(next(iter(self._kept)))

    def _forget(self, key: str) -> _Kept | None:
        kept = self._kept.pop(key, None)
        if kept is not None:
            self._bytes -= kept.bytes
        return kept

    def _drop(self, key: str) -> None:
        kept = self._forget(key)
        if kept is not None:
            with suppress(OSError):
                kept.path.unlink(missing_ok=True)
