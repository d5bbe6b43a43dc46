"""The series of a folder in SPIDER layout: files found by name and paired by stem."""

import os
import re
import stat
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from synthspine.shards.storage.atomic import told
from synthspine.shards.volumes.files import EXPECTED, FOREIGN, SUFFIXES, ending_of

CONTRASTS = ("t1", "t2", "t2_SPACE")
NO_TEXT = "the name is not text in UTF-8; rename it"

_STEM = re.compile(rf"(?P<patient>[^_]+)_(?P<contrast>{'|'.join(CONTRASTS)})")


def printable(path: Path | str) -> str:
    """A path as text that can be printed and stored; each byte that is no UTF-8 is written as its number."""
    return str(path).encode(errors="backslashreplace").decode()


class SpiderError(ValueError):
    """A file or folder that cannot be used; the text is one line that names the path.

    Attributes:
        path: the file or folder.
        reason: what is wrong and what would be right, without the path.
    """

    def __init__(self, path: Path | str, reason: str) -> None:
        super().__init__(f"{printable(path)}: {reason}")
        self.path = Path(path)
        self.reason = reason

    def __reduce__(self) -> tuple[type["SpiderError"], tuple[Path, str]]:
        """Pickle the arguments: errors are sent between processes."""
        return type(self), (self.path, self.reason)


def reason_of(error: BaseException) -> str:
    """What an error of a library says, in one line: what it marks as error, else its first line with text.

    An error of the system is told by the file and its reason, without a number.
    """
    text = told(error) if isinstance(error, OSError) else str(error)
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    for number, line in enumerate(lines):
        _, marked, reason = line.partition("ERROR: ")
        if marked:
            # The object in the memory says nothing: "ImageFileReader(0x55d0): ...".
            reason = re.sub(r"^\w+\(0x[0-9a-f]+\): *", "", reason)
            return reason or " ".join(lines[number + 1 : number + 2]) or type(error).__name__
    return lines[0] if lines else type(error).__name__


class NotUsedError(SpiderError):
    """A file that looks like input and is not used: it is told, and stops nothing."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Series:
    """One series of one patient.

    Attributes:
        stem: name of the series; in SPIDER layout the file name without its suffix, ``{patient}_{contrast}``.
        patient: patient id.
        contrast: ``"t1"``, ``"t2"`` or ``"t2_SPACE"``; None if it is not known.
        image: image file, None if there is only a mask.
        mask: mask file, None if there is only an image.
        also: other files on which the mask depends.
        layout: name of its layout (``shards.readers.layouts``).
        spacing_mm: spacing of its volumes along ``Z``, ``H``, ``W`` in place of that of the files.
    """

    stem: str
    patient: str
    contrast: str | None
    image: Path | None
    mask: Path | None
    also: tuple[Path, ...] = ()
    layout: str = "spider"
    spacing_mm: tuple[float, float, float] | None = None


def find_series(data_dir: Path, on_error: Callable[[SpiderError], None] | None = None) -> list[Series]:
    """All series of a folder in SPIDER layout, sorted by patient (numbers by value) and stem.

    Images are in ``images/images/`` or ``images/``, masks in ``masks/masks/`` or ``masks/``; either may be
    missing. Other files than volumes are ignored. ``on_error`` is called with each file whose name is not a
    SPIDER stem; by default the error is raised.

    Raises:
        SpiderError: no such folder, neither images nor masks in it, a name without patient and contrast, or
            two files with one stem.
    """
    data_dir = Path(data_dir)
    if not data_dir.is_dir():
        raise SpiderError(data_dir, "no such folder; expected one in SPIDER layout (images/ and masks/)")
    if not has_layout(data_dir):
        raise SpiderError(data_dir, "holds neither images/ nor masks/, so it is not in SPIDER layout")
    images = _files_by_stem(data_dir / "images", on_error)
    masks = _files_by_stem(data_dir / "masks", on_error)
    found = []
    for stem in images.keys() | masks.keys():
        match = _STEM.fullmatch(stem)
        assert match is not None
        patient, contrast = match.groups()
        image, mask = images.get(stem), masks.get(stem)
        found.append(Series(stem=stem, patient=patient, contrast=contrast, image=image, mask=mask))
    if not found:
        raise SpiderError(data_dir, f"holds no series: no {EXPECTED} file in images/ or masks/")
    return sorted(found, key=lambda series: (*patient_key(series.patient), series.stem))


def has_layout(data_dir: Path) -> bool:
    """True if the folder has ``images/`` or ``masks/``."""
    return (data_dir / "images").is_dir() or (data_dir / "masks").is_dir()


def files_below(folder: Path, on_error: Callable[[SpiderError], None]) -> list[Path]:
    """The regular files in and below a folder, sorted; links to folders are followed, hidden names skipped.

    ``on_error`` is called with each folder that cannot be listed, each file that cannot be looked at, and, as
    ``NotUsedError``, each link to nothing or to a folder above and each pipe with a volume's name.
    """
    return sorted(_below(folder, (), on_error))


def _below(folder: Path, above: tuple[str, ...], on_error: Callable[[SpiderError], None]) -> Iterator[Path]:
    own = os.path.realpath(folder)
    if own in above:
        on_error(NotUsedError(folder, "is a link to a folder that holds it"))
        return
    try:
        entries = sorted(path for path in folder.iterdir() if not path.name.startswith("."))
    except OSError as error:
        on_error(SpiderError(folder, f"cannot be listed: {error.strerror or error}"))
        return
    for path in entries:
        if printable(path.name) != path.name:
            on_error(SpiderError(path, NO_TEXT))
            continue
        try:
            mode = path.stat().st_mode
        except FileNotFoundError:
            on_error(NotUsedError(path, "is a link to nothing"))
            continue
        except OSError as error:
            on_error(SpiderError(path, f"cannot be read: {error.strerror or error}"))
            continue
        if stat.S_ISDIR(mode):
            yield from _below(path, (*above, own), on_error)
        elif stat.S_ISREG(mode):
            yield path
        elif looks_like_volume(path):
            on_error(NotUsedError(path, "is no regular file"))


def looks_like_volume(path: Path) -> bool:
    """True for the name of a volume in any format, also one that cannot be read."""
    return ending_of(path, FOREIGN) is not None or ending_of(path) is not None


def patient_key(patient: str) -> tuple[int, str]:
    """Sort key of a patient id: numbers by value, then names."""
    return (int(patient), patient) if patient.isdecimal() else (2**63, patient)


def image_stem(path: Path, endings: Iterable[str] = SUFFIXES) -> str:
    """File name without the ending of a volume, in any case.

    Raises:
        SpiderError: another ending.
    """
    if printable(path) != str(path):
        raise SpiderError(path, NO_TEXT)
    ending = ending_of(path, endings)
    if ending is None:
        raise SpiderError(path, f"the file name does not end in {EXPECTED}")
    return path.name.removesuffix(ending)


def _files_by_stem(folder: Path, on_error: Callable[[SpiderError], None] | None) -> dict[str, Path]:
    files: dict[str, Path] = {}
    for place in (folder / folder.name, folder):
        if not place.is_dir():
            continue
        for path in sorted(place.iterdir()):
            if path.name.startswith(".") or not ending_of(path) or not path.is_file():
                continue
            stem = path.name.removesuffix(ending_of(path) or "")
            if printable(path) != str(path):
                error = SpiderError(path, NO_TEXT)
            elif not _STEM.fullmatch(stem):
                expected = f"{{id}}_{{{'|'.join(CONTRASTS)}}}"
                error = SpiderError(path, f"the name is not that of a series; expected {expected}")
            elif stem in files:
                error = SpiderError(path, f"the same series as {files[stem]}")
            else:
                files[stem] = path
                continue
            if on_error is None:
                raise error
            on_error(error)
    return files
