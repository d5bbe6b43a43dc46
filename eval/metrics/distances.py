"""Distances between the borders of two masks: HD95, ASSD and NSD, in millimetres.

- *Border*: the pixels of a mask that have a pixel outside of it above, below, left or right; the area beyond
  the edge of the slice is outside.
- *Distance* of a border pixel: Euclidean, in mm, from its centre to the nearest centre of a border pixel of
  the other mask in the same slice.
- *Pooling*: the distances of all slices of a patient are pooled per direction (truth to prediction,
  prediction to truth) before a metric is computed, as Dice is computed from the pixels of all slices. A slice
  weighs as much as it has border.
- *HD95*: the larger of the two directed 95th percentiles (linear between ranks), not the percentile of
  both together. *ASSD*: the mean over all distances of both directions. *NSD*: the share of them that is at
  most the tolerance; a distance that equals it counts.
- *Empty masks*: in a slice in which only one of the two masks has pixels, every pixel of its border counts
  with the diagonal of the slice. A structure that is missed everywhere has HD95 = ASSD = diagonal and
  NSD = 0; where both masks are empty in all slices there is no value (nan).

For one slice with two masks the values equal MONAI's; for an empty prediction MONAI gives nan, so that a mean
over patients would improve with every miss. Both masks must be cut to the annotated area before they come
here; the cut counts as border of both.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy.ndimage import binary_erosion, distance_transform_edt

HD_PERCENTILE = 95.0
NSD_TOLERANCES_MM = (1.0, 2.0)
# Rounding in single precision must not push a distance that equals the tolerance over it.
_ROUNDING = 1e-6

Spacing = tuple[float, float]


@dataclass(frozen=True, kw_only=True, slots=True)
class BorderDistances:
    """Distances between the borders of two masks, of one slice or of many, mm, float64 ``(P,)`` and ``(T,)``.

    They run from every border pixel of the prediction to the truth's border, and from the truth to the
    prediction's.
    """

    from_prediction: np.ndarray
    from_truth: np.ndarray

    @property
    def hd95_mm(self) -> float:
        """The larger one of the two directed 95th percentiles; nan where both masks are empty."""
        directed = (part for part in (self.from_prediction, self.from_truth) if part.size)
        return max((float(np.percentile(part, HD_PERCENTILE)) for part in directed), default=math.nan)

    @property
    def assd_mm(self) -> float:
        """Mean over the distances of both directions; nan where both masks are empty."""
        count = self.from_prediction.size + self.from_truth.size
        return float((self.from_prediction.sum() + self.from_truth.sum()) / count) if count else math.nan

    def nsd(self, tolerance_mm: float) -> float:
        """Share of both borders within a tolerance of the other one; nan where both masks are empty."""
        limit = tolerance_mm * (1 + _ROUNDING)
        count = self.from_prediction.size + self.from_truth.size
        within = int((self.from_prediction <= limit).sum() + (self.from_truth <= limit).sum())
        return within / count if count else math.nan


def border_distances(prediction: np.ndarray, truth: np.ndarray, spacing_mm: Spacing) -> BorderDistances:
    """Distances between the borders of two masks of a slice, bool ``(H, W)``, False without annotation.

    Where only one mask has pixels, its border has the distance of the slice's diagonal. Raises ValueError if
    the masks are not two bool slices of one shape.
    """
    if prediction.shape != truth.shape or prediction.ndim != 2:
        raise ValueError(f"prediction {prediction.shape} and truth {truth.shape} must be slices of one shape")
    if prediction.dtype != np.bool_ or truth.dtype != np.bool_:
        raise ValueError(f"masks must be bool, not {prediction.dtype} and {truth.dtype}")
    either = prediction | truth
    rows, columns = np.flatnonzero(either.any(axis=1)), np.flatnonzero(either.any(axis=0))
    if not len(rows):
        return BorderDistances(from_prediction=np.empty(0), from_truth=np.empty(0))
    box = (slice(rows[0], rows[-1] + 1), slice(columns[0], columns[-1] + 1))
    predicted, actual = (mask[box] & ~binary_erosion(mask[box]) for mask in (prediction, truth))
    if not (predicted.any() and actual.any()):
        diagonal = math.hypot(prediction.shape[0] * spacing_mm[0], prediction.shape[1] * spacing_mm[1])
        return BorderDistances(
            from_prediction=np.full(np.count_nonzero(predicted), diagonal),
            from_truth=np.full(np.count_nonzero(actual), diagonal),
        )
    return BorderDistances(
        from_prediction=_nearest_mm(predicted, actual, spacing_mm),
        from_truth=_nearest_mm(actual, predicted, spacing_mm),
    )


def _nearest_mm(border: np.ndarray, other: np.ndarray, spacing_mm: Spacing) -> np.ndarray:
    """Distance of every pixel of a border to the nearest one of another border, float64 ``(P,)``."""
    distances = distance_transform_edt(~other, sampling=spacing_mm)[border]
    # Single precision makes distances equal that differ by rounding alone.
    return np.asarray(distances.astype(np.float32), np.float64)


def pooled(parts: Sequence[BorderDistances]) -> BorderDistances:
    """The distances of several slices together; empty where there is none."""
    return BorderDistances(
        from_prediction=np.concatenate([np.empty(0), *(part.from_prediction for part in parts)]),
        from_truth=np.concatenate([np.empty(0), *(part.from_truth for part in parts)]),
    )
