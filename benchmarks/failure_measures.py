"""Errors of a prediction on one slice: vertebrae, discs, sacrum, canal, islands.

Rows run from superior to inferior, columns from anterior to posterior. *Below* is measured along the true
canal (``eval.labelling.canal_axis``), which must be 40 mm long for it. Every measure is a share,
``part / whole``; parts and wholes are added over the slices of a patient. Pixels
without annotation (255) are left out.
"""

import math
from typing import NamedTuple

import numpy as np
import torch
from scipy.ndimage import distance_transform_edt

from synthspine.eval.labelling.canal_axis import canal_axis
from synthspine.eval.labelling.roles import CANAL_ROLE, DISC, VERTEBRA, roles_of
from synthspine.eval.metrics.distances import Spacing
from synthspine.gen.core.anatomy import BACKGROUND, IGNORE, disc_code
from synthspine.train.decoding import overlap_counts

NEAR_MM, ISLAND_MM, CUT_MM = 8.0, 15.0, 2.0
LOW_SHARE = 1 / 3
"""Share of the canal's rows that are its lower end."""
AREAS = ("sacrum", "low discs", "islands")
"""Measures that are areas of errors in cm2 per slice; the others are shares."""
_NEAR = f"with predictions within {NEAR_MM:g} mm of it and nearer to no other"
MEASURES = {
    "bodies": "Dice of vertebrae anterior to the middle line of the true canal",
    "arches": "Dice of vertebrae posterior to that line: arches and spinous processes",
    "disc size": "predicted disc pixels / true ones",
    "L5/S1": f"Dice of the disc L5/S1 {_NEAR}",
    "L5/S1 size": "predicted pixels / true ones, counted as for that Dice",
    "sacrum": "cm2 per slice predicted as vertebra, annotated as background, and along the canal below the "
    "lowest true vertebra (anterior to the middle line: below its body)",
    "low discs": "cm2 per slice predicted as disc, annotated as background, and along the canal below the "
    "lowest true disc",
    "top, cut": f"Dice of the highest true vertebra {_NEAR}, where the image or its annotation ends less "
    f"than {CUT_MM:g} mm above it",
    "top, whole": "the same for all other highest vertebrae",
    "canal": "Dice of the canal in the upper two thirds of its true rows, and above them",
    "canal end": "Dice of the canal in the lowest third of its true rows, and below them",
    "canal behind": "share of the predicted canal posterior to the last true canal pixel of its row",
    "canal missed": "share of the true canal that is not predicted as canal",
    "islands": f"cm2 per slice predicted more than {ISLAND_MM:g} mm from any true structure",
    "thin discs": "Dice of the true discs whose height (area / length) is in the lowest quarter of the set, "
    f"each {_NEAR}",
    "other discs": "Dice of the other true discs, in the same way",
}


class Share(NamedTuple):
    """A part of a whole, such as twice an intersection of the sum of two sizes."""

    part: float = 0.0
    whole: float = 0.0

    def plus(self, other: "Share") -> "Share":
        """Parts and wholes added."""
        return Share(self.part + other.part, self.whole + other.whole)

    @property
    def value(self) -> float:
        """``part / whole``; nan for an empty whole."""
        return self.part / self.whole if self.whole else math.nan


def slice_measures(
    roles: np.ndarray, codes: np.ndarray, spacing_mm: Spacing, thin_mm: float
) -> dict[str, Share]:
    """The shares of a prediction on one slice by name in ``MEASURES``, without those that it does not define.

    Args:
        roles: prediction: background 0, vertebra 1, disc 2, canal 3; uint8 ``(H, W)``.
        codes: dense codes of the truth, uint8, the same shape.
        spacing_mm: size of a pixel along rows and columns.
        thin_mm: largest height of a thin disc.
    """
    predicted = np.where(codes == IGNORE, np.uint8(BACKGROUND), roles)
    truth = roles_of(codes)
    axis = canal_axis((truth == CANAL_ROLE)[None], spacing_mm)
    # mm along the canal, upward; nothing is below where the canal is too short.
    along = np.full(codes.shape, np.nan) if axis is None else axis.coordinates(codes.shape, spacing_mm)[0]
    return {
        **_vertebrae(predicted, truth, codes, along, spacing_mm),
        **_discs(predicted, truth, codes, along, spacing_mm, thin_mm),
        **_canal(predicted == CANAL_ROLE, truth),
        "islands": _area((predicted != BACKGROUND) & _far(truth, spacing_mm), spacing_mm),
    }


def anterior(canal: np.ndarray) -> np.ndarray | None:
    """Pixels anterior to the canal's middle line, bool ``(H, W)``; None without a canal.

    The line is the mean column of the canal in every row, interpolated between rows with canal and constant
    beyond its ends. Pixels on the line are posterior.
    """
    rows = np.flatnonzero(canal.any(axis=1))
    if not len(rows):
        return None
    columns = np.arange(canal.shape[1])
    line = np.interp(np.arange(len(canal)), rows, canal[rows] @ columns / canal[rows].sum(axis=1))
    front: np.ndarray = columns < line[:, None]
    return front


def disc_heights(codes: np.ndarray, spacing_mm: Spacing) -> dict[int, float]:
    """Mean height in mm of every true disc, its area by its length along its main axis, by code."""
    heights = {}
    for code in _codes_of(codes, DISC):
        places = np.argwhere(codes == code) * spacing_mm
        centred = places - places.mean(axis=0)
        main = np.linalg.svd(centred, full_matrices=True)[2][0]
        length = np.ptp(centred @ main) + np.abs(main) @ spacing_mm
        heights[code] = float(len(places) * np.prod(spacing_mm) / length)
    return heights


def rows_by_brightness(image: np.ndarray, codes: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The darker and the brighter half of the rows with a true structure, bool ``(H,)`` each.

    A row is as bright as the mean of its annotated pixels; a row as bright as the median row is dark.
    """
    known = codes != IGNORE
    used = (known & (codes != BACKGROUND)).any(axis=1)
    means = np.where(known, image, 0).sum(axis=1, dtype=np.float64) / np.maximum(known.sum(axis=1), 1)
    dark = used & (means <= np.median(means[used])) if used.any() else used
    return dark, used & ~dark


def _vertebrae(
    predicted: np.ndarray, truth: np.ndarray, codes: np.ndarray, along: np.ndarray, spacing_mm: Spacing
) -> dict[str, Share]:
    vertebra, front = predicted == VERTEBRA, anterior(truth == CANAL_ROLE)
    shares = {}
    if front is not None:
        for name, side in (("bodies", front), ("arches", ~front)):
            shares[name] = _dice(vertebra & side, (truth == VERTEBRA) & side, truth)
    if not (present := _codes_of(codes, VERTEBRA)):
        return shares
    lowest, highest = codes == present[0], codes == present[-1]
    if front is not None and not np.isnan(along).all():
        body = lowest & front if (lowest & front).any() else lowest
        below = along < np.where(front, along[body].min(), along[lowest].min())
        shares["sacrum"] = _area(vertebra & (truth == BACKGROUND) & below, spacing_mm)
    margin = max(1, math.ceil(CUT_MM / spacing_mm[0]))
    above = np.pad(truth, ((margin, 0), (0, 0)), constant_values=IGNORE)[:-margin]
    name = "top, cut" if (above[highest] == IGNORE).any() else "top, whole"
    own = _nearest_codes(codes, truth == VERTEBRA, spacing_mm) == present[-1]
    return shares | {name: _dice(vertebra & own, highest, truth)}


def _discs(
    predicted: np.ndarray,
    truth: np.ndarray,
    codes: np.ndarray,
    along: np.ndarray,
    spacing_mm: Spacing,
    thin_mm: float,
) -> dict[str, Share]:
    disc, there = predicted == DISC, truth == DISC
    shares = {"disc size": Share(disc.sum(), there.sum())}
    if not there.any():
        return shares
    if not np.isnan(along).all():
        below = along < along[codes == _codes_of(codes, DISC)[0]].min()
        shares["low discs"] = _area(disc & (truth == BACKGROUND) & below, spacing_mm)
    nearest = _nearest_codes(codes, there, spacing_mm)
    for code, height in disc_heights(codes, spacing_mm).items():
        found, true = disc & (nearest == code), codes == code
        name = "thin discs" if height <= thin_mm else "other discs"
        dice = _dice(found, true, truth)
        shares[name] = shares.get(name, Share()).plus(dice)
        if code == disc_code(1):
            shares |= {"L5/S1": dice, "L5/S1 size": Share(found.sum(), true.sum())}
    return shares


def _canal(predicted: np.ndarray, truth: np.ndarray) -> dict[str, Share]:
    there = truth == CANAL_ROLE
    rows = np.flatnonzero(there.any(axis=1))
    if not len(rows):
        return {}
    end = rows[-1] + 1 - LOW_SHARE * (rows[-1] + 1 - rows[0])
    low = (np.arange(len(there)) >= end)[:, None]
    last = there.shape[1] - 1 - there[:, ::-1].argmax(axis=1)
    behind = there.any(axis=1)[:, None] & (np.arange(there.shape[1]) > last[:, None])
    return {
        "canal": _dice(predicted & ~low, there & ~low, truth),
        "canal end": _dice(predicted & low, there & low, truth),
        "canal behind": Share((predicted & behind).sum(), predicted.sum()),
        "canal missed": Share((there & ~predicted).sum(), there.sum()),
    }


def _far(truth: np.ndarray, spacing_mm: Spacing) -> np.ndarray | bool:
    """Pixels more than ``ISLAND_MM`` from any true structure; True where there is none."""
    there = (truth != BACKGROUND) & (truth != IGNORE)
    return distance_transform_edt(~there, sampling=spacing_mm) > ISLAND_MM if there.any() else True


def _nearest_codes(codes: np.ndarray, there: np.ndarray, spacing_mm: Spacing) -> np.ndarray:
    """The code nearest to every pixel among those of a mask; background beyond ``NEAR_MM``."""
    distance, (rows, columns) = distance_transform_edt(~there, sampling=spacing_mm, return_indices=True)
    return np.where(distance <= NEAR_MM, codes[rows, columns], np.uint8(BACKGROUND))


def _codes_of(codes: np.ndarray, role: int) -> list[int]:
    """Codes of the vertebrae, or of the discs, in the truth, from the lowest upward."""
    present = np.unique(codes)
    return present[roles_of(present) == role].tolist()


def _dice(predicted: np.ndarray, there: np.ndarray, truth: np.ndarray) -> Share:
    """Share whose value is the Dice of two masks on the annotated pixels of ``truth``."""
    target = np.where(truth == IGNORE, np.uint8(IGNORE), there.astype(np.uint8))
    counts = overlap_counts(torch.from_numpy(predicted)[None], torch.from_numpy(target)[None], 2)
    intersection, size, true_size = (int(count[0, 1]) for count in counts)
    return Share(2 * intersection, size + true_size)


def _area(mask: np.ndarray, spacing_mm: Spacing) -> Share:
    """Area of a mask in cm2, of one slice."""
    return Share(mask.sum() * spacing_mm[0] * spacing_mm[1] / 100, 1)
