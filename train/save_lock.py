"""A save folder belongs to one run: a second one is refused before it does anything."""

import errno
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from filelock import FileLock, Timeout

from synthspine.train.config import TrainingError
from synthspine.train.runtime.distributed import Ranks

LOCK_FILE = ".training.lock"
PATIENCE_S, RESTART_PATIENCE_S = 2.0, 30.0
"""How long a run that has just ended, or was just killed by torchrun, is waited for."""
_NO_LOCKS = (errno.ENOLCK, errno.ENOTSUP, errno.EINVAL)


@contextmanager
def held_for_one_run(folder: Path, ranks: Ranks) -> Iterator[None]:
    """Hold a save folder for the length of the block; all ranks call it, and rank 0 holds it.

    The lock ends with the process, however it ends; its file, and folders that stay empty, are removed. Where
    the file system has no locks, a line says so.

    Raises:
        TrainingError: another run holds the folder, or it cannot be locked.
    """
    patience = RESTART_PATIENCE_S if ranks.restarted else PATIENCE_S
    lock = FileLock(folder / LOCK_FILE, timeout=patience, poll_interval=0.1)
    missing = [path for path in (folder, *folder.parents) if not path.exists()]

    def problem() -> str | None:
        try:
            folder.mkdir(parents=True, exist_ok=True)
            lock.acquire()
        except Timeout:
            return (
                f"--save-dir {folder}: another training writes there; wait until it has ended, or name "
                "another folder"
            )
        except OSError as error:
            if error.errno not in _NO_LOCKS:
                return f"--save-dir {folder}: cannot be locked ({error.strerror}); name another folder"
            ranks.log(f"{folder}: cannot be locked ({error.strerror}); see that no other run writes there")
        return None

    try:
        if (reason := ranks.from_main(problem)) is not None:
            raise TrainingError(reason)
        yield
    finally:
        if lock.is_locked:
            # Removed while it is held: who has opened it meanwhile sees that it is gone, and opens it anew.
            with suppress(OSError):
                Path(lock.lock_file).unlink()
            lock.release()
        if ranks.is_main:
            for path in missing:
                with suppress(OSError):
                    path.rmdir()
