"""The course of the canal as coordinates: how far along it, how far behind it, how wide it is there."""

from dataclasses import dataclass

import numpy as np

from synthspine.gen.phantom.anatomy import Anatomy

Array = np.ndarray

COARSE_MM = 4.0


@dataclass(frozen=True, kw_only=True, slots=True)
class Course:
    """Maps over a sagittal plane, each ``(H, W)`` float32 in mm, the same for every x.

    Attributes:
        along: arc length, 0 at the sacral end plate, growing downward.
        behind: distance from the canal's centre line, positive to the back.
        across: x of the centre line.
        half_depth, half_width: of the thecal sac.
    """

    along: Array
    behind: Array
    across: Array
    half_depth: Array
    half_width: Array


def course_of(anatomy: Anatomy, y_mm: Array, z_mm: Array) -> Course:
    """Course of the canal at rows ``y_mm`` ``(H,)`` and columns ``z_mm`` ``(W,)``.

    Evaluated on a coarse grid and interpolated: the maps bend slowly, away from the line's focal points.
    """
    rows, columns = _coarse_axis(y_mm), _coarse_axis(z_mm)
    line = anatomy.canal[:, 1:]
    tangent = np.gradient(line, axis=0)
    tangent /= np.linalg.norm(tangent, axis=1, keepdims=True)
    points = np.stack(np.meshgrid(rows, columns, indexing="ij"), axis=-1).reshape(-1, 2)
    # |p - l|^2 without its constant |p|^2.
    nearest = np.argmin((line**2).sum(axis=1) - 2 * points @ line.T, axis=1)
    offset, direction = points - line[nearest], tangent[nearest]
    along = anatomy.canal_arc[nearest] + (offset * direction).sum(axis=1)
    behind = offset[:, 1] * direction[:, 0] - offset[:, 0] * direction[:, 1]
    coarse = (
        along,
        behind,
        np.interp(along, anatomy.canal_arc, anatomy.canal[:, 0]),
        np.interp(along, anatomy.canal_arc, anatomy.canal_half_depth),
        np.interp(along, anatomy.canal_arc, anatomy.canal_half_width),
    )
    down, back = _linear(rows, y_mm), _linear(columns, z_mm)
    shape = (len(rows), len(columns))
    maps = [down @ values.reshape(shape).astype(np.float32) @ back.T for values in coarse]
    return Course(along=maps[0], behind=maps[1], across=maps[2], half_depth=maps[3], half_width=maps[4])


def _coarse_axis(points: Array) -> Array:
    """Multiples of ``COARSE_MM`` around the points: the same knots for every grid."""
    first, last = np.floor(points.min() / COARSE_MM), np.ceil(points.max() / COARSE_MM)
    return np.arange(first, last + 2) * COARSE_MM


def _linear(knots: Array, points: Array) -> Array:
    """Linear interpolation from ``knots`` to ``points`` as a matrix ``(points, knots)``."""
    place = (points - knots[0]) / (knots[1] - knots[0])
    return np.maximum(1 - np.abs(place[:, None] - np.arange(len(knots))), 0).astype(np.float32)
