"""Reading NIfTI files (``.nii``, ``.nii.gz``), and writing volumes under the header of a scan.

Versions 1 and 2, either byte order. Where a file lies in the patient is told by its sform, else by its qform,
else (both codes 0) as for Analyze files, as nibabel does; a small shear stays. A mask gets the header of its
scan, so that every program puts it where it puts the scan.

Source: nifti1.h and nifti2.h of https://nifti.nimh.nih.gov; nibabel, ``nifti1.py`` (``get_best_affine``).
"""

import gzip
import io
import math
import zlib
from pathlib import Path
from typing import BinaryIO

import numpy as np

from synthspine.shards.volumes.nifti_header import (
    LPS,
    MAGIC,
    QUATERNION,
    ROWS,
    TYPES,
    header_of,
    read_header,
    rotation,
)
from synthspine.shards.volumes.stored import (
    LONGER,
    Stored,
    UnreadableError,
    check_extent,
    check_size,
    checked_direction,
    open_regular,
)

_MOST_START = 1 << 26
_LEVEL = 6
_NO_EXTENSION = bytes(4)
_MM_PER_UNIT = {0: 1.0, 1: 1000.0, 2: 1.0, 3: 0.001}
_SPACING_TOLERANCE = 0.05


def read_nifti(path: Path) -> Stored:
    """The content of a NIfTI file, with its values as the header scales them.

    Raises:
        UnreadableError: no NIfTI, truncated, damaged, not one three-dimensional volume, of absurd size, or a
            header that contradicts itself.
        OSError: it cannot be read.
    """
    try:
        with open_regular(path) as file:
            if path.name.lower().endswith(".gz"):
                # Closing the reader does not close the file.
                with gzip.GzipFile(fileobj=file) as unpacked:
                    return _read(unpacked)  # type: ignore[arg-type]
            return _read(file)
    except (EOFError, gzip.BadGzipFile, zlib.error) as error:
        raise UnreadableError(f"is truncated or not a gzip file ({error})") from None


def nifti_bytes(array: np.ndarray, reference: Stored, *, note: str = "") -> bytes:
    """A NIfTI file, not compressed, of an array on the grid of a reference.

    Args:
        array: shape ``(k, j, i)``, any type of ``Stored.values``.
        reference: its header is copied: sform, qform, their codes, spacing and units stay byte for byte. From
            a reference without one, a header is made with its geometry as sform and qform.
        note: the description in the header, ASCII, at most 79 characters.

    Raises:
        ValueError: a type of numbers that the format does not have.
    """
    header = header_of(reference)
    size = int(header["sizeof_hdr"])
    code = next((code for code, name in TYPES.items() if np.dtype(name) == array.dtype), None)
    if code is None:
        raise ValueError(f"NIfTI files do not hold {array.dtype}")
    header["dim"] = [3, *array.shape[::-1], 1, 1, 1, 1]
    header["datatype"], header["bitpix"] = code, 8 * array.dtype.itemsize
    header["vox_offset"] = size + len(_NO_EXTENSION)
    header["magic"] = MAGIC[size]
    header["scl_slope"], header["scl_inter"] = 1, 0
    for name in ("cal_max", "cal_min", "intent_p", "intent_code"):
        header[name] = 0
    # Free text may say who was scanned.
    for name in ("descrip", "aux_file", "intent_name"):
        header[name] = b""
    header["descrip"] = note.encode("ascii")
    return header.tobytes() + _NO_EXTENSION + array.astype(array.dtype.newbyteorder("<")).tobytes()


def packed(content: bytes) -> bytes:
    """The content as a gzip file; equal contents give equal bytes."""
    room = io.BytesIO()
    with gzip.GzipFile(fileobj=room, mode="wb", compresslevel=_LEVEL, mtime=0) as file:
        file.write(content)
    return room.getvalue()


def _read(file: BinaryIO) -> Stored:
    head, header = read_header(file)
    size = _size(header)
    matrix, origin = _affine(header)
    scale = _MM_PER_UNIT.get(int(header["xyzt_units"]) & 7)
    if scale is None:
        raise UnreadableError(
            f"its unit of length has the code {int(header['xyzt_units']) & 7}; 0 to 3 exist"
        )
    if not (np.isfinite(matrix).all() and np.isfinite(origin).all()):
        raise UnreadableError("its affine holds values that are not finite numbers")
    lengths = np.linalg.norm(matrix, axis=0)
    if not lengths.all():
        raise UnreadableError("its affine has an axis of length 0")
    spacing = _spacing(header, lengths)
    known = [1e-3 if value is None else value * scale for value in spacing]
    check_extent(size, known)
    across, down, deep = (None if value is None else value * scale for value in spacing)
    x, y, z = (LPS @ origin * scale).tolist()
    return Stored(
        values=_values(file, header, len(head), size),
        spacing_mm=(across, down, deep),
        direction=checked_direction(LPS @ (matrix / lengths)),
        origin_mm=(x, y, z),
        header=head,
    )


def _size(header: np.ndarray) -> tuple[int, ...]:
    count = int(header["dim"][0])
    if not 1 <= count <= 7:
        raise UnreadableError(f"cannot be read as an image: its header tells {count} dimensions")
    size = tuple(int(side) for side in header["dim"][1 : count + 1])
    while len(size) > 3 and size[-1] == 1:
        size = size[:-1]
    check_size(size)
    return size


def _affine(header: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Matrix and origin of the first of sform, qform and Analyze that counts, towards right, front, top."""
    if header["sform_code"] > 0:
        rows = np.array([header[name] for name, _, _ in ROWS], dtype=np.float64)
        return rows[:, :3], rows[:, 3]
    spacing = np.abs(np.array(header["pixdim"][1:4], dtype=np.float64))
    spacing[(spacing == 0) | ~np.isfinite(spacing)] = 1.0
    if header["qform_code"] > 0:
        b, c, d, *offset = (float(header[name]) for name in QUATERNION)
        turn = rotation(b, c, d)
        handed = np.array([1.0, 1.0, -1.0 if header["pixdim"][0] < 0 else 1.0])
        return turn * (spacing * handed), np.array(offset)
    matrix = np.diag(spacing * (-1, 1, 1))
    return matrix, -matrix @ ((np.array(_size(header)) - 1) / 2)


def _spacing(header: np.ndarray, lengths: np.ndarray) -> list[float | None]:
    """The spacing along the axes in the unit of the file; None where neither pixdim nor sform tells it."""
    given = [abs(float(value)) for value in header["pixdim"][1:4]]
    if not all(map(math.isfinite, given)):
        raise UnreadableError("its spacing (pixdim) holds values that are not finite numbers")
    if header["sform_code"] <= 0:
        return [value or None for value in given]
    for value, length in zip(given, lengths, strict=True):
        if value and abs(value - length) > _SPACING_TOLERANCE * length:
            both = (" x ".join(f"{number:.4g}" for number in numbers) for numbers in (given, lengths))
            raise UnreadableError("its spacing is {} by pixdim, but {} by its sform".format(*both))
    return [value or float(length) for value, length in zip(given, lengths, strict=True)]


def _values(file: BinaryIO, header: np.ndarray, read: int, size: tuple[int, ...]) -> np.ndarray:
    code = int(header["datatype"])
    if code not in TYPES:
        raise UnreadableError(f"holds voxels of type {code}; one whole or real number a voxel is needed")
    voxel = np.dtype(TYPES[code]).newbyteorder(header.dtype["sizeof_hdr"].byteorder)
    start = float(header["vox_offset"]) or float(read + len(_NO_EXTENSION))
    if not (start.is_integer() and read <= start <= _MOST_START):
        raise UnreadableError(f"cannot be read as an image: its voxels begin at byte {start:g}")
    expected = math.prod(size) * voxel.itemsize
    skipped, data = file.read(int(start) - read), file.read(expected)
    missing = int(start) - read - len(skipped) + expected - len(data)
    if missing:
        raise UnreadableError(f"is truncated: {missing} bytes are missing")
    # The checksum of a gzip file is compared at its end.
    rest = 0
    while block := file.read(1 << 20):
        rest += len(block)
        if rest >= expected // size[-1]:
            raise UnreadableError(LONGER)
    values = np.frombuffer(data, voxel).reshape(size[::-1])
    values = values.astype(voxel.newbyteorder("="), copy=False)
    slope, shift = float(header["scl_slope"]), float(header["scl_inter"])
    if slope == 0 or not math.isfinite(slope) or (slope == 1 and shift == 0):
        return values
    if not math.isfinite(shift):
        raise UnreadableError(f"scales its values by {slope:g} and adds {shift}; finite numbers are needed")
    return values.astype(np.float64) * slope + shift
