"""What an image file holds, and the bounds that its header has to keep."""

import gzip
import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import BinaryIO

import numpy as np

MOST_MM = 2000.0
"""Longest side of a field of view; that of a person is shorter."""
MOST_VOXELS = 2**28
MOST_SLICE_PIXELS = 2**24
"""Most pixels of a slice, 4096 x 4096; a network's answers for them fit into the memory."""
_LEVEL = 6
_UNITS = "are its units millimetres?"
_UNIT_LENGTH = 0.01
_SHEAR = 0.1
"""Largest cosine of the angle between two axes of a grid, about 6 degrees off a right angle."""


class UnreadableError(ValueError):
    """A file that cannot be used; the message says why, in one line and without the name of the file."""


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Stored:
    """The content of an image file.

    Attributes:
        values: shape ``(k, j, i)``, the last axis the fastest one in the file; native byte order.
        spacing_mm: spacing along ``i``, ``j``, ``k``; None where the file gives none.
        direction: shape ``(3, 3)``; the columns are unit vectors along ``i``, ``j``, ``k`` towards the
            patient's left, posterior and superior. They may be a few degrees off right angles.
        origin_mm: centre of the first voxel.
        header: the header of a NIfTI file; empty for others.
    """

    values: np.ndarray
    spacing_mm: tuple[float | None, float | None, float | None]
    direction: np.ndarray
    origin_mm: tuple[float, float, float]
    header: bytes = field(default=b"", repr=False)


def open_regular(path: Path) -> BinaryIO:
    """Open a file for reading.

    Raises:
        UnreadableError: a folder, a pipe or a device, which may have no end.
        OSError: it cannot be opened.
    """
    if not path.is_file():
        raise UnreadableError("is no regular file" if path.exists() else "no such file")
    return path.open("rb")


def read_voxels(file: BinaryIO, size: Sequence[int], item: int, *, skip: int = 0) -> bytes:
    """The bytes of the voxels, after ``skip`` others: ``item`` for each of a volume of that size.

    The file is read to its end, where the checksum of a gzip file is compared. Raises UnreadableError for too
    few bytes, or enough more for a slice.
    """
    expected = math.prod(size) * item
    skipped, data = file.read(skip), file.read(expected)
    if missing := skip - len(skipped) + expected - len(data):
        raise UnreadableError(f"is truncated: {missing} bytes are missing")
    rest = 0
    while block := file.read(1 << 20):
        rest += len(block)
        if rest >= expected // size[-1]:
            raise UnreadableError(
                "goes on after its voxels for a slice or more; its header tells fewer than it holds"
            )
    return data


def packed(content: bytes) -> bytes:
    """The content as a gzip file; equal contents give equal bytes."""
    return gzip.compress(content, _LEVEL, mtime=0)


def check_size(size: Sequence[int]) -> None:
    """Check the numbers of voxels along the axes of a file.

    Raises UnreadableError: not three, one below 1, or more than ``MOST_VOXELS`` together.
    """
    if len(size) != 3:
        raise UnreadableError(
            f"has {len(size)} dimensions and 1 channel(s), so no sagittal axis; "
            "a 3D volume with one channel is needed"
        )
    if min(size) < 1:
        raise UnreadableError(f"cannot be read as an image: a side of {min(size)} voxels")
    if math.prod(size) > MOST_VOXELS:
        raise UnreadableError(f"has {' x '.join(map(str, size))} voxels; at most {MOST_VOXELS} can be used")


def check_extent(size: Sequence[int], spacing_mm: Sequence[float]) -> None:
    """Check the size of a grid in millimetres.

    Raises UnreadableError: a spacing that is not a positive number, or a side of ``MOST_MM`` or more.
    """
    if not all(math.isfinite(spacing) and spacing > 0 for spacing in spacing_mm):
        found = " x ".join(f"{spacing:g}" for spacing in spacing_mm)
        raise UnreadableError(f"has a spacing of {found} mm; positive numbers are needed")
    sides = [count * spacing for count, spacing in zip(size, spacing_mm, strict=True)]
    if max(sides) >= MOST_MM:
        found = " x ".join(f"{side:.4g}" for side in sides)
        raise UnreadableError(
            f"has a field of view of {found} mm; less than {MOST_MM:g} mm is needed ({_UNITS})"
        )


def checked_direction(matrix: np.ndarray) -> np.ndarray:
    """The directions of the axes, ``(3, 3)`` with columns of about length 1, scaled to unit length.

    Raises UnreadableError: not finite, of another length, or more than a small shear.
    """
    if not np.isfinite(matrix).all():
        raise UnreadableError("its orientation holds values that are not finite numbers")
    lengths = np.linalg.norm(matrix, axis=0)
    if np.abs(lengths - 1).max() > _UNIT_LENGTH:
        found = ", ".join(f"{length:.3g}" for length in lengths)
        raise UnreadableError(f"its axes have the lengths {found}; unit vectors are needed")
    direction: np.ndarray = matrix / lengths
    cosines = direction.T @ direction - np.eye(3)
    if np.abs(cosines).max() > _SHEAR:
        angle = math.degrees(math.acos(min(1.0, np.abs(cosines).max())))
        raise UnreadableError(f"its axes are sheared: two meet at {angle:.0f} degrees instead of 90")
    return direction
