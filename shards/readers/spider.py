"""Reading and writing SPIDER volumes: any storage layout in, sagittal slices in one orientation out.

A volume here is ``(Z, H, W)``: ``Z`` sagittal slices from the patient's left to right, rows superior to
inferior, columns anterior to posterior. The file name does not tell how a file is stored; its direction
matrix does.

Source of the layout and the values: van der Graaf et al., Scientific Data 2024 (Zenodo 10159290).
"""

import gzip
import math
import zlib
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import SimpleITK as sitk

from synthspine.shards.readers.folder import CONTRASTS, Series, SpiderError, find_series, image_stem
from synthspine.shards.readers.levels import dense_codes
from synthspine.shards.storage.atomic import atomic_path

__all__ = [
    "CONTRASTS",
    "STORAGES",
    "Series",
    "SpiderError",
    "UnsuitableError",
    "Volume",
    "check_pair",
    "find_series",
    "image_stem",
    "image_volume",
    "read_image",
    "read_mask",
    "write_like",
    "write_mha",
]

STORAGES = ("LPS", "PIR")

# Where the axes of an array of this project point: slices to the right, rows down, columns to the back.
_TOWARDS = "RIP"
_COS_45 = 0.7071
# A sagittal series is fine in-plane and coarse across; turned the other way, its "slices" would be blurred.
_MAX_IN_PLANE_RATIO = 2.0
_MIN_PIXELS = 16
_SPACING_TOLERANCE = 0.01
_VOXEL_BYTES = {
    **dict.fromkeys(("MET_CHAR", "MET_UCHAR"), 1),
    **dict.fromkeys(("MET_SHORT", "MET_USHORT"), 2),
    **dict.fromkeys(("MET_INT", "MET_UINT", "MET_FLOAT"), 4),
    **dict.fromkeys(("MET_LONG_LONG", "MET_ULONG_LONG", "MET_DOUBLE"), 8),
}


class UnsuitableError(SpiderError):
    """A sound image, but not one of sagittal slices."""


@dataclass(frozen=True, slots=True, eq=False)
class Volume:
    """A volume in the orientation of this project.

    Attributes:
        array: shape ``(Z, H, W)``; float32 intensities or uint8 dense codes.
        spacing_mm: spacing along ``Z``, ``H``, ``W``.
        reference: the image as it was read, for :func:`write_like`.
    """

    array: np.ndarray
    spacing_mm: tuple[float, float, float]
    reference: sitk.Image


def read_image(path: Path) -> Volume:
    """An image volume: float32, the file's own intensities.

    Raises:
        SpiderError: unreadable, truncated, not a sagittal 3D volume, not finite, or without any contrast.
    """
    return image_volume(_read(Path(path)), path)


def image_volume(stored: sitk.Image, path: Path) -> Volume:
    """The image volume of an image that was read, as :func:`read_image` gives it.

    Args:
        stored: intensities in any storage layout.
        path: where they come from, for messages.

    Raises:
        SpiderError: not a sagittal 3D volume, not finite, or without any contrast.
    """
    volume = _oriented(stored, path)
    # A copy always: a view would not keep the image's memory alive.
    array = np.array(volume.array, dtype=np.float32, order="C")
    low, high = float(array.min()), float(array.max())
    if not np.isfinite([low, high]).all():
        raise SpiderError(path, "holds values that are not finite numbers")
    if low == high:
        raise SpiderError(path, f"every voxel is {low:g}; an image with some contrast is needed")
    return replace(volume, array=array)


def read_mask(path: Path) -> Volume:
    """A mask volume: uint8 dense codes, ranked by position from the bottom on the whole volume.

    Raises:
        SpiderError: unreadable, truncated, not a sagittal 3D volume, a value that SPIDER does not have, or
            nothing labelled.
    """
    volume = _oriented(_read(Path(path)), path)
    values = volume.array
    if values.dtype.kind == "f":
        whole = np.nan_to_num(values, nan=-1.0).astype(np.int64)
        if (whole != values).any():
            raise SpiderError(path, "holds fractions; a mask holds whole label values")
        values = whole
    try:
        return replace(volume, array=dense_codes(values))
    except ValueError as error:
        raise SpiderError(path, str(error)) from None


def check_pair(image: Volume, mask: Volume, path: Path) -> None:
    """Make sure that a mask lies on its image's grid.

    Args:
        image: the image volume.
        mask: the mask volume.
        path: the mask's file, for the message.

    Raises:
        SpiderError: another shape or spacing. The origin may differ: a mask may come from another scan of
            the same session.
    """
    if image.array.shape != mask.array.shape:
        raise SpiderError(
            path, f"shape {_times(mask.array.shape)} differs from its image's {_times(image.array.shape)}"
        )
    if not np.allclose(image.spacing_mm, mask.spacing_mm, rtol=_SPACING_TOLERANCE):
        raise SpiderError(
            path, f"spacing {_mm(mask.spacing_mm)} differs from its image's {_mm(image.spacing_mm)}"
        )


def write_like(array: np.ndarray, reference: sitk.Image, path: Path) -> None:
    """Write an array of this project's orientation on the grid of the file it came from.

    Args:
        array: shape ``(Z, H, W)``, any integer or float type; int16 for SPIDER values.
        reference: :attr:`Volume.reference` of the volume that was read.
        path: the file to write, ``.mha`` or ``.nii.gz``; written atomically, compressed.

    Raises:
        SpiderError: another suffix.
        ValueError: the array's shape is not that of the reference.
    """
    image_stem(path)
    turn = _Turn.of(reference)
    expected = tuple(reference.GetSize()[::-1][axis] for axis in turn.order)
    if array.shape != expected:
        raise ValueError(
            f"an array of shape {_times(array.shape)} does not fit a reference of {_times(expected)}"
        )
    stored = sitk.GetImageFromArray(np.ascontiguousarray(turn.back(array)))
    stored.CopyInformation(reference)
    with atomic_path(path) as temporary:
        sitk.WriteImage(stored, str(temporary), True)


def write_mha(array: np.ndarray, spacing_mm: tuple[float, float, float], storage: str, path: Path) -> None:
    """Write a volume of this project's orientation as a SPIDER file.

    Args:
        array: shape ``(Z, H, W)``.
        spacing_mm: spacing along ``Z``, ``H``, ``W``.
        storage: layout of the axes in the file, one of ``STORAGES``.
        path: the file to write, atomically and compressed.
    """
    image = sitk.GetImageFromArray(array)
    image.SetSpacing([float(value) for value in spacing_mm[::-1]])
    # Columns: towards posterior (+y), rows: towards inferior (-z), slices: towards right (-x).
    image.SetDirection((0.0, 0.0, -1.0, 1.0, 0.0, 0.0, 0.0, -1.0, 0.0))
    with atomic_path(path) as temporary:
        sitk.WriteImage(sitk.DICOMOrient(image, storage), str(temporary), True)


@dataclass(frozen=True, slots=True)
class _Turn:
    """How the axes of a file's array become those of this project: their order, and which run backwards.

    Turning views of the array is some ten times faster than ITK's filter on a volume of SPIDER's size.
    """

    order: tuple[int, int, int]
    flipped: tuple[bool, bool, bool]

    @classmethod
    def of(cls, image: sitk.Image) -> "_Turn":
        direction = image.GetDirection()
        stored = str(sitk.DICOMOrientImageFilter_GetOrientationFromDirectionCosines(direction))[::-1]
        order = [next(i for i, axis in enumerate(stored) if axis in pair) for pair in ("LR", "IS", "AP")]
        flipped = [stored[axis] != towards for axis, towards in zip(order, _TOWARDS, strict=True)]
        return cls((order[0], order[1], order[2]), (flipped[0], flipped[1], flipped[2]))

    def forth(self, array: np.ndarray) -> np.ndarray:
        """A view of the stored array as ``(Z, H, W)``."""
        return array.transpose(self.order)[self._steps()]

    def back(self, array: np.ndarray) -> np.ndarray:
        """A view of a ``(Z, H, W)`` array as it is stored."""
        return array[self._steps()].transpose(np.argsort(self.order))

    def _steps(self) -> tuple[slice, ...]:
        return tuple(slice(None, None, -1 if backwards else None) for backwards in self.flipped)


def _oriented(stored: sitk.Image, path: Path) -> Volume:
    """The volume with its stored values, as a view in this project's orientation."""
    dimensions, channels = stored.GetDimension(), stored.GetNumberOfComponentsPerPixel()
    if dimensions != 3 or channels != 1:
        raise SpiderError(
            path,
            f"has {dimensions} dimensions and {channels} channel(s), so no sagittal axis; "
            "a 3D volume with one channel is needed",
        )
    turn = _Turn.of(stored)
    across, rows, columns = (float(stored.GetSpacing()[::-1][axis]) for axis in turn.order)
    array = turn.forth(sitk.GetArrayViewFromImage(stored))
    volume = Volume(array, (across, rows, columns), stored)
    left_right = np.array(stored.GetDirection()).reshape(3, 3)[0, 2 - turn.order[0]]
    _check_sagittal(path, volume, abs(float(left_right)))
    return volume


def _check_sagittal(path: Path, volume: Volume, left_right: float) -> None:
    if left_right < _COS_45:
        angle = np.degrees(np.arccos(left_right))
        raise UnsuitableError(
            path, f"has no sagittal axis: the nearest one is {angle:.0f} degrees off left-right (at most 45)"
        )
    across, *in_plane = volume.spacing_mm
    if max(in_plane) > _MAX_IN_PLANE_RATIO * across:
        raise UnsuitableError(
            path,
            f"has no sagittal slices: {max(in_plane):.2f} mm in-plane but {across:.2f} mm left to right; "
            "a series acquired in sagittal slices is needed",
        )
    _, rows, columns = volume.array.shape
    if min(rows, columns) < _MIN_PIXELS:
        raise UnsuitableError(
            path, f"has no sagittal slices: {rows} x {columns} pixels in-plane, at least {_MIN_PIXELS} needed"
        )


def _read(path: Path) -> sitk.Image:
    if not path.is_file():
        raise SpiderError(path, "no such file")
    image_stem(path)
    _check_whole(path)
    try:
        return sitk.ReadImage(str(path))
    except RuntimeError:
        raise SpiderError(path, "cannot be read as an image; .mha or .nii.gz expected") from None


def _check_whole(path: Path) -> None:
    """Find a truncated file before ITK does: of .mha it tells the terminal, of .nii.gz nobody."""
    try:
        if path.name.endswith(".nii.gz"):
            with gzip.open(path) as file:
                while file.read(1 << 24):
                    pass
            return
        missing = _missing_bytes(path)
    except (EOFError, gzip.BadGzipFile, zlib.error):
        raise SpiderError(path, "is truncated or not a gzip file") from None
    except OSError as error:
        raise SpiderError(path, f"cannot be read: {error.strerror}") from None
    if missing > 0:
        raise SpiderError(path, f"is truncated: {missing} bytes are missing")


def _missing_bytes(path: Path) -> int:
    """How many bytes a MetaImage file lacks, by its own header; raises SpiderError if there is no header."""
    header: dict[str, str] = {}
    with path.open("rb") as file:
        for _ in range(200):
            key, separator, value = file.readline(4096).decode("latin-1").partition("=")
            if not separator:
                break
            header[key.strip()] = value.strip()
            if key.strip() == "ElementDataFile":
                break
        start = file.tell()
    if "ElementDataFile" not in header or "DimSize" not in header:
        raise SpiderError(path, "cannot be read as an image: it has no whole MetaImage (.mha) header")
    if header["ElementDataFile"] != "LOCAL":
        return 0
    size = header.get("CompressedDataSize", "")
    if not size.isdecimal() and header.get("CompressedData", "False").lower() != "true":
        voxel_bytes = _VOXEL_BYTES.get(header.get("ElementType", ""), 0)
        size = str(math.prod(int(n) for n in header["DimSize"].split() if n.isdecimal()) * voxel_bytes)
    return int(size) - (path.stat().st_size - start) if size.isdecimal() else 0


def _times(shape: tuple[int, ...]) -> str:
    return " x ".join(str(size) for size in shape)


def _mm(spacing: tuple[float, ...]) -> str:
    return " x ".join(f"{value:.3f}" for value in spacing) + " mm"
