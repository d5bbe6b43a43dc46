"""Locks of places: one writer at a time on this machine, or in a folder that several machines share."""

import errno
import hashlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from filelock import FileLock, Timeout

from synthspine.shards.storage.cache import user_cache_folder
from synthspine.shards.storage.place import Place

_POLL_S = 0.2
_READ_ONLY = (errno.EACCES, errno.EROFS)


@contextmanager
def locked(place: Place) -> Iterator[None]:
    """Hold a place; another process that locks it waits until the block ends.

    A local folder is held by a file in it: also for other machines, as far as its file system supports locks.
    A URL is held by a file in the user's cache folder, for the processes of this user. Where nothing can be
    written there is no lock, because complete sets can still be read. Symbolic links are not followed.

    Raises:
        OSError: the lock file cannot be opened.
    """
    lock = None
    try:
        lock = FileLock(_lock_file(place), poll_interval=_POLL_S)
        lock.acquire(blocking=False)
    except Timeout:
        assert lock is not None
        print(f"{place}: another process is writing here; waiting until it is done", flush=True)
        lock.acquire()
    except OSError as error:
        if error.errno in (errno.ENOLCK, errno.ENOTSUP, errno.EINVAL):
            print(
                f"{place}: cannot be locked ({error.strerror}); see that nobody else writes here", flush=True
            )
        elif error.errno not in _READ_ONLY:
            raise type(error)(f"{error.filename or place}: cannot be locked ({error.strerror})") from None
    try:
        yield
    finally:
        if lock is not None:
            lock.release()


def _lock_file(place: Place) -> Path:
    if place.path is not None:
        place.path.mkdir(parents=True, exist_ok=True)
        return place.path / ".lock"
    folder = user_cache_folder() / "locks"
    folder.mkdir(parents=True, exist_ok=True)
    return folder / f"{hashlib.sha256(str(place).encode()).hexdigest()[:16]}.lock"
