"""The phantom: a procedural lumbar-spine scan, image and mask, in the form of SPIDER.

A patient's anatomy depends on (seed, patient) alone (``gen.phantom.patient``). A scan paints it at several
points through the slice thickness, turns tissues into spin-echo signal, averages, and adds coil sensitivity,
limited resolution, Rician noise and SPIDER's clipping.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from typing import Literal

import numpy as np

from synthspine.gen.intensity.spin_echo import draw_protocol
from synthspine.gen.phantom.anatomy import Anatomy, Array
from synthspine.gen.phantom.paint import Points, paint
from synthspine.gen.phantom.patient import phantom_patient
from synthspine.gen.phantom.soft import (
    HIGH_MM,
    LOW_MM,
    Back,
    SoftTissue,
    draw_back,
    draw_field,
    draw_soft_tissue,
    skin_behind,
)
from synthspine.gen.phantom.tissues import signal_table, texture_table

Contrast = Literal["t1", "t2"]
Storage = Literal["LPS", "PIR"]

CONTRASTS: tuple[Contrast, ...] = ("t1", "t2")
SPIDER_FLOOR, SPIDER_CEILING = -1000, 3096
SPIDER_PERCENTILES = (5.0, 95.0)

STREAM_SCAN = 3
_SUB_SLICES = 3
_MATRIX = (320, 336, 352, 384, 400)


@dataclass(frozen=True, kw_only=True, slots=True)
class PhantomMask:
    """The mask of a scan: Z left to right, H superior to inferior, W anterior to posterior."""

    mask: Array  # int16 ``(Z, H, W)``, SPIDER values: vertebrae 1.. from the bottom, canal 100, discs 201..
    spacing_mm: tuple[float, float, float]  # of Z, H, W
    storage: Storage  # axis order in which SPIDER would store it


@dataclass(frozen=True, kw_only=True, slots=True)
class PhantomSeries(PhantomMask):
    """A scan: its mask, and its image, int16 ``(Z, H, W)``, clipped to [-1000, 3096] as in SPIDER."""

    image: Array


@dataclass(frozen=True, kw_only=True, slots=True)
class ScanGrid:
    """Where a scan samples space: first voxel centre, spacing and voxels along Z, H, W = x, y, z."""

    origin_mm: tuple[float, float, float]
    spacing_mm: tuple[float, float, float]
    shape: tuple[int, int, int]

    def axis(self, number: int, shift: float = 0.0) -> Array:
        """Coordinates of an axis in mm, moved by ``shift`` voxels."""
        steps = np.arange(self.shape[number]) + shift
        return self.origin_mm[number] + steps * self.spacing_mm[number]


def phantom_series(seed: int, patient: int, contrast: Contrast) -> PhantomSeries:
    """Scan one patient of the phantom.

    T1 and T2 of a patient show the same anatomy, mostly on the same grid; the others differ in matrix and by
    up to a millimetre of motion. ``seed``, of the whole phantom, and the patient's number are 0 or more.

    Raises:
        ValueError: another contrast, or a negative number.
    """
    _check(seed, patient, contrast)
    anatomy, soft = _patient(seed, patient)
    grid, storage, field_tesla = scan_grid(anatomy, soft.back, contrast)
    tissues, mask = _sample(seed, patient, grid)
    rng = np.random.default_rng([seed, patient, STREAM_SCAN, 1 + CONTRASTS.index(contrast)])
    protocol = draw_protocol(rng, contrast, field_tesla)
    signal = _signal(anatomy, tissues, grid, signal_table(anatomy, protocol), texture_table(anatomy))
    signal *= _coil_sensitivity(rng, soft.back, grid)
    image = _acquire(rng, signal)
    return PhantomSeries(
        image=_clip_like_spider(image), mask=mask.copy(), spacing_mm=grid.spacing_mm, storage=storage
    )


def phantom_mask(seed: int, patient: int, contrast: Contrast) -> PhantomMask:
    """The mask of :func:`phantom_series` alone, in a tenth of the time.

    Raises:
        ValueError: another contrast, or a negative number.
    """
    _check(seed, patient, contrast)
    anatomy = phantom_patient(seed, patient)
    grid, storage, _ = scan_grid(anatomy, draw_back(anatomy), contrast)
    mask = _majority([paint(anatomy, None, points)[1] for points in _sub_slices(grid)])
    return PhantomMask(mask=mask, spacing_mm=grid.spacing_mm, storage=storage)


def _check(seed: int, patient: int, contrast: str) -> None:
    if contrast not in CONTRASTS:
        raise ValueError(f"contrast {contrast!r} is not one of {', '.join(CONTRASTS)}")
    if seed < 0 or patient < 0:
        raise ValueError(f"seed {seed} and patient {patient} must not be negative")


@lru_cache(maxsize=1)
def _patient(seed: int, patient: int) -> tuple[Anatomy, SoftTissue]:
    anatomy = phantom_patient(seed, patient)
    return anatomy, draw_soft_tissue(anatomy)


@lru_cache(maxsize=1)
def _sample(seed: int, patient: int, grid: ScanGrid) -> tuple[tuple[Array, ...], Array]:
    """Tissue codes of every sub-slice and the mask; kept, since T1 and T2 mostly share them."""
    anatomy, soft = _patient(seed, patient)
    painted = [paint(anatomy, soft, points) for points in _sub_slices(grid)]
    return tuple(tissue for tissue, _ in painted), _majority([label for _, label in painted])


def _sub_slices(grid: ScanGrid) -> Iterator[Points]:
    """Where a scan samples space within the thickness of its slices."""
    for place in range(_SUB_SLICES):
        # Sub-slices are also shifted in-plane, which averages out the jagged edges.
        share = (place - (_SUB_SLICES - 1) / 2) / _SUB_SLICES
        yield Points(x=grid.axis(0, 0.92 * share), y=grid.axis(1, share), z=grid.axis(2, -share))


def _majority(labels: list[Array]) -> Array:
    """What most of the slice's thickness shows; the middle where all differ."""
    first, middle, last = labels
    return np.where(first == last, first, middle)


def scan_grid(anatomy: Anatomy, surface: Back, contrast: Contrast) -> tuple[ScanGrid, Storage, float]:
    """Where and at which field strength (T) a patient is scanned, and how the series is stored."""
    rng = np.random.default_rng([anatomy.seed, anatomy.patient, STREAM_SCAN])
    top_vertebra = anatomy.vertebrae[anatomy.visible - 1]
    top = top_vertebra.centre[1] + top_vertebra.height * (0.5 - anatomy.cut)
    view = float(np.clip(rng.normal(72, 12) - top, 260, 310))
    slice_spacing = float(rng.choice((3.3, 3.3, 3.6, 4.0, 4.4, 4.4, 4.8)))
    # SPIDER's masks are 56 to 132 mm wide, 86 on average.
    slices = max(round((56 + 76 * rng.uniform() ** 1.6) / slice_spacing), 15)
    rows = int(rng.choice(_MATRIX))
    columns = rows if rng.uniform() < 0.7 else int(rng.choice(_MATRIX))
    field_tesla, storage = float(rng.choice((1.5, 3.0))), "PIR" if rng.uniform() < 0.25 else "LPS"
    skin = skin_behind(surface, np.linspace(top, top + view, 50)).max()
    back = float(skin) + rng.uniform(4, 30)
    # The middle of the canal on average: a lateral curve leaves the middle slice.
    across = np.interp(np.arange(top, 0, 5), anatomy.canal[:, 1], anatomy.canal[:, 0])
    middle = float(across.mean()) + rng.normal(0, 3)
    motion = np.zeros(3)
    if contrast == "t2" and rng.uniform() < 0.2:
        rows, columns = int(rng.choice(_MATRIX)), int(rng.choice(_MATRIX))
        motion = rng.normal(0, 0.6, 3)
    spacing = (slice_spacing, view / rows, view / columns)
    origin = (middle - slice_spacing * (slices - 1) / 2, top + spacing[1] / 2, back - view + spacing[2] / 2)
    grid = ScanGrid(
        origin_mm=(float(origin[0] + motion[0]), float(origin[1] + motion[1]), float(origin[2] + motion[2])),
        spacing_mm=spacing,
        shape=(slices, rows, columns),
    )
    return grid, "PIR" if storage == "PIR" else "LPS", field_tesla


def _signal(
    anatomy: Anatomy, tissues: tuple[Array, ...], grid: ScanGrid, table: Array, deviation: Array
) -> Array:
    """Mean signal over the slice thickness, with texture inside the tissues, ``(Z, H, W)`` float32."""
    rng = np.random.default_rng([anatomy.seed, anatomy.patient, STREAM_SCAN, 0])
    fine = draw_field(rng, LOW_MM, HIGH_MM, (3.5, 2.2, 2.2))
    coarse = draw_field(rng, LOW_MM, HIGH_MM, (9.0, 8.0, 8.0))
    signal = np.zeros(grid.shape, dtype=np.float32)
    fine_plane, coarse_plane = (field.planes(grid.axis(1), grid.axis(2)) for field in (fine, coarse))
    for index, x in enumerate(grid.axis(0)):
        texture = 0.8 * fine_plane(float(x)) + 0.6 * coarse_plane(float(x))
        for tissue in tissues:
            plane = tissue[index]
            signal[index] += table[plane] * np.maximum(1 + deviation[plane] * texture, 0)
    return signal / len(tissues)


def _coil_sensitivity(rng: np.random.Generator, back: Back, grid: ScanGrid) -> Array:
    """Fall-off of a spine coil with the depth under the skin, and towards its ends; ``(1, H, W)``.

    Scanners even it out more or less; what is left is drawn.
    """
    rows, columns = grid.axis(1), grid.axis(2)
    distance = np.maximum(skin_behind(back, rows)[:, None] - columns[None, :], -20)
    left_over = rng.uniform(0.45, 1.6)
    depth = 1 / (1 + (np.maximum(distance + 15, 0) / rng.uniform(60, 95)) ** 2) ** left_over
    along = (rows - rows[0]) / (rows[-1] - rows[0])
    ends = 1 - rng.uniform(0, 0.45) * np.abs(2 * along - 1) ** rng.uniform(3, 6)
    elements = 1 + rng.uniform(0, 0.10) * np.cos(2 * np.pi * (rng.uniform(2, 4) * along + rng.uniform()))
    return np.asarray(depth * (ends * elements)[:, None], dtype=np.float32)[None]


def _acquire(rng: np.random.Generator, signal: Array) -> Array:
    """Limited in-plane resolution and Rician noise, which arises before the reconstruction's filter."""
    noise = rng.uniform(0.010, 0.035) * float(np.percentile(signal[:, ::4, ::4], 90))
    real = rng.standard_normal(signal.shape, dtype=np.float32)
    real *= noise
    real += signal
    imaginary = rng.standard_normal(signal.shape, dtype=np.float32)
    imaginary *= noise
    for axis in (1, 2):
        kernel = _reconstruction_kernel(rng.uniform(0.5, 0.9))
        real, imaginary = _filter(real, kernel, axis), _filter(imaginary, kernel, axis)
    return np.sqrt(real**2 + imaginary**2)


def _reconstruction_kernel(bandwidth: float) -> Array:
    """Hamming-windowed sinc that keeps ``bandwidth`` (0-1) of k-space: zero filling with a little ringing."""
    steps = np.arange(-4, 5)
    kernel = np.sinc(bandwidth * steps) * (0.54 + 0.46 * np.cos(np.pi * steps / 5))
    return np.asarray(kernel / kernel.sum(), dtype=np.float32)


def _filter(volume: Array, kernel: Array, axis: int) -> Array:
    half, size = len(kernel) // 2, volume.shape[axis]
    padded = np.pad(volume, [(half, half) if axis == number else (0, 0) for number in range(3)], mode="edge")
    result = np.zeros_like(volume)
    for start, weight in enumerate(kernel):
        result += weight * padded.take(range(start, start + size), axis)
    return result


def _clip_like_spider(image: Array) -> Array:
    """Map the volume's percentiles 5..95 to [-1000, 3096] and clip there; int16."""
    low, high = np.percentile(image, SPIDER_PERCENTILES)
    share = np.clip((image - low) / max(high - low, 1e-6), 0, 1)
    return np.rint(SPIDER_FLOOR + share * (SPIDER_CEILING - SPIDER_FLOOR)).astype(np.int16)
