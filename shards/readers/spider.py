"""Reading and writing SPIDER volumes, in any storage layout, as sagittal slices in one orientation.

A volume is ``(Z, H, W)``: ``Z`` sagittal slices from the patient's left to right, rows superior to inferior,
columns anterior to posterior. The direction matrix of a file, not its name, defines its storage layout.

Source of the layout and the values: van der Graaf et al., Scientific Data 2024 (Zenodo 10159290).
"""

import gzip
import math
import zlib
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import SimpleITK as sitk

from synthspine.shards.readers.folder import SpiderError, image_stem
from synthspine.shards.readers.labels import SPIDER_TABLE, LabelTable
from synthspine.shards.readers.levels import dense_codes
from synthspine.shards.storage.atomic import atomic_path

STORAGES = ("LPS", "PIR")

# Directions of the axes of arrays: slices to the right, rows inferior, columns posterior.
_TOWARDS = "RIP"
_COS_45 = 0.7071
# Sagittal series have a fine in-plane spacing; the slices of other series would be blurred.
_MAX_IN_PLANE_RATIO = 2.0
_MIN_PIXELS = 16
_SPACING_TOLERANCE = 0.01
# The description of a NIfTI file, and an entry of this name in a MetaImage file.
_NOTE = "ITK_FileNotes"
_VOXEL_BYTES = {
    **dict.fromkeys(("MET_CHAR", "MET_UCHAR"), 1),
    **dict.fromkeys(("MET_SHORT", "MET_USHORT"), 2),
    **dict.fromkeys(("MET_INT", "MET_UINT", "MET_FLOAT"), 4),
    **dict.fromkeys(("MET_LONG_LONG", "MET_ULONG_LONG", "MET_DOUBLE"), 8),
}


class UnsuitableError(SpiderError):
    """A valid image that does not consist of sagittal slices."""


@dataclass(frozen=True, slots=True, eq=False)
class Volume:
    """A volume in the orientation of this project.

    Attributes:
        array: shape ``(Z, H, W)``; float32 intensities or uint8 dense codes.
        spacing_mm: spacing along ``Z``, ``H``, ``W``.
        reference: the image that was read, for :func:`write_like`.
    """

    array: np.ndarray
    spacing_mm: tuple[float, float, float]
    reference: sitk.Image


def read_image(path: Path) -> Volume:
    """An image volume: float32, unscaled intensities.

    Raises:
        SpiderError: unreadable, truncated, not a sagittal 3D volume, not finite, or without any contrast.
    """
    return image_volume(_read(Path(path)), path)


def image_volume(stored: sitk.Image, path: Path) -> Volume:
    """The volume of an image in memory; as :func:`read_image`.

    Args:
        stored: intensities in any storage layout.
        path: their source, for messages.

    Raises:
        SpiderError: not a sagittal 3D volume, not finite, or without any contrast.
    """
    volume = _oriented(stored, path)
    # Always a copy, because a view does not keep the memory of the image alive.
    array = np.array(volume.array, dtype=np.float32, order="C")
    low, high = float(array.min()), float(array.max())
    if not np.isfinite([low, high]).all():
        raise SpiderError(path, "holds values that are not finite numbers")
    if low == high:
        raise SpiderError(path, f"every voxel is {low:g}; an image with contrast is needed")
    return replace(volume, array=array)


def read_values(path: Path) -> Volume:
    """A mask volume with its label values: any integer type.

    Raises:
        SpiderError: unreadable, truncated, not a sagittal 3D volume, or a value that is not whole.
    """
    volume = _oriented(_read(Path(path)), path)
    values = volume.array
    if values.dtype.kind != "f":
        return volume
    whole = np.nan_to_num(values, nan=-1.0).astype(np.int64)
    if (whole != values).any():
        raise SpiderError(path, "holds fractions; a mask holds whole label values")
    return replace(volume, array=whole)


def read_mask(path: Path, table: LabelTable = SPIDER_TABLE) -> Volume:
    """A mask volume: uint8 dense codes.

    Args:
        path: the file.
        table: what its label values mean.

    Raises:
        SpiderError: unreadable, truncated, not a sagittal 3D volume, a value that is not in the table, or
            nothing labelled.
    """
    volume = read_values(path)
    try:
        return replace(volume, array=dense_codes(volume.array, table))
    except ValueError as error:
        raise SpiderError(path, str(error)) from None


def check_pair(image: Volume, mask: Volume, path: Path) -> None:
    """Check that a mask, of the file ``path``, has the grid of its image.

    Raises:
        SpiderError: another shape or spacing. Origins may differ, because some masks were drawn on another
            scan of the same session.
    """
    shape, expected = _times(mask.array.shape), _times(image.array.shape)
    if shape != expected:
        raise SpiderError(path, f"shape {shape} differs from its image's {expected}")
    if not np.allclose(image.spacing_mm, mask.spacing_mm, rtol=_SPACING_TOLERANCE):
        spacing, expected = _mm(mask.spacing_mm), _mm(image.spacing_mm)
        raise SpiderError(path, f"spacing {spacing} differs from its image's {expected}")


def write_like(array: np.ndarray, reference: sitk.Image, path: Path, *, note: str = "") -> None:
    """Write an array on the grid of the file from which its volume was read.

    Args:
        array: shape ``(Z, H, W)``, any integer or float type; int16 for SPIDER values.
        reference: :attr:`Volume.reference` of the volume.
        path: the file to write, ``.mha`` or ``.nii.gz``, atomically and compressed.
        note: a remark in the file's header, ASCII, at most 79 characters.

    Raises:
        SpiderError: another suffix.
        ValueError: the array's shape is not that of the reference.
    """
    image_stem(path)
    axes = _Axes.of(reference)
    expected = tuple(reference.GetSize()[::-1][axis] for axis in axes.order)
    if array.shape != expected:
        shape = _times(array.shape)
        raise ValueError(f"an array of shape {shape} does not fit a reference of {_times(expected)}")
    stored = sitk.GetImageFromArray(np.ascontiguousarray(axes.back(array)))
    stored.CopyInformation(reference)
    if note:
        stored.SetMetaData(_NOTE, note)
    with atomic_path(path) as temporary:
        sitk.WriteImage(stored, str(temporary), True)


def write_mha(array: np.ndarray, spacing_mm: tuple[float, float, float], storage: str, path: Path) -> None:
    """Write a volume as a SPIDER file.

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
class _Axes:
    """Conversion between the stored axes of a file and ``(Z, H, W)``: axis order and flips, as views."""

    order: tuple[int, int, int]
    flipped: tuple[bool, bool, bool]

    @classmethod
    def of(cls, image: sitk.Image) -> "_Axes":
        direction = image.GetDirection()
        stored = str(sitk.DICOMOrientImageFilter_GetOrientationFromDirectionCosines(direction))[::-1]
        order = [next(i for i, axis in enumerate(stored) if axis in pair) for pair in ("LR", "IS", "AP")]
        flipped = [stored[axis] != towards for axis, towards in zip(order, _TOWARDS, strict=True)]
        return cls((order[0], order[1], order[2]), (flipped[0], flipped[1], flipped[2]))

    def forward(self, array: np.ndarray) -> np.ndarray:
        """A view of the stored array as ``(Z, H, W)``."""
        return array.transpose(self.order)[self._steps()]

    def back(self, array: np.ndarray) -> np.ndarray:
        """A view of a ``(Z, H, W)`` array as it is stored."""
        return array[self._steps()].transpose(np.argsort(self.order))

    def _steps(self) -> tuple[slice, ...]:
        return tuple(slice(None, None, -1 if backwards else None) for backwards in self.flipped)


def _oriented(stored: sitk.Image, path: Path) -> Volume:
    """The volume with its stored values, as a view in the orientation of :class:`Volume`."""
    dimensions, channels = stored.GetDimension(), stored.GetNumberOfComponentsPerPixel()
    if dimensions != 3 or channels != 1:
        found = f"has {dimensions} dimensions and {channels} channel(s), so no sagittal axis"
        raise SpiderError(path, f"{found}; a 3D volume with one channel is needed")
    axes = _Axes.of(stored)
    across, rows, columns = (float(stored.GetSpacing()[::-1][axis]) for axis in axes.order)
    array = axes.forward(sitk.GetArrayViewFromImage(stored))
    volume = Volume(array, (across, rows, columns), stored)
    left_right = np.array(stored.GetDirection()).reshape(3, 3)[0, 2 - axes.order[0]]
    _check_sagittal(path, volume, abs(float(left_right)))
    return volume


def _check_sagittal(path: Path, volume: Volume, left_right: float) -> None:
    if left_right < _COS_45:
        angle = f"{np.degrees(np.arccos(left_right)):.0f} degrees"
        text = f"has no sagittal axis: the nearest one is {angle} off left-right (at most 45)"
        raise UnsuitableError(path, text)
    across, *in_plane = volume.spacing_mm
    if max(in_plane) > _MAX_IN_PLANE_RATIO * across:
        found = f"{max(in_plane):.2f} mm in-plane but {across:.2f} mm left to right"
        hint = "a series acquired in sagittal slices is needed"
        raise UnsuitableError(path, f"has no sagittal slices: {found}; {hint}")
    _, rows, columns = volume.array.shape
    if min(rows, columns) < _MIN_PIXELS:
        found = f"{rows} x {columns} pixels in-plane, at least {_MIN_PIXELS} needed"
        raise UnsuitableError(path, f"has no sagittal slices: {found}")


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
    """Raise SpiderError for a truncated file, which ITK does not report as an error."""
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
    """Number of missing bytes of a MetaImage file; raises SpiderError if it has no header."""
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
