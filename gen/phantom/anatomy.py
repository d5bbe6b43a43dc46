"""The phantom's anatomy, every random decision about one patient's lumbar spine, and the canal's course.

Coordinates in mm: x left to right, y superior to inferior, z anterior to posterior; the origin is the middle
of the sacral end plate. A vertebra has its own axes: u to the right, v up along the spine, w to the back.
"""

from dataclasses import dataclass
from itertools import product

import numpy as np

Array = np.ndarray
Four = tuple[float, float, float, float]


@dataclass(frozen=True, kw_only=True, slots=True)
class Vertebra:
    """One vertebra (or sacral segment, ``rank`` 0 and below), lengths in mm, angles in degrees."""

    rank: int  # 1 = L5, counted upward; 0, -1, ... = S1, S2, ...
    centre: Array  # of the body, ``(3,)`` in x, y, z
    axes: Array  # rows u, v, w, ``(3, 3)``
    width: float  # of the body, as the next two
    depth: float
    height: float
    wedge_deg: float  # angle between the end plates, positive = higher in front
    taper: float  # relative growth of the depth from the middle to the top (negative: wider at the bottom)
    concavity_top: float  # depth of the end plate's hollow
    concavity_bottom: float
    waist: float  # relative narrowing at mid-height
    lip: float = 0.0  # length of the marginal osteophytes
    wing: float = 0.0  # slope of the sacral ala, S1 only
    sacral: bool = False  # a segment of the sacrum, fused with its neighbours at the sides
    nodes: tuple[Four, ...] = ()  # Schmorl's: ``(side, u, w, depth)``, side +1 top, -1 bottom
    marrow_fat: float  # share of fat beyond the ordinary in the marrow, 0-1
    end_plate_change: tuple[float, float] = (0.0, 0.0)  # ``(top, bottom)`` depth of a Modic change, 0 = none
    change_is_fat: bool = True  # Modic type 2 (fat) rather than 1 (oedema)
    lesion: Four = (0.0, 0.0, 0.0, 0.0)  # ``(u, v, w, radius)`` of a haemangioma; radius 0 = none
    pedicle_gap: float  # interpedicular distance
    pedicle_width: float  # of one pedicle
    canal_depth: float  # bony canal, body to lamina
    transverse_reach: float = 0.0  # half width over the transverse processes; 0 = none
    fused: bool = False  # broad transverse processes join the sacrum
    left_behind: float = (
        0.0  # way that the body slipped from its laminae, through a gap in the arch; 0 = none
    )
    removed: bool = False  # laminae and spinous process are removed
    seroma: float = 0.0  # radius of a pocket of fluid in their place; 0 = none
    roughness: tuple[float, float, float]  # ``(amplitude, phase, phase)`` of the surface, mm and radians
    spinous: Four  # ``(length, half height, slope_deg, half thickness)``


@dataclass(frozen=True, kw_only=True, slots=True)
class Disc:
    """The disc below the vertebra of ``rank``: hydration 0 (dry) to 1, bulge and focal protrusion in mm."""

    rank: int
    hydration: float
    bulge: float
    protrusion: float
    protrusion_u: float
    cleft: bool
    extent: float = 1.0  # relative width and depth


@dataclass(frozen=True, kw_only=True, slots=True)
class Surroundings:
    """Tissues around the spine; lengths in mm."""

    muscle_depth: float  # canal centre to the lumbar fascia
    fat_thickness: float  # subcutaneous fat on the back at the lumbar hollow
    fat_gain: float  # extra fat over the sacrum
    muscle_fat: float  # fatty infiltration of the muscles, 0-1
    belly_depth: float  # front of the bodies to the abdominal wall
    belly_fat: float  # subcutaneous fat of the belly
    vessel_radius: float  # of the aorta; the vena cava is a little wider
    bifurcation: float  # arc length at which the aorta divides (y-like, negative = above the sacrum)
    liver_edge: float  # y below which there is no liver
    bladder: tuple[float, float, float]  # ``(y, z, radius)``; radius 0 = empty
    visceral_fat: float  # 0 (lean, bowel everywhere) to 1
    kidneys: tuple[float, float, float]  # height of left and right over the middle of L2, half length


@dataclass(frozen=True, kw_only=True, slots=True)
class Anatomy:
    """One patient."""

    seed: int  # what it was drawn from, with the number of the patient
    patient: int
    age: float  # years; drives degeneration
    visible: int  # vertebrae that a scan shows (the top one cut), 6-9
    cut: float  # share of the top vertebra's body that is inside the field of view
    vertebrae: tuple[Vertebra, ...]  # rank 1 upward, more of them than are visible
    discs: tuple[Disc, ...]  # rank 1 upward
    sacrum: tuple[Vertebra, ...]  # S1 to S5
    canal: Array  # centre line, ``(P, 3)`` in x, y, z, from the top downward
    canal_arc: Array  # arc length of each point, ``(P,)``, 0 at the sacral end plate, growing downward
    canal_half_depth: Array  # of the thecal sac at each point, ``(P,)``; so is the next
    canal_half_width: Array
    conus: float  # arc length at which the cord ends
    sac_end: float  # arc length at which the sac ends
    label_end: float  # arc length at which its annotation ends
    label_taper: float  # length over which the annotation narrows to its end
    lumbar: int  # free lumbar vertebrae: 5, or 6 where S1 is free
    remnant: tuple[float, float]  # radius and half height of the disc within the sacrum
    surroundings: Surroundings  # everything else


@dataclass(frozen=True, kw_only=True, slots=True)
class Points:
    """The axes of a grid of points in mm: x ``(X,)``, y ``(Y,)``, z ``(Z,)``, each ascending."""

    x: Array
    y: Array
    z: Array

    def window(
        self, vertebra: Vertebra, low: tuple[float, ...], high: tuple[float, ...]
    ) -> tuple[tuple[slice, slice, slice], tuple[Array, Array, Array]]:
        """Points around the box ``low`` .. ``high`` in a vertebra's coordinates: index ranges and axes."""
        corners = np.array(list(product(*zip(low, high, strict=True)))) @ vertebra.axes + vertebra.centre
        least, most = corners.min(axis=0), corners.max(axis=0)
        x, y, z = (
            slice(*np.searchsorted(axis, (least[i], most[i])))
            for i, axis in enumerate((self.x, self.y, self.z))
        )
        return (x, y, z), (self.x[x], self.y[y], self.z[z])


COARSE_MM = 4.0


@dataclass(frozen=True, kw_only=True, slots=True)
class Course:
    """Maps over a sagittal plane, each ``(H, W)`` float32 in mm, the same for every x."""

    along: Array  # arc length, 0 at the sacral end plate, growing downward
    behind: Array  # distance from the canal's centre line, positive to the back
    across: Array  # x of the centre line
    half_depth: Array  # of the thecal sac
    half_width: Array  # of the thecal sac


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
