"""The spinal canal: epidural fat, yellow ligament, thecal sac, cord, conus and nerve roots."""

import numpy as np

from synthspine.gen.core.anatomy import SPIDER_CANAL
from synthspine.gen.phantom.anatomy import Anatomy
from synthspine.gen.phantom.course import Course
from synthspine.gen.phantom.tissues import code

Array = np.ndarray

ROOTS = 9
_ROOT_RADIUS_MM = 0.95
_DURA_MM = 0.5
_DEEPEST_MM, _LOWEST_MM = 17.0, 95.0


def paint_canal(tissue: Array, label: Array, anatomy: Anatomy, course: Course, x_mm: Array) -> None:
    """Paint the canal into ``tissue`` (uint8) and ``label`` (int16, SPIDER values), both ``(X, H, W)``.

    Arches inside the canal are carved away; bodies and discs are to be painted over it afterwards.
    """
    near = (np.abs(course.behind) < _DEEPEST_MM) & (course.along < _LOWEST_MM)
    if not near.any():
        return
    rows, columns = np.flatnonzero(near.any(axis=1)), np.flatnonzero(near.any(axis=0))
    box = (slice(rows[0], rows[-1] + 1), slice(columns[0], columns[-1] + 1))
    near = near[box]
    course = Course(
        along=course.along[box],
        behind=course.behind[box],
        across=course.across[box],
        half_depth=course.half_depth[box],
        half_width=course.half_width[box],
    )
    reach = float(course.half_width.max()) + 4
    low, high = float(course.across.min()) - reach, float(course.across.max()) + reach
    for index in np.flatnonzero((x_mm > low) & (x_mm < high)):
        _paint_plane(tissue[index][box], label[index][box], anatomy, course, near, float(x_mm[index]))


def _paint_plane(
    tissue: Array, label: Array, anatomy: Anatomy, course: Course, near: Array, x_mm: float
) -> None:
    along, behind = course.along, course.behind
    x = np.float32(x_mm) - course.across
    front = np.clip(course.half_depth + 0.8, 4, None)
    # A pad of fat lies behind the sac at every level between the laminae.
    pad = 0.2 + 3.4 * np.maximum(np.sin(along * np.float32(2 * np.pi / 35)), 0) ** 2
    stretch = np.where(behind > 0, front + pad, front)
    lining = near & ((x / (course.half_width + 2.8)) ** 2 + (behind / (stretch + 1.8)) ** 2 < 1)
    fat = near & ((x / (course.half_width + 1.2)) ** 2 + (behind / stretch) ** 2 < 1)
    tissue[lining & ~fat & (along < 10)] = code("fibrous")
    tissue[fat] = code("fat")
    label[fat] = 0

    fade = np.sqrt(np.clip((np.float32(anatomy.sac_end) - along) / 14, 1e-6, 1))
    half_depth, half_width = course.half_depth * fade, course.half_width * fade
    # The sac leaves the bodies at L5/S1, where fat gathers in front of it.
    rear = behind - np.clip(along + 25, 0, 60) * np.float32(0.05)
    radius = np.sqrt((x / half_width) ** 2 + (rear / half_depth) ** 2)
    sac = near & (radius < 1) & (along < anatomy.sac_end)
    tissue[sac] = code("cerebrospinal fluid")
    tissue[near & (np.abs(radius - 1) * half_depth < _DURA_MM)] = code("fibrous")
    _paint_nerves(tissue, sac, anatomy, x, rear, along, half_depth)
    label[sac & (along < anatomy.label_end)] = SPIDER_CANAL


def _paint_nerves(
    tissue: Array, sac: Array, anatomy: Anatomy, x: Array, rear: Array, along: Array, half_depth: Array
) -> None:
    """The cord down to the conus, and the cauda equina lying towards the back of the sac (supine patient)."""
    below = along - np.float32(anatomy.conus)
    for number in range(ROOTS):
        # Roots of the lower levels lie nearest to the midline and reach furthest.
        spread = np.clip((below + 30) / 45, 0, 1)
        end = 185 - 20 * number
        leave = np.clip((below - (end - 40)) / 40, 0, 1)
        lying = sac & (below > -30) & (below < end)
        for side in (-1, 1):
            phase = 2.1 * number + side + anatomy.patient
            wave = np.sin(along * np.float32(0.06 + 0.011 * number) + np.float32(phase))
            lateral = (0.9 + 0.75 * number) * spread + 3.5 * (1 - spread) + 5 * leave
            root_x = side * lateral + np.float32(0.6) * wave
            root_rear = half_depth * np.float32(0.62 - 0.055 * number) - 2.2 * leave + np.float32(0.5) * wave
            square = (x - root_x) ** 2 + (rear - root_rear) ** 2
            tissue[lying & (square < _ROOT_RADIUS_MM**2)] = code("nerve root")
    size = np.clip(-below / 30, 1e-6, 1) ** np.float32(0.6)
    inside = (x / (4.6 * size)) ** 2 + ((rear - 0.8) / (3.6 * size)) ** 2 < 1
    tissue[sac & inside & (below < 0)] = code("cord")
