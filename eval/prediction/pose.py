"""How a spine lies in its scan, judged by its mask: front and back, up and down, size."""

from dataclasses import dataclass

import numpy as np

from synthspine.eval.labelling.roles import CANAL_ROLE, DISC, VERTEBRA, roles_of

MIDDLE_MM = 10.0
"""Slices on either side of the middle of the canal that are judged."""
FEWEST_DISCS = 3
"""Discs from which on up and down are told."""
END_MM = 30.0
"""Length of the ends of the canal whose direction is compared."""
FULL = 0.5
"""Share of the largest area of the bodies in a slice from which on it counts for their width."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Pose:
    """How a spine lies; None where it cannot be told.

    Attributes:
        canal_in_front: whether the canal lies in front of the discs.
        slopes: how far the canal runs backward on its way down, at its upper and its lower end; mm per mm.
        distance_mm: median distance of neighbouring discs.
        depth_mm: median depth of the discs from front to back.
        width_mm: width of the slices that show the bodies in full.
    """

    canal_in_front: bool
    slopes: tuple[float, float] | None
    distance_mm: float | None
    depth_mm: float | None
    width_mm: float


def spine_pose(codes: np.ndarray, spacing_mm: tuple[float, float, float]) -> Pose:
    """The pose of a spine in dense codes, uint8 ``(Z, H, W)``, with the spacing along the axes."""
    roles, in_plane = roles_of(codes), (spacing_mm[1], spacing_mm[2])
    areas = (roles == VERTEBRA).sum(axis=(1, 2))
    width_mm = float(np.count_nonzero(areas > FULL * areas.max(initial=0)) * spacing_mm[0])
    weights = (roles == (CANAL_ROLE if (roles == CANAL_ROLE).any() else DISC)).sum(axis=(1, 2))
    middle = weights @ np.arange(len(codes)) / max(1, weights.sum())
    near = abs(np.arange(len(codes)) - middle) * spacing_mm[0] <= max(MIDDLE_MM, spacing_mm[0] / 2)
    codes, roles = codes[near], roles[near]
    discs = [codes == code for code in np.unique(codes[roles == DISC]).tolist()]
    centres = np.array([centre_mm(disc, in_plane) for disc in discs]).reshape(-1, 2)
    depths = [_depth_mm(disc.any(axis=0), in_plane) for disc in discs]
    steps = np.hypot(*np.diff(centres, axis=0).T)
    canal = (roles == CANAL_ROLE).any(axis=0)
    rows = np.flatnonzero(canal.any(axis=1))
    line = np.array([np.flatnonzero(canal[row]).mean() for row in rows]) * in_plane[1]
    rows_mm = rows * in_plane[0]
    in_front = False
    if len(rows) and len(discs):
        in_front = bool(np.mean(np.interp(centres[:, 0], rows_mm, line) < centres[:, 1]) > 0.5)
    return Pose(
        canal_in_front=in_front,
        slopes=_slopes(rows_mm, line) if len(discs) >= FEWEST_DISCS else None,
        distance_mm=float(np.median(steps)) if len(steps) else None,
        depth_mm=float(np.median(depths)) if discs else None,
        width_mm=width_mm,
    )


def centre_mm(mask: np.ndarray, in_plane_mm: tuple[float, float]) -> np.ndarray:
    """Mean (row, column) of a mask ``(Z, H, W)``."""
    plane = mask.sum(axis=0)
    rows, columns = plane.sum(axis=1), plane.sum(axis=0)
    total = max(1, plane.sum())
    return np.array(
        (
            rows @ np.arange(len(rows)) / total * in_plane_mm[0],
            columns @ np.arange(len(columns)) / total * in_plane_mm[1],
        )
    )


def _depth_mm(mask: np.ndarray, in_plane_mm: tuple[float, float]) -> float:
    """Length of a disc ``(H, W)``: the extent along its main direction."""
    places = np.argwhere(mask) * in_plane_mm
    if len(places) < 3:
        return 0.0
    along = (places - places.mean(axis=0)) @ np.linalg.svd(places - places.mean(axis=0), full_matrices=False)[
        2
    ][0]
    low, high = np.percentile(along, (2, 98))
    return float(high - low)


def _slopes(rows_mm: np.ndarray, columns_mm: np.ndarray) -> tuple[float, float] | None:
    """Backward slopes of a line, downward, at its upper and its lower end."""
    if len(rows_mm) < 2 or rows_mm[-1] - rows_mm[0] < 2 * END_MM:
        return None
    ends = rows_mm <= rows_mm[0] + END_MM, rows_mm >= rows_mm[-1] - END_MM
    upper, lower = (float(np.polyfit(rows_mm[end], columns_mm[end], 1)[0]) for end in ends)
    return upper, lower
