"""The spinal canal as a ruler: how far along it, and how far before or behind it, a pixel lies.

The spine is curved, so "above" and "below" are told along the canal and not along the rows of the image.
"""

from dataclasses import dataclass

import numpy as np

SMOOTHING_MM = 10.0
TANGENT_MM = 30.0
EXTENSION_MM = 200.0
STEP_MM = 1.0
MIN_LENGTH_MM = 40.0
PIXELS_AT_ONCE = 1024
ROUNDING_MM = 0.001


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
        """Where pixels lie with respect to the canal.

        Args:
            shape: rows and columns of the plane.
            spacing_mm: size of a pixel along rows and columns.
            where: the pixels that are asked for, bool ``(H, W)``; all by default.

        Returns:
            float32 ``(2, H, W)``: mm along the canal from its lower end upward, and mm behind (positive,
            posterior) or before (negative, anterior) its centre line; nan where it was not asked for.
        """
        result = np.full((2, *shape), np.nan, dtype=np.float32)
        rows, columns = np.nonzero(np.ones(shape, dtype=bool) if where is None else where)
        for start in range(0, len(rows), PIXELS_AT_ONCE):
            part = slice(start, start + PIXELS_AT_ONCE)
            pixels = np.stack((rows[part] * spacing_mm[0], columns[part] * spacing_mm[1]), axis=1)
            nearest = self._nearest(pixels)
            tangent = self.directions[nearest]
            offset = pixels - self.points_mm[nearest]
            beyond = (offset * tangent).sum(axis=-1)
            result[0, rows[part], columns[part]] = self.along_mm[nearest] + beyond
            # The tangent points upward (row < 0), so the posterior normal is (column, -row) of it.
            behind = offset[:, 0] * tangent[:, 1] - offset[:, 1] * tangent[:, 0]
            result[1, rows[part], columns[part]] = behind
        return result

    def _nearest(self, pixels: np.ndarray) -> np.ndarray:
        """Index of the point of the line that is nearest to every pixel, in mm, float64 ``(K, 2)``.

        A point that is further from the middle of the pixels than its nearest one by more than twice their
        radius is nearest to none of them; the others are tried one by one.
        """
        middle = (pixels.min(axis=0) + pixels.max(axis=0)) / 2
        radius = np.linalg.norm(pixels - middle, axis=1).max()
        from_middle = np.linalg.norm(self.points_mm - middle, axis=1)
        near = np.flatnonzero(from_middle <= from_middle.min() + 2 * radius + ROUNDING_MM)
        parts = []
        for axis in (0, 1):
            places, back = np.unique(pixels[:, axis], return_inverse=True)
            parts.append(((places[:, None] - self.points_mm[near, axis]) ** 2)[back])
        nearest: np.ndarray = near[(parts[0] + parts[1]).argmin(axis=1)]
        return nearest


def canal_axis(canal: np.ndarray, spacing_mm: tuple[float, float]) -> CanalAxis | None:
    """The centre line of a segmented canal, smoothed and continued straight at both ends.

    Args:
        canal: True in the canal, bool ``(Z, H, W)``, rows superior to inferior.
        spacing_mm: size of a pixel along rows and columns.

    Returns:
        The line, or None where the canal is shorter than 40 mm.
    """
    mass = canal.sum(axis=(0, 2)).astype(np.float64)
    rows = np.flatnonzero(mass)
    if len(rows) == 0 or (rows[-1] - rows[0]) * spacing_mm[0] < MIN_LENGTH_MM:
        return None
    moment = canal.sum(axis=0) @ np.arange(canal.shape[2])
    positions = rows * spacing_mm[0]
    samples = np.arange(positions[-1], positions[0], -STEP_MM)
    kernel = np.exp(-0.5 * ((samples[:, None] - positions) / SMOOTHING_MM) ** 2)
    columns = (kernel @ moment[rows]) / (kernel @ mass[rows]) * spacing_mm[1]
    line = np.stack((samples, columns), axis=1)
    return _measured(_continued(line))


def vertical_axis(column_mm: float, height_mm: float) -> CanalAxis:
    """A straight ruler at a column, for a scan in which no canal was found."""
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
