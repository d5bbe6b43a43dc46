"""Where an answer errs on one slice: parts of vertebrae, discs, sacrum, top, canal, islands, dark rows.

Rows run from superior to inferior and columns from anterior to posterior (``shards.readers.slices.Grid``), so
that *in front* is a smaller column. Where the spine is curved, *below* is told along the true canal
(``eval.labelling.canal_axis``), which must be 40 mm long for it. Every measure is a share, ``part / whole``,
whose counts are added over the slices of a patient; Dice is one, of ``2 * intersection`` and
``predicted + actual``. Pixels that are not annotated (255) are in none of them.
"""

import math
from dataclasses import dataclass

import numpy as np
import torch
from scipy.ndimage import distance_transform_edt

from synthspine.eval.labelling.canal_axis import canal_axis
from synthspine.eval.labelling.ranks import CANAL_CLASS, DISC, VERTEBRA
from synthspine.eval.metrics.distances import Spacing
from synthspine.eval.metrics.overlap import STRUCTURE_SCHEME
from synthspine.gen.core.anatomy import BACKGROUND, CANAL, IGNORE, disc_code
from synthspine.train.overlap import overlap_counts

NEAR_MM = 8.0
"""What is answered so near to one vertebra or disc, and nearer to no other, is an answer to it."""
ISLAND_MM = 15.0
"""What is answered further than this from all that is annotated is an island."""
CUT_MM = 2.0
"""A vertebra with less than this between it and the image's border is cut."""
LOW_SHARE = 1 / 3
"""Share of the canal's rows that are its lower end."""
THIN_QUANTILE = 0.25
"""Share of a set's discs that are thin."""
LOWEST_DISC = disc_code(1)

Shares = dict[str, "Share"]


@dataclass(frozen=True, slots=True)
class Share:
    """A part of a whole; counts of several slices are added.

    Attributes:
        part: pixels, twice an intersection, or cm2.
        whole: pixels, or slices.
    """

    part: float = 0.0
    whole: float = 0.0

    def __add__(self, other: "Share") -> "Share":
        return Share(self.part + other.part, self.whole + other.whole)

    @property
    def value(self) -> float:
        """``part / whole``; nan where there is nothing to be a part of."""
        return self.part / self.whole if self.whole else math.nan


@dataclass(frozen=True, slots=True)
class Measure:
    """What a measure tells.

    Attributes:
        title: head of its column.
        meaning: its definition in a line.
        area: whether it is an area of errors, in cm2; otherwise a share.
    """

    title: str
    meaning: str
    area: bool = False


_NEAR = f"answered within {NEAR_MM:g} mm of it and nearer to no other"
MEASURES = {
    "bodies": Measure("bodies", "Dice of vertebra in front of the middle line of the true canal"),
    "arches": Measure("arches", "Dice of vertebra behind that line: arches and spinous processes"),
    "discs": Measure("disc size", "answered disc pixels / true ones"),
    "lowest disc": Measure("L5/S1", f"Dice of the disc L5/S1 with what is {_NEAR}"),
    "lowest disc size": Measure("L5/S1 size", "answered pixels / true ones, counted as for that Dice"),
    "sacrum": Measure(
        "sacrum, cm2",
        "answered as vertebra, annotated as background, along the canal lower than the lowest true vertebra: "
        "in front of the middle line than its body, behind it than all of it; a slice",
        area=True,
    ),
    "low discs": Measure(
        "low discs, cm2",
        "answered as disc, annotated as background, along the canal lower than the lowest true disc; a slice",
        area=True,
    ),
    "cut top": Measure(
        "top, cut",
        f"Dice of the highest true vertebra, less than {CUT_MM:g} mm from the image's upper end, "
        f"with what is {_NEAR}",
    ),
    "whole top": Measure("top, whole", "the same where it is further from the image's upper end"),
    "canal": Measure("canal", "Dice of the canal in the upper two thirds of its true rows, and above them"),
    "canal end": Measure(
        "canal end", "Dice of the canal in the lowest third of its true rows, and below them"
    ),
    "canal behind": Measure(
        "canal behind", "share of the answered canal that lies behind the last true canal pixel of its row"
    ),
    "canal missed": Measure("canal missed", "share of the true canal that is not answered as canal"),
    "islands": Measure(
        "islands, cm2", f"answered further than {ISLAND_MM:g} mm from any true structure; a slice", area=True
    ),
    "thin discs": Measure(
        "thin discs",
        "Dice of the true discs whose height (area / length) is in the lowest quarter of the set's, each "
        f"with what is {_NEAR}",
    ),
    "other discs": Measure("other discs", "Dice of the other true discs, in the same way"),
}


def slice_measures(structures: np.ndarray, codes: np.ndarray, spacing_mm: Spacing, thin_mm: float) -> Shares:
    """Measure an answer on one slice.

    Args:
        structures: the answer: background 0, vertebra 1, disc 2, canal 3; uint8 ``(H, W)``.
        codes: dense codes of the truth, uint8, the same shape.
        spacing_mm: size of a pixel along rows and columns.
        thin_mm: a disc of this height or less is thin.

    Returns:
        The shares by key of ``MEASURES``; those that are not defined here are left out.
    """
    answer = np.where(codes == IGNORE, np.uint8(BACKGROUND), structures)
    truth = STRUCTURE_SCHEME.encode(torch.from_numpy(codes)).numpy()
    answered_discs, true_discs = answer == DISC, truth == DISC
    return {
        **_vertebrae(answer, truth, codes, spacing_mm),
        **_discs(answered_discs, true_discs, codes, spacing_mm, thin_mm),
        **_canal(answer == CANAL_CLASS, truth),
        "discs": Share(_count(answered_discs), _count(true_discs)),
        "islands": _area(_islands(answer, truth, spacing_mm), spacing_mm),
    }


def in_front(canal: np.ndarray) -> np.ndarray | None:
    """What lies in front of the canal's middle line, row by row.

    The line goes through the mean column of the canal's pixels in every row. Between rows with canal it is
    interpolated; above the first and below the last one it stays in that row's column.

    Args:
        canal: True in the true canal, bool ``(H, W)``.

    Returns:
        Bool, the same shape; pixels on the line are behind. None where there is no canal.
    """
    rows = np.flatnonzero(canal.any(axis=1))
    if not len(rows):
        return None
    columns = np.arange(canal.shape[1])
    centres = canal[rows] @ columns / canal[rows].sum(axis=1)
    line = np.interp(np.arange(canal.shape[0]), rows, centres)
    front: np.ndarray = columns < line[:, None]
    return front


def disc_heights(codes: np.ndarray, spacing_mm: Spacing) -> dict[int, float]:
    """Mean height of every true disc: its area by its length along its main axis.

    Args:
        codes: dense codes, uint8 ``(H, W)``.
        spacing_mm: size of a pixel along rows and columns.

    Returns:
        Height in mm by code of the disc; none for discs without a pixel.
    """
    return {code: _height(codes == code, spacing_mm) for code in _ranked(codes, DISC)}


def rows_by_brightness(image: np.ndarray, codes: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The darker and the brighter half of the rows with a true structure.

    Args:
        image: brightness, float ``(H, W)``.
        codes: dense codes, uint8, the same shape.

    Returns:
        Dark and bright, bool ``(H,)``. A row is as bright as the mean of its annotated pixels; one as bright
        as the median row is dark.
    """
    known = codes != IGNORE
    used = (known & (codes != BACKGROUND)).any(axis=1)
    means = np.where(known, image, 0).sum(axis=1, dtype=np.float64) / np.maximum(known.sum(axis=1), 1)
    dark = used & (means <= np.median(means[used])) if used.any() else used
    return dark, used & ~dark


def _vertebrae(answer: np.ndarray, truth: np.ndarray, codes: np.ndarray, spacing_mm: Spacing) -> Shares:
    vertebra = answer == VERTEBRA
    ranked = _ranked(codes, VERTEBRA)
    front = in_front(truth == CANAL_CLASS)
    shares: Shares = {}
    if front is not None:
        for name, side in (("bodies", front), ("arches", ~front)):
            shares[name] = _dice(vertebra & side, (truth == VERTEBRA) & side, truth)
    if not ranked:
        return shares
    lowest, highest = codes == ranked[0], codes == ranked[-1]
    along = _along(truth == CANAL_CLASS, spacing_mm)
    if along is not None and front is not None:
        body = lowest & front if (lowest & front).any() else lowest
        below = along < np.where(front, along[body].min(), along[lowest].min())
        shares["sacrum"] = _area(vertebra & (truth == BACKGROUND) & below, spacing_mm)
    name = "cut top" if _is_cut(highest, truth, spacing_mm[0]) else "whole top"
    own = _nearest_codes(np.where(truth == VERTEBRA, codes, BACKGROUND), spacing_mm) == ranked[-1]
    shares[name] = _dice(vertebra & own, highest, truth)
    return shares


def _discs(
    answered: np.ndarray, there: np.ndarray, codes: np.ndarray, spacing_mm: Spacing, thin_mm: float
) -> Shares:
    if not there.any():
        return {}
    shares: Shares = {}
    along = _along(codes == CANAL, spacing_mm)
    if along is not None:
        below = along < along[codes == _ranked(codes, DISC)[0]].min()
        shares["low discs"] = _area(answered & (codes == BACKGROUND) & below, spacing_mm)
    own = _nearest_codes(np.where(there, codes, BACKGROUND), spacing_mm)
    for code, height in disc_heights(codes, spacing_mm).items():
        found, true = answered & (own == code), codes == code
        name = "thin discs" if height <= thin_mm else "other discs"
        dice = _dice(found, true, codes)
        shares[name] = shares.get(name, Share()) + dice
        if code == LOWEST_DISC:
            shares |= {"lowest disc": dice, "lowest disc size": Share(_count(found), _count(true))}
    return shares


def _canal(answered: np.ndarray, truth: np.ndarray) -> Shares:
    there = truth == CANAL_CLASS
    rows = np.flatnonzero(there.any(axis=1))
    if not len(rows):
        return {}
    end = rows[-1] + 1 - LOW_SHARE * (rows[-1] + 1 - rows[0])
    low = (np.arange(len(there)) >= end)[:, None]
    last = there.shape[1] - 1 - there[:, ::-1].argmax(axis=1)
    behind = there.any(axis=1)[:, None] & (np.arange(there.shape[1]) > last[:, None])
    return {
        "canal": _dice(answered & ~low, there & ~low, truth),
        "canal end": _dice(answered & low, there & low, truth),
        "canal behind": Share(_count(answered & behind), _count(answered)),
        "canal missed": Share(_count(there & ~answered), _count(there)),
    }


def _islands(answer: np.ndarray, truth: np.ndarray, spacing_mm: Spacing) -> np.ndarray:
    there = (truth != BACKGROUND) & (truth != IGNORE)
    if not there.any():
        return answer != BACKGROUND
    far: np.ndarray = distance_transform_edt(~there, sampling=spacing_mm) > ISLAND_MM
    return (answer != BACKGROUND) & far


def _nearest_codes(codes: np.ndarray, spacing_mm: Spacing) -> np.ndarray:
    """Code that lies nearest to every pixel, background where none is within ``NEAR_MM``; ``(H, W)``."""
    distance, (rows, columns) = distance_transform_edt(
        codes == BACKGROUND, sampling=spacing_mm, return_indices=True
    )
    return np.where(distance <= NEAR_MM, codes[rows, columns], np.uint8(BACKGROUND))


def _ranked(codes: np.ndarray, structure: int) -> list[int]:
    """Codes of the vertebrae, or discs, that are there, from the lowest upward."""
    there = np.unique(codes)
    return there[STRUCTURE_SCHEME.encode(torch.from_numpy(there)).numpy() == structure].tolist()


def _along(canal: np.ndarray, spacing_mm: Spacing) -> np.ndarray | None:
    """Position along the canal upward, mm, ``(H, W)``; None where the canal is too short to tell."""
    axis = canal_axis(canal[None], spacing_mm)
    return None if axis is None else axis.coordinates((canal.shape[0], canal.shape[1]), spacing_mm)[0]


def _is_cut(vertebra: np.ndarray, truth: np.ndarray, row_mm: float) -> bool:
    """Whether the image ends, by its edge or for want of annotation, less than ``CUT_MM`` above a mask."""
    rows = max(1, math.ceil(CUT_MM / row_mm))
    above = np.pad(truth, ((rows, 0), (0, 0)), constant_values=IGNORE)[:-rows]
    return bool((above[vertebra] == IGNORE).any())


def _height(disc: np.ndarray, spacing_mm: Spacing) -> float:
    places = np.argwhere(disc) * spacing_mm
    centred = places - places.mean(axis=0)
    main = np.linalg.svd(centred, full_matrices=True)[2][0]
    along = centred @ main
    length = np.ptp(along) + np.abs(main) @ spacing_mm
    return float(len(places) * np.prod(spacing_mm) / length)


def _dice(answered: np.ndarray, there: np.ndarray, truth: np.ndarray) -> Share:
    """Share whose value is Dice, of two masks; both 255 and what is background may be in ``truth``."""
    target = np.where(truth == IGNORE, np.uint8(IGNORE), there.astype(np.uint8))
    counts = overlap_counts(torch.from_numpy(answered)[None], torch.from_numpy(target)[None], 2)
    intersection, predicted, actual = (int(count[0, 1]) for count in counts)
    return Share(2 * intersection, predicted + actual)


def _area(mask: np.ndarray, spacing_mm: Spacing) -> Share:
    return Share(_count(mask) * spacing_mm[0] * spacing_mm[1] / 100, 1)


def _count(mask: np.ndarray) -> int:
    return int(np.count_nonzero(mask))
