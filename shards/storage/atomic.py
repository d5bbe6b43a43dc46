"""Atomic writing of files: under a temporary name, flushed to disk, renamed."""

import errno
import hashlib
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

TEMPORARY = ".tmp-"
"""Prefix of the names of files that are being written."""


@contextmanager
def atomic_path(path: Path, *, flush: bool = True) -> Iterator[Path]:
    """A temporary path in the same folder that replaces ``path`` at the end of the block.

    The temporary name keeps the suffix, in small letters, because image writers choose the format by it. If
    the block raises, the temporary file is removed and ``path`` stays as it was; a killed process leaves the
    temporary file. Without ``flush`` a crash of the machine may damage the new file.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.parent / temporary_name(path.stem + path.suffix.lower())
    try:
        yield temporary
        if flush:
            _flush(temporary)
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)
    if flush:
        # A rename is on disk only after its folder is flushed.
        _flush(path.parent)


def temporary_name(name: str) -> str:
    """A name under which a file is written before it is renamed to ``name``."""
    # Two machines that share a folder may have equal process numbers.
    return f"{TEMPORARY}{os.getpid()}-{os.urandom(4).hex()}-{name}"


def write_text(path: Path, text: str) -> None:
    """Write a UTF-8 text file atomically."""
    write_bytes(path, text.encode())


def write_bytes(path: Path, content: bytes) -> None:
    """Write a file atomically; an ``OSError`` names it, also where the disk is full.

    Content that a library makes is best made in memory and written here: not every library reports that a
    file became too short.
    """
    try:
        with atomic_path(path) as temporary:
            temporary.write_bytes(content)
    except OSError as error:
        error.filename = str(path)
        raise


def why_not_whole(temporary: Path, path: Path) -> OSError:
    """The error of a file for ``path`` that a library wrote only in part: nothing more finds place in it."""
    try:
        with temporary.open("ab") as file:
            file.write(bytes(1 << 20))
            file.flush()
            os.fsync(file.fileno())
    except OSError as error:
        error.filename = str(path)
        return error
    return OSError(errno.EIO, "was not written as a whole, for no known reason", str(path))


def _flush(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def told(error: OSError) -> str:
    """What an error of the system says, for a person: the file and the reason, without a number."""
    if not error.strerror:
        return str(error)
    names = [
        os.fsdecode(name)
        for name in (error.filename, error.filename2)
        if isinstance(name, (str, bytes, os.PathLike))
    ]
    return f"{' and '.join(names)}: {error.strerror}" if names else error.strerror


def file_digest(path: Path) -> str:
    """SHA-256 of a file, hexadecimal."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
