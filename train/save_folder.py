"""Whether a run will be able to write its files, tried before hours are spent on them."""

import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from synthspine.shards.storage.atomic import TEMPORARY, atomic_path
from synthspine.train.plan import TrainingError

_TRIAL_BYTES = 4096


def try_save_folder(folder: Path) -> None:
    """Write a small file in the folder where a run will save, and remove it again.

    A folder that is not there is made for it and removed again, with its parents, so nothing is left behind.

    Raises:
        TrainingError: the folder cannot be made, or no file can be written there; the text says why.
    """
    for path in (folder, *folder.parents):
        if path.is_file():
            raise TrainingError(f"--save-dir {folder}: {path} is a file, not a folder")
    try:
        with _made(folder):
            _write_file(folder / f"{TEMPORARY}trial-{os.urandom(4).hex()}")
    except OSError as error:
        reason = error.strerror or type(error).__name__
        raise TrainingError(
            f"--save-dir {folder}: nothing can be written there ({reason}); make room or name another folder"
        ) from error


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
