"""The files of a folder and of all folders below it; what looks like a scan and is not read is told."""

import stat
from pathlib import Path

from synthspine.shards.readers.folder import SpiderError
from synthspine.shards.volumes.files import FOREIGN, SUFFIXES, ending_of

DICOM_ENDINGS, _DICOM_MAGIC_AT, _DICOM_MAGIC = (".dcm", ".ima"), 128, b"DICM"


class LeftOutError(SpiderError):
    """Something that is not read on purpose; the text says why. No failure."""


def is_volume_name(path: Path) -> bool:
    """Whether a file looks like a volume by its name, readable or not; a file of DICOM does not."""
    return ending_of(path, (*SUFFIXES, *FOREIGN)) is not None and ending_of(path, DICOM_ENDINGS) is None


def has_plain_name(path: Path) -> bool:
    """Whether a path is UTF-8; libraries end the process on other ones."""
    try:
        str(path).encode()
    except UnicodeEncodeError:
        return False
    return True


def name_error(path: Path) -> SpiderError:
    """The error of a path that is not UTF-8."""
    return SpiderError(path, "the name is not UTF-8; rename it")


def list_files(root: Path) -> tuple[list[Path], list[SpiderError]]:
    """The regular files of a folder, in the order of their paths.

    Links to folders are followed; every folder is listed once. Hidden files and folders are skipped.

    Returns:
        The files, and the errors: a folder that cannot be listed, a scan whose name is not UTF-8, and, as
        ``LeftOutError``, links to nothing or to folders that are listed anyway, and pipes and devices with
        the name of a volume.
    """
    files: list[Path] = []
    errors: list[SpiderError] = []
    listed: set[Path] = set()
    # Links come last, so that a folder is listed at its own place.
    folders, links = [root], list[Path]()
    while folders or links:
        linked = not folders
        folder = (folders or links).pop()
        place = folder.resolve()
        if linked and (place in listed or place in root.resolve().parents):
            errors.append(LeftOutError(folder, f"is a link to {place}, which is read already or lies around"))
            continue
        listed.add(place)
        try:
            inside = sorted(path for path in folder.iterdir() if not path.name.startswith("."))
        except OSError as error:
            errors.append(SpiderError(folder, f"cannot be listed: {error.strerror}"))
            continue
        for path in inside:
            try:
                mode = path.stat().st_mode
            except FileNotFoundError:
                errors.append(LeftOutError(path, "is a link to nothing"))
                continue
            except OSError as error:
                errors.append(SpiderError(path, f"cannot be read: {error.strerror}"))
                continue
            if stat.S_ISDIR(mode):
                (links if path.is_symlink() else folders).append(path)
            elif not stat.S_ISREG(mode):
                if is_volume_name(path):
                    errors.append(LeftOutError(path, "is no regular file"))
            elif has_plain_name(path):
                files.append(path)
            elif is_volume_name(path) or _is_dicom(path):
                errors.append(name_error(path))
    return sorted(files), errors


def _is_dicom(path: Path) -> bool:
    try:
        with path.open("rb") as file:
            head = file.read(_DICOM_MAGIC_AT + len(_DICOM_MAGIC))
    except OSError:
        return False
    return head.endswith(_DICOM_MAGIC) or path.suffix.lower() in DICOM_ENDINGS
