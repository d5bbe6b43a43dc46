"""Smooth random fields in space: the same value at the same millimetre, whatever the sampling grid."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

Array = np.ndarray


@dataclass(frozen=True, kw_only=True, slots=True)
class SmoothField:
    """A Gaussian random field, mean 0 and deviation 1, as cubic B-splines over a box.

    Attributes:
        origin_mm: of the first coefficient, ``(3,)`` in x, y, z.
        spacing_mm: of the coefficients = the field's correlation length, ``(3,)``.
        coefficients: ``(X, Y, Z)`` float32.
    """

    origin_mm: Array
    spacing_mm: Array
    coefficients: Array

    def planes(self, y_mm: Array, z_mm: Array) -> Callable[[float], Array]:
        """The field on sagittal planes with rows at ``y_mm`` ``(H,)`` and columns at ``z_mm`` ``(W,)``.

        Returns:
            A function from the plane's x in mm to the values there, ``(H, W)`` float32.
        """
        down, back = self._weights(1, y_mm), self._weights(2, z_mm).T

        def plane(x_mm: float) -> Array:
            across = self._weights(0, np.array([x_mm]))[0]
            layers = np.flatnonzero(across)
            return np.asarray(down @ np.tensordot(across[layers], self.coefficients[layers], axes=1) @ back)

        return plane

    def _weights(self, axis: int, points_mm: Array) -> Array:
        """Spline weights ``(points, coefficients)`` of one axis; points outside of the box see its border."""
        count = self.coefficients.shape[axis]
        place = np.clip((points_mm - self.origin_mm[axis]) / self.spacing_mm[axis], 1, count - 2)
        distance = np.abs(place[:, None] - np.arange(count))
        near, far = 2 / 3 - distance**2 * (1 - distance / 2), np.maximum(2 - distance, 0) ** 3 / 6
        weights = np.where(distance < 1, near, far)
        return (weights / np.sqrt((weights**2).sum(axis=1, keepdims=True))).astype(np.float32)


def draw_field(
    rng: np.random.Generator, low_mm: Array, high_mm: Array, spacing_mm: tuple[float, ...]
) -> SmoothField:
    """A random field over the box ``low_mm`` .. ``high_mm`` (``(3,)`` each) with that correlation length."""
    spacing = np.asarray(spacing_mm, dtype=np.float64)
    shape = np.ceil((high_mm - low_mm) / spacing).astype(int) + 5
    coefficients = rng.standard_normal(tuple(shape), dtype=np.float32)
    return SmoothField(origin_mm=low_mm - 2 * spacing, spacing_mm=spacing, coefficients=coefficients)
