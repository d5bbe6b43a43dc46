"""Whether a file was written by this program: by what is in it, not by its name.

A file that somebody changed is no longer the program's own, even if the mark is still in it.
"""

import gzip
import json
import stat
import zlib
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from synthspine.eval.labelling.roles import LOWEST_IN_VIEW
from synthspine.shards.checking.contact_sheet import PICTURE_MARK
from synthspine.shards.readers.folder import SpiderError
from synthspine.shards.readers.spider import read_values
from synthspine.shards.storage.marks import find_mark, mark

_HEADER_BYTES = 4096
_MOST_BYTES = 2**26
_MARK_ENTRY = "mark"


class OwnershipError(ValueError):
    """A file would be replaced that this program did not write; the message is one line that names it."""


def mask_mark(values: np.ndarray) -> str:
    """The mark of a mask with some label values, shape ``(Z, H, W)``."""
    shape = " ".join(str(size) for size in values.shape)
    return mark("mask", shape.encode() + np.ascontiguousarray(values, dtype="<i2").tobytes())


def mask_note(values: np.ndarray, *, relative: bool) -> str:
    """The remark in the header of a mask: its mark, and that 1 is the lowest vertebra in view where it is."""
    return f"{mask_mark(values)}; 1{LOWEST_IN_VIEW}" if relative else mask_mark(values)


def marked_report(report: Mapping[str, Any]) -> dict[str, Any]:
    """A report with its mark."""
    return {**report, _MARK_ENTRY: _report_mark(report)}


def table_mark(content: bytes) -> str:
    """The mark of a table, for the report beside it: a table has no room for a mark."""
    return mark("table", content)


def has_mask_mark(path: Path) -> bool:
    """Whether the header of a volume has the mark of a mask, which may have been changed since."""
    return (_header_mark(path) or "").startswith("SynthSpine mask ")


def is_own(path: Path) -> bool:
    """Whether this program wrote a file (mask, table, report or picture) and nobody has changed it since."""
    try:
        status = path.stat()
        if not stat.S_ISREG(status.st_mode):
            return False
        check = {
            ".csv": _is_own_table,
            ".json": lambda path: bool(_report(path)),
            ".png": _is_own_picture,
            ".dcm": _has_own_frames,
            ".ctbl": _has_own_rows,
            ".txt": _has_own_rows,
        }.get(path.suffix)
        if check is None:
            return _is_own_mask(path)
        return status.st_size <= _MOST_BYTES and check(path)
    except (OSError, SpiderError):
        return False


def check_replaceable(paths: Iterable[Path]) -> None:
    """Check that every one of some files is missing or the program's own.

    Raises:
        OwnershipError: one is neither.
    """
    for path in paths:
        if path.is_dir():
            raise OwnershipError(f"{path} is a folder; a file of this name is to be written")
        if (path.exists() or path.is_symlink()) and not is_own(path):
            raise OwnershipError(
                f"{path} exists, and was not written by this program or was changed since; rename it, take "
                "another --output-dir, or replace it with --overwrite"
            )


def _header_mark(path: Path) -> str | None:
    try:
        if not path.is_file():
            return None
        with gzip.open(path) if path.name.lower().endswith(".gz") else path.open("rb") as file:
            return find_mark(file.read(_HEADER_BYTES))
    except (OSError, EOFError, zlib.error):
        return None


def _is_own_mask(path: Path) -> bool:
    if not has_mask_mark(path):
        return False
    # The values are valid only as long as their volume is there.
    volume = read_values(path)
    return mask_mark(volume.array) == _header_mark(path)


def _report_mark(report: Mapping[str, Any]) -> str:
    return mark("report", json.dumps(report, sort_keys=True).encode())


def _report(path: Path) -> dict[str, Any]:
    """The content of a report of this program; empty if it is none."""
    try:
        report = json.loads(path.read_bytes())
    except (ValueError, RecursionError):
        return {}
    if not isinstance(report, dict):
        return {}
    stored = report.pop(_MARK_ENTRY, None)
    return report if stored == _report_mark(report) else {}


def _is_own_table(path: Path) -> bool:
    """Whether a table holds what the report beside it says."""
    digest = _report(path.with_suffix(".json")).get("table")
    return isinstance(digest, str) and digest == table_mark(path.read_bytes())


def _has_own_frames(path: Path) -> bool:
    # The library behind it takes long to import.
    from synthspine.eval.prediction.dicom_seg import has_own_frames

    return has_own_frames(path.read_bytes())


def _has_own_rows(path: Path) -> bool:
    """Whether the first line of a table has the mark of its rows."""
    head, _, rows = path.read_bytes().partition(b"\n")
    return find_mark(head) == mark("colours", rows)


def _is_own_picture(path: Path) -> bool:
    try:
        with Image.open(path, formats=["PNG"]) as picture:
            return bool(picture.info.get(PICTURE_MARK) == mark("picture", picture.tobytes()))
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError):
        return False
