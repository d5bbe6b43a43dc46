"""Places where sets of shards are stored: the interface, and local folders."""

import errno
import shutil
import stat
from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from synthspine.gen.core.documents import UnfitFile, read_regular
from synthspine.shards.storage.atomic import atomic_path


class Place(ABC):
    """A folder of files, local or remote.

    Places compare by value, can be hashed and pickled, and hold no connection. A name may lead through
    folders (``unfinished/shard-000000.json``). Texts and errors do not show the credentials of a URL.

    All methods raise an OSError of the fitting kind whose text names the file. Transient failures of a
    network or a server are tried again first: :mod:`shards.storage.retries`.
    """

    @property
    @abstractmethod
    def name(self) -> str:
        """The last component of the path."""

    @property
    @abstractmethod
    def path(self) -> Path | None:
        """The local folder, None for a URL."""

    @abstractmethod
    def __truediv__(self, name: str) -> "Place":
        """The folder or file of that name in this one."""

    @abstractmethod
    def __str__(self) -> str:
        """The path, or the URL without credentials."""

    def __repr__(self) -> str:
        return f"open_place({str(self)!r})"

    @abstractmethod
    def read(self, name: str, most_bytes: int | None = None) -> bytes:
        """The whole content of a file.

        Args:
            name: the file.
            most_bytes: bytes that it may hold; no more are read. None for any number.

        Raises:
            FileNotFoundError: it does not exist.
            UnfitFile: it is no regular file, or holds more.
            OSError: it cannot be read completely.
        """

    def read_with_headers(self, name: str, most_bytes: int | None = None) -> tuple[bytes, Mapping[str, str]]:
        """The whole content of a file, and the headers of a web server; as :meth:`read`."""
        return self.read(name, most_bytes), {}

    @abstractmethod
    def size(self, name: str) -> int | None:
        """Bytes that a file holds, None if there is no such file."""

    @abstractmethod
    def write(self, name: str, content: bytes) -> None:
        """Write a file: flushed to disk, whole or not at all."""

    @abstractmethod
    def remove(self, name: str) -> None:
        """Remove a file, if it exists."""

    @abstractmethod
    def names(self) -> list[str]:
        """Sorted names of the files directly in this folder; none if the folder does not exist."""

    @abstractmethod
    def remove_tree(self) -> None:
        """Remove this folder with its content, if it exists.

        Raises:
            ValueError: it is the root of a disk, a server or a bucket.
        """


@dataclass(frozen=True, repr=False)
class LocalPlace(Place):
    """A folder of a local disk."""

    folder: Path

    @property
    def name(self) -> str:
        """The last component of the path."""
        return self.folder.name or self.folder.absolute().name

    @property
    def path(self) -> Path:
        """The folder."""
        return self.folder

    def __truediv__(self, name: str) -> "LocalPlace":
        return LocalPlace(self._at(name))

    def __str__(self) -> str:
        return str(self.folder)

    def read(self, name: str, most_bytes: int | None = None) -> bytes:
        """The whole content of a file."""
        path = self._at(name)
        with _clear_errors(path, "be read"):
            return read_regular(path, most_bytes)

    def size(self, name: str) -> int | None:
        """Bytes that a file holds, None if there is no such file."""
        path = self._at(name)
        with _clear_errors(path, "be read"):
            try:
                status = path.stat()
            except (FileNotFoundError, NotADirectoryError):
                return None
        return status.st_size if stat.S_ISREG(status.st_mode) else None

    def write(self, name: str, content: bytes) -> None:
        """Write a file under a temporary name, flush it to disk and rename it."""
        path = self._at(name)
        with _clear_errors(path, "be written"), atomic_path(path) as temporary:
            temporary.write_bytes(content)

    def remove(self, name: str) -> None:
        """Remove a file, if it exists."""
        path = self._at(name)
        with _clear_errors(path, "be removed"):
            path.unlink(missing_ok=True)

    def names(self) -> list[str]:
        """Sorted names of the files directly in this folder; none if the folder does not exist."""
        with _clear_errors(self.folder, "be listed"):
            try:
                return sorted(path.name for path in self.folder.iterdir() if path.is_file())
            except FileNotFoundError:
                return []

    def remove_tree(self) -> None:
        """Remove this folder with its content, if it exists."""
        if self.folder.absolute() == Path(self.folder.absolute().anchor):
            raise ValueError(f"{self}: a whole disk is not removed")
        with _clear_errors(self.folder, "be removed"):
            if self.folder.is_symlink() or not self.folder.is_dir():
                # A link is not followed.
                self.folder.unlink(missing_ok=True)
            while self.folder.exists():
                # Another process may be removing the same tree.
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


def check_held(held: int, most_bytes: int | None) -> None:
    """Raise UnfitFile if a file holds more bytes than it may, or at least so many more were sent."""
    if most_bytes is not None and held > most_bytes:
        raise UnfitFile(f"holds {held} bytes or more, at most {most_bytes} are expected", held)


@contextmanager
def _clear_errors(path: Path, what: str) -> Iterator[None]:
    # The same kind of error with a text for the user: the file, and what failed.
    try:
        yield
    except OSError as error:
        text = f"{path}: cannot {what} ({error.strerror or error})"
        if isinstance(error, UnfitFile):
            raise UnfitFile(text, error.held) from None
        readable = type(error)(text)
        readable.errno = error.errno
        raise readable from None
