"""What stands beside the spine and is not labelled: kidneys, ribs, iliac bones, the sides of the sacrum."""

from itertools import pairwise

import numpy as np

from synthspine.gen.phantom.anatomy import Anatomy, Array, Points, Vertebra
from synthspine.gen.phantom.shapes import capsule, local_coordinates, smooth_max
from synthspine.gen.phantom.tissues import KIDNEY_CORTEX, KIDNEY_MEDULLA, MARROW, code

_CORTEX_MM = 0.8


def paint_flanks(tissue: Array, anatomy: Anatomy, points: Points) -> None:
    """Paint all but the sacrum into ``tissue`` ``(X, Y, Z)`` uint8, before the spine."""
    _paint_kidneys(tissue, anatomy, points)
    for vertebra in anatomy.vertebrae[anatomy.lumbar :]:
        _paint_ribs(tissue, vertebra, points, last=vertebra.rank == anatomy.lumbar + 1)
    _paint_iliac_bones(tissue, anatomy, points)


def _paint_kidneys(tissue: Array, anatomy: Anatomy, points: Points) -> None:
    """Cortex around pyramids of medulla and a sinus of fat; the upper pole lies further in and back."""
    *levels, length = anatomy.surroundings.kidneys
    lumbar_2 = anatomy.vertebrae[anatomy.lumbar - 2]
    for sign, level in zip((-1, 1), levels, strict=True):
        near, far = sorted((sign * 18.0, sign * 102.0))
        low, high = (near, level - length - 1, -36), (far, level + length + 1, 36)
        window, axes = points.window(lumbar_2, low, high)
        u, v, w = local_coordinates(lumbar_2, *axes)
        v = (v - np.float32(level)) / np.float32(length)
        u = (sign * u - 58 + 9 * v) / 27
        w = (w + 4 - 6 * v) / 23
        radius = np.sqrt(u**2 + v**2 + w**2)
        pyramids = (radius < 0.84) & (np.cos(7 * np.arctan2(w, v)) > -0.45)
        sinus = ((u + 0.4) / 0.6) ** 2 + (v / 0.45) ** 2 + (w / 0.36) ** 2 < 1
        part = tissue[window]
        part[radius < 1.15] = code("fat")
        part[radius < 1] = KIDNEY_CORTEX
        part[pyramids] = KIDNEY_MEDULLA
        part[sinus & (radius < 1)] = code("fat")


def _paint_ribs(tissue: Array, vertebra: Vertebra, points: Points, *, last: bool) -> None:
    """The pair of ribs of a thoracic vertebra: beside body and transverse process, then out and down."""
    wall = vertebra.depth / 2
    bend = (
        (vertebra.width / 2 + 3, vertebra.height / 2 - 2, wall - 3),
        (34.0, -2.0, wall + 8),
        (62.0, -16.0, wall + 15),
        # The last rib is short.
        (74.0, -27.0, wall + 12) if last else (105.0, -50.0, wall - 10),
    )
    window, axes = points.window(vertebra, (-112, -58, wall - 18), (112, vertebra.height / 2 + 8, wall + 24))
    u, v, w = local_coordinates(vertebra, *axes)
    place = (np.abs(u), v, w)
    _paint_bone(tissue[window], np.minimum.reduce([capsule(place, *ends, 4.6) for ends in pairwise(bend)]))


def _paint_iliac_bones(tissue: Array, anatomy: Anatomy, points: Points) -> None:
    """Iliac bones between iliacus and gluteal muscles."""
    window, axes = points.window(anatomy.sacrum[0], (-112, -85, -70), (112, 60, 75))
    u, v, w = local_coordinates(anatomy.sacrum[0], *axes)
    side, part = np.abs(u), tissue[window]
    wing = _wing_distance(side, v, w)
    part[(np.abs(wing + 6) < 18) & (side > 40)] = code("muscle")
    _paint_bone(part, wing)


def _wing_distance(side: Array, v: Array, w: Array) -> Array:
    """Distance to the iliac bone: a plate from the joint with the sacrum outward, forward and up."""
    out = side - np.float32(48)
    thickness = np.interp(out, (-10, 12, 45), (9, 8, 5)).astype(np.float32)
    plate = np.abs(w - 14 + out - np.float32(0.22) * v) * np.float32(0.69) - thickness
    crest = np.float32(0.85) * (v - np.minimum(16 + np.float32(0.75) * out, 48))
    notch = -52 - v
    return smooth_max(smooth_max(plate, smooth_max(crest, notch, 8.0), 10.0), -8 - out, 6.0)


def paint_sacral_wings(tissue: Array, anatomy: Anatomy, points: Points) -> None:
    """Paint the lateral masses, in which the sides of the sacral segments are fused, over the sacrum."""
    first = anatomy.sacrum[0]
    chain = []
    for segment, (reach, rise, back) in zip(
        anatomy.sacrum, ((36, 4, 6), (32, 0, 7), (24, 0, 6)), strict=False
    ):
        _, v_mm, w_mm = map(float, first.axes @ (segment.centre - first.centre))
        chain.append((float(reach), v_mm + rise, w_mm + back))
    window, axes = points.window(first, (-55, -85, -40), (55, 30, 60))
    u, v, w = local_coordinates(first, *axes)
    side, part = np.abs(u), tissue[window]
    distances = [
        capsule((side, v, w), *ends, radius)
        for ends, radius in zip(pairwise(chain), (14.5, 10.5), strict=True)
    ]
    mass = np.where(side > 27, np.minimum(*distances), np.inf)
    segments = np.isin(part, [MARROW + segment.rank for segment in anatomy.sacrum])
    part[(mass < 2.2) & (mass > _CORTEX_MM) & ~segments] = code("fibrous")
    part[(mass < _CORTEX_MM) & ~segments] = code("cortical bone")
    part[mass < -_CORTEX_MM] = MARROW


def _paint_bone(part: Array, distance: Array) -> None:
    part[distance < _CORTEX_MM] = code("cortical bone")
    part[distance < -_CORTEX_MM] = MARROW
