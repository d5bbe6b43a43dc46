"""Painting the phantom: tissue codes and SPIDER labels at any grid of points in millimetres."""

from dataclasses import fields

import numpy as np

from synthspine.gen.core.anatomy import SPIDER_CANAL, SPIDER_DISC_OFFSET
from synthspine.gen.phantom.anatomy import Anatomy, Array, Course, Disc, Points, Vertebra, course_of
from synthspine.gen.phantom.flanks import paint_flanks, paint_sacral_wings
from synthspine.gen.phantom.shapes import (
    arch_distance,
    body_distance,
    disc_distances,
    end_plate,
    local_coordinates,
)
from synthspine.gen.phantom.soft import SoftTissue, paint_soft
from synthspine.gen.phantom.tissues import CHANGE, FATTY_LIGAMENT, MARROW, NUCLEUS, code

# Half of the cortical line lies outside of the annotated bone, as measured on SPIDER.
CORTEX_MM = 0.5
SHEATH_MM = 2.1
END_PLATE_MM = 0.8
# Between bone and the annotation of a disc, as in SPIDER; other data sets leave nothing.
UNANNOTATED_MM = 1.4
_REACH_MM = 3.0


def paint(anatomy: Anatomy, soft: SoftTissue | None, points: Points) -> tuple[Array, Array]:
    """Tissue codes (uint8) and SPIDER labels (int16), both ``(X, Y, Z)``, at the points.

    Without soft tissue the spine lies in fat, without nerves: the labels are the same, in a fraction of the
    time. The sacrum and levels above the visible ones are painted but not labelled.
    """
    course = course_of(anatomy, points.y, points.z)
    if soft is None:
        tissue = np.full((len(points.x), len(points.y), len(points.z)), code("fat"), dtype=np.uint8)
    else:
        tissue = paint_soft(anatomy, soft, course, points.x, points.y, points.z)
        paint_flanks(tissue, anatomy, points)
    label = np.zeros(tissue.shape, dtype=np.int16)
    for vertebra in (*anatomy.sacrum[:4], *anatomy.vertebrae):
        _paint_arch(tissue, label, anatomy, vertebra, points)
    if soft is not None:
        for vertebra in anatomy.vertebrae:
            _paint_ganglia(tissue, vertebra, points)
            if vertebra.removed:
                _paint_scar(tissue, vertebra, points)
    paint_canal(tissue, label, anatomy, course, points.x, nerves=soft is not None)
    for vertebra in (*reversed(anatomy.sacrum), *anatomy.vertebrae):
        _paint_body(tissue, label, anatomy, vertebra, points)
    if soft is not None:
        paint_sacral_wings(tissue, anatomy, points)
        _paint_sacral_remnant(tissue, anatomy, points)
    for disc in anatomy.discs:
        _paint_disc(tissue, label, anatomy, disc, points)
    return tissue, label


def _value(anatomy: Anatomy, rank: int, offset: int = 0) -> int:
    return offset + rank if 1 <= rank <= anatomy.visible else 0


def _paint_arch(tissue: Array, label: Array, anatomy: Anatomy, vertebra: Vertebra, points: Points) -> None:
    length, _, slope_deg, _ = vertebra.spinous
    reach = (
        max(vertebra.transverse_reach, vertebra.pedicle_gap / 2 + vertebra.pedicle_width + 6)
        + 2
        + 12 * vertebra.fused
    )
    drop = vertebra.height / 2 + 14 + length * np.sin(np.deg2rad(max(slope_deg, 0.0)))
    low = (-reach, -drop, vertebra.depth / 2 - 8)
    back = vertebra.depth / 2 + vertebra.canal_depth + length + vertebra.left_behind + 8
    high = (reach, vertebra.height / 2 + 10, back)
    window, axes = points.window(vertebra, low, high)
    distance = arch_distance(vertebra, local_coordinates(vertebra, *axes))
    part = tissue[window]
    part[(distance < SHEATH_MM) & (part == code("fat"))] = code("fibrous")
    part[distance < CORTEX_MM] = code("cortical bone")
    part[distance < -CORTEX_MM] = MARROW + vertebra.rank
    label[window][distance < 0] = _value(anatomy, vertebra.rank)


def _paint_ganglia(tissue: Array, vertebra: Vertebra, points: Points) -> None:
    """The nerve roots that leave under both pedicles, dark in the fat of the foramina."""
    lateral, level, back = vertebra.pedicle_gap / 2 + 4, -0.22 * vertebra.height, vertebra.depth / 2 + 5
    low, high = (-lateral - 6, level - 5, back - 5), (lateral + 6, level + 5, back + 5)
    window, axes = points.window(vertebra, low, high)
    u, v, w = local_coordinates(vertebra, *axes)
    # They run outward and down.
    drop = level - 0.5 * (np.abs(u) - lateral)
    inside = ((np.abs(u) - lateral) / 6) ** 2 + ((v - drop) / 3.2) ** 2 + ((w - back) / 2.6) ** 2 < 1
    part = tissue[window]
    part[inside & (part == code("fat"))] = code("nerve root")


def _paint_scar(tissue: Array, vertebra: Vertebra, points: Points) -> None:
    """What fills the place of a removed arch: scar between the muscles, perhaps with fluid in it."""
    back = vertebra.depth / 2 + vertebra.canal_depth
    half = vertebra.height / 2 + 8
    window, axes = points.window(vertebra, (-16, -half - 8, back - 6), (16, half, back + 42))
    u, v, w = local_coordinates(vertebra, *axes)
    part = tissue[window]
    rough = 0.12 * np.sin(w / 3 + v / 5) + 0.1 * np.sin(u / 2 - v / 4)
    inside = (u / 13) ** 2 + ((v + 4) / half) ** 2 + ((w - back - 14) / 26) ** 2 < 1 + rough
    bone = (part >= MARROW - 4) & (part < CHANGE)
    part[inside & ~bone] = code("fibrous")
    part[inside & ~bone & (np.sin(u + w / 2) * np.sin(v / 2 + w / 3) > 0.6)] = FATTY_LIGAMENT
    if vertebra.seroma:
        pocket = (u / 0.9) ** 2 + ((v + 5) / 1.5) ** 2 + (w - back - vertebra.seroma - 2) ** 2
        part[pocket < vertebra.seroma**2] = code("cerebrospinal fluid")


def _paint_body(tissue: Array, label: Array, anatomy: Anatomy, vertebra: Vertebra, points: Points) -> None:
    half = np.array([vertebra.width / 2, vertebra.height / 2, vertebra.depth / 2]) + _REACH_MM + vertebra.lip
    window, axes = points.window(vertebra, tuple(-half), tuple(half))
    local = local_coordinates(vertebra, *axes)
    distance = body_distance(vertebra, local)
    part = tissue[window]
    # Periosteum and longitudinal ligaments.
    part[(distance < SHEATH_MM) & (part == code("fat"))] = code("fibrous")
    # The pedicle's marrow runs on into the body: no cortical line across its root.
    part[(distance < CORTEX_MM) & (part != MARROW + vertebra.rank)] = code("cortical bone")
    marrow = distance < -CORTEX_MM
    part[marrow] = MARROW + vertebra.rank
    u, v, w = local
    changed = np.zeros_like(marrow)
    top, bottom = vertebra.end_plate_change
    if top:
        changed |= v > end_plate(vertebra, local, 1) - top * (1 + 0.3 * np.sin(w / 4 + u / 6))
    if bottom:
        changed |= v < end_plate(vertebra, local, -1) + bottom * (1 + 0.3 * np.sin(w / 5 - u / 7))
    lesion_u, lesion_v, lesion_w, radius = vertebra.lesion
    if radius:
        changed |= (u - lesion_u) ** 2 + (v - lesion_v) ** 2 + (w - lesion_w) ** 2 < radius**2
    part[marrow & changed] = CHANGE + vertebra.rank
    if vertebra.rank > 0:
        vein = (np.abs(v) < 1.3) & (np.abs(u) < 4) & (w > vertebra.depth / 2 - 8) & (distance < 0)
        part[vein] = code("slow blood")
    label[window][distance < 0] = _value(anatomy, vertebra.rank)


def _paint_disc(tissue: Array, label: Array, anatomy: Anatomy, disc: Disc, points: Points) -> None:
    upper = anatomy.vertebrae[disc.rank - 1]
    lower = anatomy.vertebrae[disc.rank - 2] if disc.rank > 1 else anatomy.sacrum[0]
    half = (upper.width / 2 + 4, 0.0, upper.depth / 2 + 9)
    low, high = (-half[0], -upper.height / 2 - 18, -half[2]), (half[0], -upper.height / 2 + 7, half[2])
    window, axes = points.window(upper, low, high)
    above, below = (local_coordinates(vertebra, *axes) for vertebra in (upper, lower))
    distance, outline, plates, height = disc_distances(disc, upper, lower, above, below, END_PLATE_MM)
    part = tissue[window]
    part[(distance < SHEATH_MM) & (part == code("fat"))] = code("fibrous")
    part[distance < 0] = code("ligament")
    part[(distance < -0.3) & (outline < -0.8)] = code("annulus")
    core = (outline < -0.13 * upper.depth) & (distance < -0.7)
    part[core] = NUCLEUS + disc.rank
    if disc.cleft and disc.hydration > 0.35:
        part[core & (np.abs(height) < 0.7)] = code("annulus")
    inside = (distance < 0) & (plates < END_PLATE_MM - UNANNOTATED_MM)
    label[window][inside] = _value(anatomy, disc.rank, SPIDER_DISC_OFFSET)


def _paint_sacral_remnant(tissue: Array, anatomy: Anatomy, points: Points) -> None:
    """The rudimentary disc between the first segments: a short dark line, or a small disc with a nucleus."""
    upper, (radius, half_height) = anatomy.sacrum[0], anatomy.remnant
    low, high = (-18, -upper.height / 2 - 8, -15), (18, -upper.height / 2 + 3, 18)
    window, axes = points.window(upper, low, high)
    u, v, w = local_coordinates(upper, *axes)
    distance = np.maximum(
        np.abs(v + upper.height / 2 + 1.5) - half_height, np.sqrt(u**2 + (w - 2) ** 2) - radius
    )
    part = tissue[window]
    part[distance < 0.6] = code("cortical bone")
    part[distance < -0.6] = code("nucleus dry")
    part[distance < -1.8] = code("nucleus hydrated")


ROOTS = 9
_ROOT_RADIUS_MM = 0.95
_DURA_MM = 0.5
_DEEPEST_MM, _LOWEST_MM = 17.0, 95.0


def paint_canal(
    tissue: Array, label: Array, anatomy: Anatomy, course: Course, x_mm: Array, *, nerves: bool = True
) -> None:
    """Paint the canal into ``tissue`` (uint8) and ``label`` (int16, SPIDER values), both ``(X, H, W)``.

    Arches inside the canal are carved away; bodies and discs are to be painted over it afterwards. The cord
    and its roots are painted with ``nerves``; they change no label.
    """
    near = (np.abs(course.behind) < _DEEPEST_MM) & (course.along < _LOWEST_MM)
    if not near.any():
        return
    rows, columns = np.flatnonzero(near.any(axis=1)), np.flatnonzero(near.any(axis=0))
    box = (slice(rows[0], rows[-1] + 1), slice(columns[0], columns[-1] + 1))
    near = near[box]
    course = Course(**{entry.name: getattr(course, entry.name)[box] for entry in fields(course)})
    reach = float(course.half_width.max()) + 4
    low, high = float(course.across.min()) - reach, float(course.across.max()) + reach
    for index in np.flatnonzero((x_mm > low) & (x_mm < high)):
        _paint_plane(tissue[index][box], label[index][box], anatomy, course, near, float(x_mm[index]), nerves)


def _paint_plane(
    tissue: Array,
    label: Array,
    anatomy: Anatomy,
    course: Course,
    near: Array,
    x_mm: float,
    nerves: bool,
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
    if nerves:
        _paint_nerves(tissue, sac, anatomy, x, rear, along, half_depth)
    tip = np.clip((np.float32(anatomy.label_end) - along) / np.float32(anatomy.label_taper), 0, 1)
    label[sac & (radius < np.sqrt(tip))] = SPIDER_CANAL


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
