"""Reading NRRD files (``.nrrd``) of one part: a header of text, an empty line, then the voxels.

Read are voxels as they are or by gzip, whose checksum is compared. Nothing outside of the file is opened.
Source: the definition of the format, https://teem.sourceforge.net/nrrd/format.html.
"""

import gzip
import math
import re
import zlib
from pathlib import Path
from typing import BinaryIO

import numpy as np

from synthspine.shards.volumes.stored import (
    Stored,
    UnreadableError,
    check_extent,
    check_size,
    checked_direction,
    open_regular,
    read_voxels,
)

_MAGIC = re.compile(rb"NRRD000[1-5]\s*")
_MOST_LINES, _MOST_LINE_BYTES = 200, 4096
_TYPES = {
    "i1": "signed char, int8, int8_t",
    "u1": "uchar, unsigned char, uint8, uint8_t",
    "i2": "short, short int, signed short, signed short int, int16, int16_t",
    "u2": "ushort, unsigned short, unsigned short int, uint16, uint16_t",
    "i4": "int, signed int, int32, int32_t",
    "u4": "uint, unsigned int, uint32, uint32_t",
    "i8": "longlong, long long, long long int, signed long long, signed long long int, int64, int64_t",
    "u8": "ulonglong, unsigned long long, unsigned long long int, uint64, uint64_t",
    "f4": "float",
    "f8": "double",
}
_KINDS = {name: kind for kind, names in _TYPES.items() for name in names.split(", ")}
# Signs that turn the axes of a space into left, posterior, superior.
_SPACES = {
    "left-posterior-superior": (1, 1, 1),
    "right-anterior-superior": (-1, -1, 1),
    "left-anterior-superior": (1, -1, 1),
}
_SPACES |= {"".join(word[0] for word in name.split("-")): signs for name, signs in _SPACES.items()}
_SPATIAL = {"domain", "space", "???", "none"}
_VECTOR = re.compile(r"\(([^()]*)\)")
# Fields that move the voxels elsewhere, and the only values that leave them where they are.
_ONLY = {"line skip": "0", "lineskip": "0", "byte skip": "0", "byteskip": "0", "dimension": "3"}
_OTHER_FILES = ("data file", "datafile")


def read_nrrd(path: Path) -> Stored:
    """The content of a ``.nrrd`` file.

    Raises:
        UnreadableError: no NRRD, truncated, damaged, not three-dimensional with one channel, of absurd size,
            without a space or its directions, or with its voxels in another file.
        OSError: it cannot be read.
    """
    try:
        with open_regular(path) as file:
            return _read(file)
    except (EOFError, gzip.BadGzipFile, zlib.error) as error:
        raise UnreadableError(f"is truncated or damaged: {error}") from None


def _read(file: BinaryIO) -> Stored:
    fields = _fields(file)
    for name in _OTHER_FILES:
        if name in fields:
            found = f"{name} is {fields[name][:40]!r}"
            raise UnreadableError(f"its voxels are in other files ({found}); save it as one file")
    for name, right in _ONLY.items():
        if (found := fields.get(name, right)) != right:
            what = "dimensions" if name == "dimension" else name
            raise UnreadableError(f"cannot be read: {what} is {found[:40]!r}, not {right}")
    words = fields.get("sizes", "").split()
    if not all(word.isascii() and word.isdecimal() and len(word) < 10 for word in words):
        raise UnreadableError(f"cannot be read as an image: sizes is {fields['sizes'][:60]!r}")
    size = tuple(map(int, words))
    check_size(size)
    kinds = fields.get("kinds", "domain domain domain").lower().split()
    if len(kinds) != 3 or not set(kinds) <= _SPATIAL:
        raise UnreadableError(
            f"its axes are of the kinds {fields['kinds'][:60]!r}; three of space are needed"
        )
    direction, spacing, origin = _geometry(fields)
    check_extent(size, spacing)
    voxel = _voxel_type(fields)
    encoding = fields.get("encoding", "").lower()
    if encoding == "raw":
        data = read_voxels(file, size, voxel.itemsize)
    elif encoding in ("gzip", "gz"):
        with gzip.GzipFile(fileobj=file) as unpacked:
            data = read_voxels(unpacked, size, voxel.itemsize)  # type: ignore[arg-type]
    else:
        raise UnreadableError(f"cannot be read: its encoding is {encoding[:40]!r}; raw or gzip is needed")
    values = np.frombuffer(data, voxel).reshape(size[::-1])
    return Stored(
        values=values.astype(voxel.newbyteorder("="), copy=False),
        spacing_mm=(spacing[0], spacing[1], spacing[2]),
        direction=direction,
        origin_mm=(origin[0], origin[1], origin[2]),
    )


def _fields(file: BinaryIO) -> dict[str, str]:
    """The fields of a header by name; afterwards the file is at the first byte of the voxels."""
    if not _MAGIC.fullmatch(file.readline(_MOST_LINE_BYTES)):
        raise UnreadableError("cannot be read as an image: it has no NRRD header")
    fields: dict[str, str] = {}
    for _ in range(_MOST_LINES):
        line = file.readline(_MOST_LINE_BYTES)
        text = line.decode("latin-1").strip()
        if line.endswith(b"\n") and not text:
            return fields
        name, separator, value = text.partition(": ")
        # A comment, or a pair of another program.
        if text.startswith("#") or (":=" in text and not separator) or ":=" in name:
            continue
        name = name.strip().lower()
        if not line.endswith(b"\n") or not separator:
            break
        if fields.setdefault(name, value.strip()) != value.strip():
            raise UnreadableError(f"cannot be read as an image: its header holds {name[:40]} twice")
    raise UnreadableError("cannot be read as an image: it has no whole NRRD header")


def _voxel_type(fields: dict[str, str]) -> np.dtype:
    name = " ".join(fields.get("type", "").lower().split())
    if name not in _KINDS:
        raise UnreadableError(f"cannot be read as an image: type is {name[:40]!r}")
    kind, endian = _KINDS[name], fields.get("endian", "" if _KINDS[name].endswith("1") else "missing").lower()
    if endian not in ("little", "big", ""):
        raise UnreadableError(f"cannot be read as an image: endian is {endian[:40]!r}")
    return np.dtype((">" if endian == "big" else "<") + kind)


def _geometry(fields: dict[str, str]) -> tuple[np.ndarray, list[float], list[float]]:
    """Directions of the axes as columns, spacing in mm, and position of the first voxel."""
    space = fields.get("space", "").lower()
    if space not in _SPACES:
        found = f"space is {space[:40]!r}" if space else "it gives no space"
        raise UnreadableError(f"its place in the patient is not known: {found}")
    units = set(re.findall(r'"([^"]*)"', fields.get("space units", "")))
    if not units <= {"mm", ""}:
        raise UnreadableError(f"its units are {fields['space units'][:60]!r}; mm is needed")
    signs = np.array(_SPACES[space], dtype=float)
    axes = np.array(_vectors(fields, "space directions", 3)).reshape(3, 3) * signs
    origin = np.zeros(3)
    if "space origin" in fields:
        origin = np.array(_vectors(fields, "space origin", 1)[0]) * signs
    spacing = np.linalg.norm(axes, axis=1)
    if not spacing.all():
        raise UnreadableError("its space directions hold an axis of length 0")
    return checked_direction((axes / spacing[:, None]).T), spacing.tolist(), origin.tolist()


def _vectors(fields: dict[str, str], name: str, count: int) -> list[list[float]]:
    text = fields.get(name, "")
    try:
        found = [[float(word) for word in inside.split(",")] for inside in _VECTOR.findall(text)]
    except ValueError:
        found = []
    whole = len(found) == count and all(len(vector) == 3 for vector in found)
    if not whole or not all(math.isfinite(value) for vector in found for value in vector):
        raise UnreadableError(
            f"{name} is {text[:60]!r}; {count} x 3 finite numbers are needed" if text else f"gives no {name}"
        )
    return found
