"""Reading and writing SPIDER volumes, in any storage layout, as sagittal slices in one orientation.

A volume is ``(Z, H, W)``: ``Z`` sagittal slices from the patient's left to right, rows superior to inferior,
columns anterior to posterior. The direction matrix of a file, not its name, defines its storage layout.

Source of the layout and the values: van der Graaf et al., Scientific Data 2024 (Zenodo 10159290).
"""

from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import SimpleITK as sitk

from synthspine.shards.readers.folder import SpiderError, image_stem
from synthspine.shards.readers.labels import SPIDER_TABLE, LabelTable
from synthspine.shards.readers.levels import dense_codes
from synthspine.shards.volumes.files import SCANS, as_image, read_stored, write_stored
from synthspine.shards.volumes.placement import placement_of
from synthspine.shards.volumes.stored import (
    MOST_SLICE_PIXELS,
    Stored,
    UnreadableError,
    check_extent,
    checked_direction,
)

STORAGES = ("LPS", "PIR")
OVERRIDE = "tell it with --spacing-mm Z Y X (for sets: --volume-spacing-mm Z Y X)"
"""What helps where a file does not give its spacing."""
Spacing = tuple[float, float, float]

# Directions of the axes of arrays: slices to the right, rows inferior, columns posterior.
_TOWARDS = "RIP"
COS_45 = 0.7071
# Sagittal series have a fine in-plane spacing; the slices of other series would be blurred.
_MAX_IN_PLANE_RATIO = 2.0
_MIN_PIXELS, _MIN_MM = 16, 10.0
_SPACING_TOLERANCE = 0.01
_HEADER = "synthspine NIfTI header"


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


def read_image(path: Path, spacing_mm: Spacing | None = None) -> Volume:
    """An image volume: float32, unscaled intensities.

    ``spacing_mm`` along ``Z``, ``H``, ``W`` is taken in place of that of the file.

    Raises:
        SpiderError: unreadable, truncated, damaged, not a sagittal 3D volume, without spacing, not finite, or
            without any contrast.
    """
    return image_volume(_read(Path(path)), path, spacing_mm)


def image_volume(stored: Stored, path: Path, spacing_mm: Spacing | None = None) -> Volume:
    """The volume of intensities in any storage layout; as :func:`read_image`, with ``path`` for messages."""
    volume = _oriented(stored, path, spacing_mm)
    # Always a copy, because a view does not keep the memory of the image alive.
    with np.errstate(over="ignore"):
        array = np.array(volume.array, dtype=np.float32, order="C")
    low, high = float(array.min()), float(array.max())
    if not np.isfinite([low, high]).all():
        raise SpiderError(path, "holds values that are not finite numbers, or too large for 32 bits")
    if low == high:
        raise SpiderError(path, f"every voxel is {low:g}; an image with contrast is needed")
    return replace(volume, array=array)


def read_values(path: Path, spacing_mm: Spacing | None = None) -> Volume:
    """A mask volume with its label values: any integer type; ``spacing_mm`` is as for :func:`read_image`.

    Raises SpiderError: unreadable, truncated, not a sagittal 3D volume, or a value that is not whole.
    """
    volume = _oriented(_read(Path(path)), path, spacing_mm)
    values = volume.array
    if values.dtype.kind != "f":
        return volume
    with np.errstate(invalid="ignore"):
        whole = np.nan_to_num(values, nan=-1.0).astype(np.int64)
    if (whole != values).any():
        raise SpiderError(path, "holds fractions; a mask holds whole label values")
    return replace(volume, array=whole)


def read_mask(path: Path, table: LabelTable = SPIDER_TABLE, spacing_mm: Spacing | None = None) -> Volume:
    """A mask volume: uint8 dense codes of the label values that a table explains; raises SpiderError.

    Beside the reasons of :func:`read_values` that is a value that is not in the table, or nothing labelled.
    """
    volume = read_values(path, spacing_mm)
    try:
        return replace(volume, array=dense_codes(volume.array, table))
    except ValueError as error:
        raise SpiderError(path, str(error)) from None


def check_pair(image: Volume, mask: Volume, path: Path) -> str | None:
    """Check that a mask, of the file ``path``, has the grid of its image and lies on it in the patient.

    Returns:
        A remark where the mask lies centimetres away, because some masks were drawn on another scan of the
        same session; None where it lies on its image.

    Raises:
        SpiderError: another shape or spacing, or a place or orientation that cannot be that of the image.
    """
    shape, expected = _times(mask.array.shape), _times(image.array.shape)
    if shape != expected:
        raise SpiderError(path, f"shape {shape} differs from its image's {expected}")
    if not np.allclose(image.spacing_mm, mask.spacing_mm, rtol=_SPACING_TOLERANCE):
        spacing, expected = _mm(mask.spacing_mm), _mm(image.spacing_mm)
        raise SpiderError(path, f"spacing {spacing} differs from its image's {expected}")
    try:
        return placement_of(mask.reference).remark_on(placement_of(image.reference))
    except ValueError as error:
        raise SpiderError(path, str(error)) from None


def stored_order(array: np.ndarray, reference: sitk.Image) -> np.ndarray:
    """An array ``(Z, H, W)`` with its axes as those of the file from which its volume was read.

    Raises ValueError if the array's shape is not that of the reference.
    """
    axes = _Axes.of(reference.GetDirection())
    expected = tuple(reference.GetSize()[::-1][axis] for axis in axes.order)
    if array.shape != expected:
        shape = _times(array.shape)
        raise ValueError(f"an array of shape {shape} does not fit a reference of {_times(expected)}")
    return np.ascontiguousarray(axes.back(array))


def write_like(array: np.ndarray, reference: sitk.Image, path: Path, *, note: str = "") -> None:
    """Write an array on the grid of the file from which its volume was read.

    Args:
        array: shape ``(Z, H, W)``, any integer or float type; int16 for SPIDER values.
        reference: :attr:`Volume.reference` of the volume. Where it was a NIfTI file, its header is kept.
        path: the file to write, ``.mha``, ``.nii.gz``, ``.nii`` or ``.nrrd``, atomically.
        note: a remark in the file's header, ASCII, at most 79 characters.

    Raises:
        SpiderError: another suffix.
        ValueError: the array's shape is not that of the reference.
        OSError: it cannot be written as a whole.
    """
    image_stem(path)
    write_stored(path, stored_order(array, reference), _stored(reference), note=note)


def image_like(array: np.ndarray, reference: sitk.Image) -> sitk.Image:
    """An array ``(Z, H, W)`` as an image on the grid of the one from which its volume was read.

    Raises as :func:`stored_order`.
    """
    image = sitk.GetImageFromArray(stored_order(array, reference))
    image.CopyInformation(reference)
    return image


def volume_of(image: sitk.Image, name: str, spacing_mm: Spacing | None = None) -> Volume:
    """The volume of an image in memory; as :func:`read_image`, with a name for messages."""
    channels = image.GetNumberOfComponentsPerPixel()
    if image.GetDimension() != 3 or channels != 1:
        raise SpiderError(
            name, f"has {image.GetDimension()} dimensions and {channels} channels; want 3 and 1"
        )
    try:
        return image_volume(_stored(image), Path(name), spacing_mm)
    except UnreadableError as error:
        raise SpiderError(name, str(error)) from None


def write_mha(array: np.ndarray, spacing_mm: Spacing, storage: str, path: Path) -> None:
    """Write a volume ``(Z, H, W)`` as a SPIDER file, compressed and atomically.

    The axes of the file have the layout ``storage``, one of ``STORAGES``. Raises OSError if it cannot be
    written as a whole.
    """
    # The image is kept, because views do not keep its memory alive.
    oriented = sitk.DICOMOrient(sagittal_image(array, spacing_mm), storage)
    write_stored(path, sitk.GetArrayViewFromImage(oriented), _stored(oriented))


def sagittal_image(array: np.ndarray, spacing_mm: Spacing) -> sitk.Image:
    """An image in memory from the array, ``(Z, H, W)``, and the spacing of a :class:`Volume`."""
    image = sitk.GetImageFromArray(array)
    image.SetSpacing([float(value) for value in spacing_mm[::-1]])
    # Columns: towards posterior (+y), rows: towards inferior (-z), slices: towards right (-x).
    image.SetDirection((0.0, 0.0, -1.0, 1.0, 0.0, 0.0, 0.0, -1.0, 0.0))
    return image


@dataclass(frozen=True, slots=True)
class _Axes:
    """Conversion between the stored axes of a file and ``(Z, H, W)``: axis order and flips, as views."""

    order: tuple[int, int, int]
    flipped: tuple[bool, bool, bool]

    @classmethod
    def of(cls, direction: tuple[float, ...]) -> "_Axes":
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


def _oriented(stored: Stored, path: Path, spacing_mm: Spacing | None) -> Volume:
    """The volume with its stored values, as a view in the orientation of :class:`Volume`."""
    axes = _Axes.of(tuple(stored.direction.ravel().tolist()))
    array = axes.forward(stored.values)
    given = [stored.spacing_mm[::-1][axis] for axis in axes.order]
    across, rows, columns = (value or 0.0 for value in given) if spacing_mm is None else spacing_mm
    if spacing_mm is None and None in given:
        raise SpiderError(path, f"gives no voxel size; {OVERRIDE}")
    try:
        check_extent(array.shape, (across, rows, columns))
    except UnreadableError as error:
        raise SpiderError(path, str(error)) from None
    by_axis = dict(zip(axes.order, (across, rows, columns), strict=True))
    placed = replace(stored, spacing_mm=(by_axis[2], by_axis[1], by_axis[0]))
    reference = as_image(stored.values, placed)
    if stored.header:
        reference.SetMetaData(_HEADER, stored.header.hex())
    volume = Volume(array, (across, rows, columns), reference)
    _check_sagittal(path, volume, abs(float(stored.direction[0, 2 - axes.order[0]])))
    return volume


def _stored(image: sitk.Image) -> Stored:
    """An image in memory as the content of a file; the header of the NIfTI file it came from is kept."""
    origin, spacing = image.GetOrigin(), image.GetSpacing()
    return Stored(
        values=sitk.GetArrayViewFromImage(image),
        spacing_mm=(spacing[0], spacing[1], spacing[2]),
        direction=checked_direction(np.array(image.GetDirection()).reshape(3, 3)),
        origin_mm=(origin[0], origin[1], origin[2]),
        header=bytes.fromhex(image.GetMetaData(_HEADER)) if image.HasMetaDataKey(_HEADER) else b"",
    )


def _check_sagittal(path: Path, volume: Volume, left_right: float) -> None:
    if left_right < COS_45:
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
    if rows * columns > MOST_SLICE_PIXELS:
        found = f"{rows} x {columns} pixels in-plane, at most {MOST_SLICE_PIXELS} can be used"
        raise SpiderError(path, f"has slices of {found}")
    sides = [size * spacing for size, spacing in zip((rows, columns), in_plane, strict=True)]
    if min(sides) < _MIN_MM:
        found = f"{sides[0]:.3g} x {sides[1]:.3g} mm in-plane"
        raise SpiderError(path, f"has a field of view of {found}; are its units millimetres?")


def _read(path: Path) -> Stored:
    if not path.is_file():
        raise SpiderError(path, "is no regular file" if path.exists() else "no such file")
    image_stem(path, SCANS)
    try:
        return read_stored(path)
    except UnreadableError as error:
        raise SpiderError(path, str(error)) from None
    except OSError as error:
        raise SpiderError(path, f"cannot be read: {error.strerror or error}") from None


def _times(shape: tuple[int, ...]) -> str:
    return " x ".join(str(size) for size in shape)


def _mm(spacing: tuple[float, ...]) -> str:
    return " x ".join(f"{value:.3f}" for value in spacing) + " mm"
