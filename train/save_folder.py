"""Whether a run will be able to write its files, tried before hours are spent on them."""

import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from synthspine.shards.storage.atomic import TEMPORARY, atomic_path

_TRIAL_BYTES = 4096


def save_folder_problem(folder: Path) -> str | None:
    """Why a run could not save its files in a folder; None if a small file can be written there.

    The trial leaves nothing behind: the file is removed, and so are the folders that were made for it.
    """
    for path in (folder, *folder.parents):
        if path.is_file():
            return f"--save-dir {folder}: {path} is a file, not a folder"
    try:
        with _made(folder):
            _write_file(folder / f"{TEMPORARY}trial-{os.urandom(4).hex()}")
    except OSError as error:
        reason = error.strerror or type(error).__name__
        return (
            f"--save-dir {folder}: nothing can be written there ({reason}); make room or name another folder"
        )
    return None


def _write_file(path: Path) -> None:
    """The way in which all files of a run are written."""
    try:
        with atomic_path(path) as temporary:
            temporary.write_bytes(bytes(_TRIAL_BYTES))
    finally:
        path.unlink(missing_ok=True)


@contextmanager
def _made(folder: Path) -> Iterator[None]:
    missing = [path for path in (folder, *folder.parents) if not path.exists()]
    try:
        folder.mkdir(parents=True, exist_ok=True)
        yield
    finally:
        for path in missing:
            # Somebody else may have put something there, or the folder was not made.
            with suppress(OSError):
                path.rmdir()
