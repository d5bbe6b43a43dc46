"""Curved coordinates of the spine: position along the canal, and distance in front of or behind it."""

from dataclasses import dataclass

import numpy as np
from scipy.spatial import cKDTree

SMOOTHING_MM = 20.0
TANGENT_MM = 30.0
EXTENSION_MM = 200.0
STEP_MM = 1.0
MIN_LENGTH_MM = 40.0
"""Least length of a canal: more than a vertebra."""
BRIDGE_WEIGHT = 0.02
BEHIND_DISC_MM = 8.0
"""From the posterior end of a disc to the middle of the canal, about half its depth."""


@dataclass(frozen=True, kw_only=True, slots=True)
class CanalAxis:
    """The centre line of the canal in the sagittal plane, from the bottom upward.

    Attributes:
        points_mm: (row, column) position of points about 1 mm apart, float64 ``(N, 2)``.
        directions: unit tangent at every point, upward, float64 ``(N, 2)``.
        along_mm: length of the line up to every point, float64 ``(N,)``.
    """

    points_mm: np.ndarray
    directions: np.ndarray
    along_mm: np.ndarray

    def coordinates(
        self, shape: tuple[int, int], spacing_mm: tuple[float, float], where: np.ndarray | None = None
    ) -> np.ndarray:
        """Coordinates of pixels with respect to the canal.

        Args:
            shape: rows and columns of the plane.
            spacing_mm: size of a pixel along rows and columns.
            where: the requested pixels, bool ``(H, W)``; all by default.

        Returns:
            float32 ``(2, H, W)``: mm along the canal from its lower end upward, and mm behind (positive,
            posterior) or in front of (negative, anterior) its centre line; nan where it was not requested.
        """
        result = np.full((2, *shape), np.nan, dtype=np.float32)
        places = np.nonzero(np.ones(shape, dtype=bool) if where is None else where)
        result[:, places[0], places[1]] = self.at(np.stack(places, axis=1) * spacing_mm)
        return result

    def at(self, places_mm: np.ndarray) -> np.ndarray:
        """Coordinates, float64 ``(2, N)``, of (row, column) positions ``(N, 2)``; see :meth:`coordinates`."""
        _, nearest = cKDTree(self.points_mm).query(places_mm)
        offset, tangent = places_mm - self.points_mm[nearest], self.directions[nearest]
        along = self.along_mm[nearest] + (offset * tangent).sum(axis=1)
        # The tangent points upward (row < 0), so the posterior normal is (column, -row) of it.
        return np.stack((along, offset[:, 0] * tangent[:, 1] - offset[:, 1] * tangent[:, 0]))


def canal_axis(
    canal: np.ndarray, spacing_mm: tuple[float, float], guides_mm: np.ndarray | None = None
) -> CanalAxis | None:
    """The centre line of a segmented canal, smoothed and continued straight at both ends.

    Args:
        canal: True in the canal, bool ``(Z, H, W)``, rows superior to inferior.
        spacing_mm: size of a pixel along rows and columns.
        guides_mm: (row, column) of the posterior ends of discs, ``(N, 2)``: the line runs behind them where
            there is no canal.

    Returns:
        The line, or None where canal and guides together are shorter than 40 mm.
    """
    mass = canal.sum(axis=(0, 2)).astype(np.float64)
    rows = np.flatnonzero(mass)
    if len(rows) and (rows[-1] - rows[0]) * spacing_mm[0] < MIN_LENGTH_MM:
        rows = rows[:0]
    moment = canal.sum(axis=0) @ np.arange(canal.shape[2])
    known = np.stack((rows * spacing_mm[0], moment[rows] / mass[rows] * spacing_mm[1]), axis=1)
    weights = mass[rows]
    if guides_mm is not None and len(guides_mm):
        more = _behind(guides_mm, known)
        known, weights = np.concatenate((known, more)), np.append(weights, np.ones(len(more)))
    if not len(known) or np.ptp(known[:, 0]) < MIN_LENGTH_MM:
        return None
    order = np.argsort(known[:, 0])
    known, weights = known[order], weights[order]
    samples = np.arange(known[-1, 0], known[0, 0], -STEP_MM)
    # Gaps are bridged by a straight line of little weight.
    positions = np.append(known[:, 0], samples)
    columns = np.append(known[:, 1], np.interp(samples, known[:, 0], known[:, 1]))
    weights = np.append(weights, np.full(len(samples), BRIDGE_WEIGHT * np.median(weights)))
    kernel = np.exp(-0.5 * ((samples[:, None] - positions) / SMOOTHING_MM) ** 2) * weights
    line = np.stack((samples, (kernel @ columns) / kernel.sum(axis=1)), axis=1)
    return _measured(_continued(line))


def _behind(guides_mm: np.ndarray, canal_mm: np.ndarray) -> np.ndarray:
    """Points of the line behind those guides that lie beyond the canal."""
    if not len(canal_mm):
        return guides_mm + np.array((0.0, BEHIND_DISC_MM))
    rows = guides_mm[:, 0]
    nearest = canal_mm[abs(rows[:, None] - canal_mm[:, 0]).argmin(axis=1)]
    distance = abs(rows - nearest[:, 0])
    beside = distance <= SMOOTHING_MM
    offset = np.median((nearest - guides_mm)[beside, 1]) if beside.any() else BEHIND_DISC_MM
    return np.asarray(guides_mm[distance > TANGENT_MM] + np.array((0.0, offset)))


def vertical_axis(column_mm: float, height_mm: float) -> CanalAxis:
    """A vertical line at a column, for a scan without a canal."""
    rows = np.arange(height_mm, -STEP_MM, -STEP_MM)
    return _measured(np.stack((rows, np.full_like(rows, column_mm)), axis=1))


def _continued(line: np.ndarray) -> np.ndarray:
    count = min(len(line) - 1, round(TANGENT_MM / STEP_MM))
    steps = np.arange(1, round(EXTENSION_MM / STEP_MM) + 1)[:, None] * STEP_MM
    down = line[0] - line[count]
    up = line[-1] - line[-1 - count]
    below = line[0] + steps[::-1] * down / np.linalg.norm(down)
    above = line[-1] + steps * up / np.linalg.norm(up)
    return np.concatenate((below, line, above))


def _measured(line: np.ndarray) -> CanalAxis:
    steps = np.linalg.norm(np.diff(line, axis=0), axis=1)
    tangents = np.gradient(line, axis=0)
    return CanalAxis(
        points_mm=line,
        directions=tangents / np.linalg.norm(tangents, axis=1, keepdims=True),
        along_mm=np.concatenate(([0.0], np.cumsum(steps))),
    )
