"""From volumes to slices on the working grid: selection, resampling, padding or cropping, normalisation.

Resampling keeps the centre of the field of view: sample positions are computed in millimetres from the centre
of the grid. Outside of the scanned field of view images are 0 and labels 255 (not annotated).
"""

from dataclasses import dataclass
from typing import Any

import numpy as np

from synthspine.gen.core.anatomy import BACKGROUND, CANAL, IGNORE, MAX_RANK
from synthspine.shards.readers.spider import Volume

FLOOR_PERCENTILES = (0.5, 99.5)
SLICE_STEP_MM = 3.0
MOST_PIXELS = 2**22
"""Most pixels of a slice after resampling to a network's pixel size, 2048 x 2048."""

# Positions that differ by less than this part of a pixel are equal, so that rounding does not break ties.
_TIE = 1e-6


@dataclass(frozen=True, kw_only=True, slots=True)
class Grid:
    """The working grid of 2D slices: rows superior to inferior, columns anterior to posterior."""

    spacing_mm: float = 1.0
    """Pixel size, mm."""
    shape: tuple[int, int] = (320, 256)
    """Rows and columns, multiples of 16."""

    def __post_init__(self) -> None:
        if not 0.1 <= self.spacing_mm <= 10.0:
            raise ValueError(f"spacing_mm {self.spacing_mm} is outside 0.1..10")
        if len(self.shape) != 2 or any(size <= 0 or size % 16 for size in self.shape):
            raise ValueError(f"shape {self.shape} must be two positive multiples of 16")

    def to_json(self) -> dict[str, Any]:
        """The grid as stored in a manifest."""
        return {"spacing_mm": self.spacing_mm, "shape": list(self.shape)}


def chosen_slices(
    codes: np.ndarray,
    spacing_mm: tuple[float, float, float],
    slice_step_mm: float = SLICE_STEP_MM,
    *,
    beside: bool = False,
) -> list[int]:
    """Increasing indices along ``Z`` of the slices to keep: a vertebra or the canal is annotated in them.

    Args:
        codes: dense codes, uint8, shape ``(Z, H, W)``.
        spacing_mm: spacing along ``Z``, ``H`` and ``W``.
        slice_step_mm: least distance of two kept slices.
        beside: keep slices beside the spine too, of volumes that show one; those outside the scan hold
            nothing to keep.
    """
    wanted = ((codes > BACKGROUND) & (codes <= MAX_RANK)) | (codes == CANAL)
    if beside and wanted.any():
        wanted = codes != IGNORE
    indices = np.flatnonzero(wanted.any(axis=(1, 2)))
    step = max(1, int(np.ceil(slice_step_mm / spacing_mm[0] - _TIE)))
    return [int(index) for index in indices[::step]]


def normalise(array: np.ndarray) -> np.ndarray:
    """Scale intensities, of any shape and type, to [0, 1] by percentiles of the voxels above the minimum.

    SPIDER clips its images: up to 70 % of a volume can have the minimum as value. The result is float32, all
    0 if the array is constant.
    """
    above = array[array > array.min()]
    if not above.size:
        return np.zeros(array.shape, dtype=np.float32)
    low, high = (float(value) for value in np.percentile(above, FLOOR_PERCENTILES))
    if low == high:
        low = float(array.min())
    return np.clip((array.astype(np.float32) - low) / (high - low), 0.0, 1.0).astype(np.float32)


def image_slices(volume: Volume, grid: Grid, indices: list[int]) -> np.ndarray:
    """Slices of an image volume on the working grid, normalised by the whole volume.

    Returns:
        float32 in [0, 1], shape ``(S, *grid.shape)``, of the slices at ``indices``.
    """
    return _on_grid(normalise(volume.array)[indices], volume, grid, labels=False)


def label_slices(volume: Volume, grid: Grid, indices: list[int]) -> np.ndarray:
    """Slices of a mask volume on the working grid.

    Returns uint8 dense codes, shape ``(S, *grid.shape)``, of the slices at ``indices``; 255 outside of the
    field of view.
    """
    return _on_grid(volume.array[indices], volume, grid, labels=True)


def resample_in_plane(
    array: np.ndarray, spacing_mm: tuple[float, float], target_mm: float, *, labels: bool
) -> np.ndarray:
    """Resample the last two axes to another spacing, over the whole field of view, with the same centre.

    Labels take the nearest neighbour (dtype kept); else it is linear interpolation with antialiasing
    (float32). The shape becomes ``(..., ceil(h * spacing / target), ceil(w * spacing / target))``.

    Raises ValueError for more than ``MOST_PIXELS`` pixels.
    """
    rows, columns = array.shape[-2:]
    size = resampled_size((rows, columns), spacing_mm, target_mm)
    return _resample(array, spacing_mm, size, (target_mm, target_mm), labels=labels)


def resampled_size(
    size: tuple[int, int], spacing_mm: tuple[float, float], target_mm: float
) -> tuple[int, int]:
    """Rows and columns of a slice after :func:`resample_in_plane`, known before anything is allocated.

    Raises:
        ValueError: more than ``MOST_PIXELS`` pixels; one line that says how many.
    """
    rows, columns = (
        max(1, int(np.ceil(count * old / target_mm - _TIE)))
        for count, old in zip(size, spacing_mm, strict=True)
    )
    if rows * columns > MOST_PIXELS:
        found = f"{size[0]} x {size[1]} pixels of {spacing_mm[0]:.4g} x {spacing_mm[1]:.4g} mm"
        result = f"{rows} x {columns} at {target_mm:g} mm"
        raise ValueError(f"slices of {found} would become {result}; at most {MOST_PIXELS} pixels can be used")
    return rows, columns


def resample_back(
    array: np.ndarray,
    spacing_mm: float,
    shape: tuple[int, int],
    target_mm: tuple[float, float],
    *,
    labels: bool,
) -> np.ndarray:
    """Resample labels or class probabilities onto the native rows and columns of a slice, ``(..., *shape)``.

    It is the inverse of :func:`resample_in_plane`, with the same centre.
    """
    return _resample(array, (spacing_mm, spacing_mm), shape, target_mm, labels=labels)


def _on_grid(array: np.ndarray, volume: Volume, grid: Grid, *, labels: bool) -> np.ndarray:
    spacing = volume.spacing_mm[1:]
    target = (grid.spacing_mm, grid.spacing_mm)
    resampled = _resample(array, spacing, grid.shape, target, labels=labels)
    for axis, size in enumerate(volume.array.shape[1:]):
        outside = ~_inside(size, spacing[axis], grid.shape[axis], grid.spacing_mm)
        resampled[(slice(None),) * (axis + 1) + (outside,)] = IGNORE if labels else 0
    return resampled


def _resample(
    array: np.ndarray,
    spacing: tuple[float, ...],
    shape: tuple[int, ...],
    target: tuple[float, ...],
    *,
    labels: bool,
) -> np.ndarray:
    rows, columns = (
        (size, old, new_size, new)
        for size, old, new_size, new in zip(array.shape[-2:], spacing, shape, target, strict=True)
    )
    if labels:
        return array[..., _nearest(*rows)[:, None], _nearest(*columns)[None, :]]
    # Rows first, because both products are then contiguous.
    return np.matmul(np.matmul(_linear(*rows), array.astype(np.float32, copy=False)), _linear(*columns).T)


def _positions(size: int, spacing: float, new_size: int, new_spacing: float) -> np.ndarray:
    """Centres of the new pixels as indices of the old ones, shape ``(new_size,)``."""
    offset_mm = (np.arange(new_size) - (new_size - 1) / 2) * new_spacing
    return (size - 1) / 2 + offset_mm / spacing


def _inside(size: int, spacing: float, new_size: int, new_spacing: float) -> np.ndarray:
    position = _positions(size, spacing, new_size, new_spacing)
    return (position > -0.5 - _TIE) & (position < size - 0.5 + _TIE)


def _nearest(size: int, spacing: float, new_size: int, new_spacing: float) -> np.ndarray:
    position = _positions(size, spacing, new_size, new_spacing)
    # A tie goes to the pixel nearer to the centre, because rounding one way would shift the whole map.
    towards_high = np.floor(position + 0.5 + _TIE)
    towards_low = np.ceil(position - 0.5 - _TIE)
    index = np.where(position < (size - 1) / 2, towards_high, towards_low)
    return np.clip(index, 0, size - 1).astype(np.int64)


def _linear(size: int, spacing: float, new_size: int, new_spacing: float) -> np.ndarray:
    """Antialiased linear interpolation as a matrix, float32, shape ``(new_size, size)``, rows sum to 1.

    The kernel is a triangle of the width of the coarser spacing; edge pixels are repeated.
    """
    position = np.clip(_positions(size, spacing, new_size, new_spacing), 0, size - 1)
    width = max(1.0, new_spacing / spacing)
    distance = np.abs(np.arange(size)[None, :] - position[:, None]) / width
    weights = np.maximum(0.0, 1.0 - distance)
    return (weights / weights.sum(axis=1, keepdims=True)).astype(np.float32)
