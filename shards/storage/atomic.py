"""Atomic writing of files: under a temporary name, flushed to disk, renamed."""

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

    The temporary name keeps the suffix, because image writers choose the format by it. If the block raises,
    the temporary file is removed and ``path`` stays as it was; a killed process leaves the temporary file.
    Without ``flush`` a crash of the machine may damage the new file.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.parent / temporary_name(path.name)
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
    with atomic_path(path) as temporary:
        temporary.write_text(text, encoding="utf-8")


def _flush(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def file_digest(path: Path) -> str:
    """SHA-256 of a file, hexadecimal."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
