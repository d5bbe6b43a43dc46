"""Places where sets of shards lie: local folders, and URLs of whatever fsspec knows."""

import errno
import shutil
import stat
from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from synthspine.shards.storage.atomic import atomic_path

Bytes = bytes | bytearray | memoryview


class Place(ABC):
    """A folder of files, somewhere.

    Places compare by value, can be hashed and pickled, and hold no connection. A name may go through folders
    below (``unfinished/shard-000000.json``). Texts and errors never show the credentials of a URL.

    All methods raise OSError, of a kind that tells what happened, with a text that names the file. Failures
    that may pass, of a network or a server, are tried again first: :mod:`shards.storage.retries`.
    """

    @property
    @abstractmethod
    def name(self) -> str:
        """The last component: what the folder is called."""

    @property
    @abstractmethod
    def path(self) -> Path | None:
        """The local folder, None for a URL."""

    @abstractmethod
    def __truediv__(self, name: str) -> "Place":
        """The folder, or file, of that name in this one."""

    @abstractmethod
    def __str__(self) -> str:
        """The path, or the URL without credentials."""

    def __repr__(self) -> str:
        return f"open_place({str(self)!r})"

    @abstractmethod
    def read(self, name: str) -> bytes:
        """The whole content of a file.

        Raises:
            FileNotFoundError: it is not there.
            OSError: it cannot be read, or only a part of it came.
        """

    def read_with_headers(self, name: str) -> tuple[bytes, Mapping[str, str]]:
        """The whole content of a file, and the headers that a web server sends with it; as :meth:`read`."""
        return self.read(name), {}

    @abstractmethod
    def size(self, name: str) -> int | None:
        """Bytes that a file holds, None if there is no such file."""

    @abstractmethod
    def write(self, name: str, *parts: Bytes) -> None:
        """Write a file of these parts, one after the other: durably, and whole or not at all."""

    @abstractmethod
    def remove(self, name: str) -> None:
        """Remove a file; a missing one is fine."""

    @abstractmethod
    def names(self) -> list[str]:
        """The plain files directly in this folder, sorted; none if the folder is not there."""

    @abstractmethod
    def remove_tree(self) -> None:
        """Remove this folder with all in it; a missing one is fine.

        Raises:
            ValueError: it is the root of a disk, a server or a bucket.
        """


@dataclass(frozen=True, repr=False)
class LocalPlace(Place):
    """A folder of a local disk."""

    folder: Path

    @property
    def name(self) -> str:
        """The last component: what the folder is called."""
        return self.folder.name or self.folder.absolute().name

    @property
    def path(self) -> Path:
        """The folder."""
        return self.folder

    def __truediv__(self, name: str) -> "LocalPlace":
        return LocalPlace(self._at(name))

    def __str__(self) -> str:
        return str(self.folder)

    def read(self, name: str) -> bytes:
        """The whole content of a file."""
        path = self._at(name)
        with _told(path, "be read"):
            return path.read_bytes()

    def size(self, name: str) -> int | None:
        """Bytes that a file holds, None if there is no such file."""
        path = self._at(name)
        with _told(path, "be looked at"):
            try:
                status = path.stat()
            except (FileNotFoundError, NotADirectoryError):
                return None
        return status.st_size if stat.S_ISREG(status.st_mode) else None

    def write(self, name: str, *parts: Bytes) -> None:
        """Write a file beside its place, flush it to disk and rename it."""
        path = self._at(name)
        with _told(path, "be written"), atomic_path(path) as temporary, temporary.open("wb") as file:
            for part in parts:
                file.write(part)

    def remove(self, name: str) -> None:
        """Remove a file; a missing one is fine."""
        path = self._at(name)
        with _told(path, "be removed"):
            path.unlink(missing_ok=True)

    def names(self) -> list[str]:
        """The plain files directly in this folder, sorted; none if the folder is not there."""
        with _told(self.folder, "be listed"):
            try:
                return sorted(path.name for path in self.folder.iterdir() if path.is_file())
            except FileNotFoundError:
                return []

    def remove_tree(self) -> None:
        """Remove this folder with all in it; a missing one is fine."""
        if self.folder.absolute() == Path(self.folder.absolute().anchor):
            raise ValueError(f"{self}: a whole disk is not removed")
        with _told(self.folder, "be removed"):
            while self.folder.exists():
                # Another process may be removing the same tree: then a file is gone, and the others are not.
                try:
                    shutil.rmtree(self.folder)
                except OSError as error:
                    if error.errno not in (errno.ENOENT, errno.ENOTEMPTY):
                        raise

    def _at(self, name: str) -> Path:
        return self.folder / checked_name(name)


def checked_name(name: str) -> str:
    """The name of a file below a place.

    Raises:
        ValueError: it is empty, absolute, or leads out of the place.
    """
    path = PurePosixPath(name)
    if path.is_absolute() or not path.parts or ".." in path.parts or str(path) != name:
        raise ValueError(f"{name!r}: is not the plain name of a file in a place")
    return name


@contextmanager
def _told(path: Path, what: str) -> Iterator[None]:
    # The same kind of error with a text that a user can act on: the file, and what happened to it.
    try:
        yield
    except OSError as error:
        told = type(error)(f"{path}: cannot {what} ({error.strerror or error})")
        told.errno = error.errno
        raise told from None
