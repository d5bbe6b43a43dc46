"""Where grids lie in the patient, and whether two may be those of one scan."""

from dataclasses import dataclass

import numpy as np
import SimpleITK as sitk

MOST_TURN_DEGREES = 20.0
LEAST_OVERLAP = 0.5
"""Least part of a scan that its mask has to cover."""
REMARKED_MM = 5.0
_MOST_OTHERWISE_STORED_MM = 10.0


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Placement:
    """A box in the patient, in the coordinates of DICOM: unit vectors along the axes of the file, as columns.

    The lengths of the sides are those along these axes.
    """

    direction: np.ndarray
    sides_mm: np.ndarray
    centre_mm: np.ndarray

    def remark_on(self, image: "Placement") -> str | None:
        """Check that this, the box of a mask, lies on that of its image.

        Returns:
            How far it is away, one line; None for less than ``REMARKED_MM``.

        Raises:
            ValueError: turned, turned over, or not overlapping; one line.
        """
        cosines = image.direction.T @ self.direction
        turn = float(np.degrees(np.arccos(min(1.0, np.abs(cosines).max(axis=1).min()))))
        if turn > MOST_TURN_DEGREES:
            raise ValueError(
                f"is turned against its image by {turn:.0f} degrees; is it the mask of another scan?"
            )
        shift = image.direction.T @ (self.centre_mm - image.centre_mm)
        distance = float(np.linalg.norm(shift))
        covered = float(np.prod(np.maximum(0.0, 1.0 - np.abs(shift) / image.sides_mm)))
        if covered < LEAST_OVERLAP:
            found = f"it covers {covered:.0%} of it" if covered else "it does not overlap it"
            place = f"{found}, {distance:.0f} mm away"
            raise ValueError(f"does not lie on its image: {place}; was its position lost?")
        stored_alike = (cosines.diagonal() > 0.5).all()
        if distance > _MOST_OTHERWISE_STORED_MM and not stored_alike:
            raise ValueError(
                f"is turned over against its image: its axes run otherwise and it lies {distance:.0f} mm away"
            )
        return f"lies {distance:.0f} mm away from its image" if distance >= REMARKED_MM else None


def placement_of(image: sitk.Image) -> Placement:
    """The box of a three-dimensional image."""
    direction = np.array(image.GetDirection()).reshape(3, 3)
    spacing, size = np.array(image.GetSpacing()), np.array(image.GetSize())
    centre = np.array(image.GetOrigin()) + direction @ (spacing * (size - 1) / 2)
    return Placement(direction=direction, sides_mm=spacing * size, centre_mm=centre)
