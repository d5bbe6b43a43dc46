"""Vertebra by vertebra: how many were found, and did they get the right rank?

- *Truth*: the vertebrae of ranks 1 to 6, the ones that have a name (L5 ... T12). Whatever is annotated with a
  higher rank, vertebra or disc, is left out as if it were not annotated, for every model: 14 classes have no
  answer for it.
- *Prediction*: what ``eval/predict.py`` would answer: what ``eval.labelling.ranks`` makes of the vertebrae,
  connected regions of every slice, cut at the discs along the canal and counted from the lowest; of a
  14-class model from where most of its own ranks agree (``eval.labelling.ordering``). Pixels that are not
  annotated are background before that.
- *Volume*: the slices of one series, on which ranks are counted and vertebrae matched as a whole. Renders of
  different deformations are volumes of one slice; counts of several volumes are added.
- *Litter*: vertebrae of less than 25 mm2, in truth or prediction, are none: as in
  ``eval.prediction.segment``.
- *Matched* one to one by overlap, whatever the ranks (Hungarian algorithm): so that most are found, and among
  such matchings the sum of Dice is largest. A vertebra of the truth is *found* where Dice with its partner is
  0.5 or more; its rank is *right* where it is found and both ranks are the same. A predicted vertebra
  without such a partner is *extra*, unless at least half of it lies where nothing is counted.
- *Dice*: mean over the vertebrae of the truth with their partners, 0 for one without overlap. (A mean over
  the found ones alone would improve with every miss.)
- *HD95, ASSD*: of each found one and its partner (``eval.metrics.distances``, pooled over the slices of the
  volume); mean over the found ones. Read them with the share of those.
"""

import math
from dataclasses import dataclass

import numpy as np
import torch
from scipy.optimize import linear_sum_assignment

from synthspine.eval.labelling.islands import MIN_ISLAND_MM2
from synthspine.eval.labelling.ordering import order_ranks
from synthspine.eval.labelling.ranks import assign_ranks
from synthspine.eval.metrics.distances import BorderDistances, Spacing, border_distances, pooled
from synthspine.eval.metrics.overlap import STRUCTURE_SCHEME, group_structures
from synthspine.gen.core.anatomy import BACKGROUND, IGNORE, MAX_RANK, RANK_NAMES, LabelScheme, label_scheme

FOUND_DICE = 0.5
NAMED_RANKS = len(RANK_NAMES)


@dataclass(frozen=True, kw_only=True, slots=True)
class InstanceCounts:
    """Vertebrae of one volume, or sums over several.

    Attributes:
        truth: vertebrae of the truth.
        found: those found.
        extra: predicted vertebrae that are none.
        rank_right: those found that have the right rank.
        dice_sum: sum over the vertebrae of the truth of Dice with their partners.
        hd95_sum_mm: sum over the found ones of HD95 to their partners.
        assd_sum_mm: sum over the found ones of ASSD to their partners.
    """

    truth: int = 0
    found: int = 0
    extra: int = 0
    rank_right: int = 0
    dice_sum: float = 0.0
    hd95_sum_mm: float = 0.0
    assd_sum_mm: float = 0.0

    def __add__(self, other: "InstanceCounts") -> "InstanceCounts":
        return InstanceCounts(
            truth=self.truth + other.truth,
            found=self.found + other.found,
            extra=self.extra + other.extra,
            rank_right=self.rank_right + other.rank_right,
            dice_sum=self.dice_sum + other.dice_sum,
            hd95_sum_mm=self.hd95_sum_mm + other.hd95_sum_mm,
            assd_sum_mm=self.assd_sum_mm + other.assd_sum_mm,
        )

    @property
    def dice(self) -> float:
        """Mean Dice over the vertebrae of the truth; nan where it has none."""
        return self.dice_sum / self.truth if self.truth else math.nan

    def as_dict(self) -> dict[str, float | int]:
        """Counts, the mean Dice, and the mean distances of the found ones (nan where none was found)."""
        return {
            "truth": self.truth,
            "found": self.found,
            "extra": self.extra,
            "dice": self.dice,
            "rank_right": self.rank_right,
            "hd95_mm": self.hd95_sum_mm / self.found if self.found else math.nan,
            "assd_mm": self.assd_sum_mm / self.found if self.found else math.nan,
        }


def count_instances(
    classes: np.ndarray,
    codes: np.ndarray,
    scheme: LabelScheme,
    spacing_mm: tuple[float, float],
) -> InstanceCounts:
    """Vertebrae of a volume, found and not.

    Args:
        classes: the model's answer in ``scheme``, uint8 ``(Z, H, W)``.
        codes: dense codes of the truth, uint8, the same shape.
        scheme: what the classes mean.
        spacing_mm: size of a pixel along rows and columns.

    Raises:
        ValueError: the shapes differ.
    """
    if classes.shape != codes.shape or classes.ndim != 3:
        raise ValueError(f"answer {classes.shape} and truth {codes.shape} must be slices of one shape")
    return match_ranks(vertebra_ranks(classes, codes, scheme, spacing_mm), codes, spacing_mm)


def vertebra_ranks(
    classes: np.ndarray, codes: np.ndarray, scheme: LabelScheme, spacing_mm: tuple[float, float]
) -> np.ndarray:
    """Rank of the predicted vertebra of every pixel, 0 elsewhere and where nothing is annotated; uint8."""
    answer = np.where(codes == IGNORE, np.uint8(BACKGROUND), classes)
    structures = group_structures(torch.from_numpy(answer), scheme).numpy()
    dense = _counted_codes(structures, spacing_mm)
    if scheme != STRUCTURE_SCHEME:
        dense = order_ranks(dense, _decoded(answer, scheme))
    return np.where(dense <= MAX_RANK, dense, np.uint8(0))


def match_ranks(ranks: np.ndarray, codes: np.ndarray, spacing_mm: tuple[float, float]) -> InstanceCounts:
    """Match predicted vertebrae with those of the truth.

    Args:
        ranks: rank of the predicted vertebra of every pixel, 0 where there is none, uint8 ``(Z, H, W)``.
        codes: dense codes of the truth, uint8, the same shape.
        spacing_mm: size of a pixel along rows and columns.
    """
    counted = label_scheme("14").encode(torch.from_numpy(codes)).numpy() != IGNORE
    truth = np.where(counted & (codes <= NAMED_RANKS), codes, 0)
    cells = truth[counted].astype(np.int64) * (MAX_RANK + 1) + ranks[counted]
    table = np.bincount(cells, minlength=(NAMED_RANKS + 1) * (MAX_RANK + 1))
    table = table.reshape(NAMED_RANKS + 1, MAX_RANK + 1)
    actual, predicted = table.sum(axis=1), table.sum(axis=0)
    everywhere = np.bincount(ranks.ravel(), minlength=MAX_RANK + 1)

    pixel_mm2 = spacing_mm[0] * spacing_mm[1]
    rows = 1 + np.flatnonzero(actual[1:] * pixel_mm2 >= MIN_ISLAND_MM2)
    columns = 1 + np.flatnonzero(predicted[1:] * pixel_mm2 >= MIN_ISLAND_MM2)
    dices = 2 * table[np.ix_(rows, columns)] / (actual[rows][:, None] + predicted[columns])
    # A found one is worth more than all Dice together, so that the sum never costs one.
    pairs = linear_sum_assignment(dices + NAMED_RANKS * (dices >= FOUND_DICE), maximize=True)
    found = dices[pairs] >= FOUND_DICE
    found_rows, found_columns = rows[pairs[0][found]], columns[pairs[1][found]]
    alone = np.setdiff1d(columns, found_columns)
    distances = [
        _distances((ranks == column) & counted, truth == row, spacing_mm)
        for row, column in zip(found_rows, found_columns, strict=True)
    ]
    return InstanceCounts(
        truth=len(rows),
        found=len(found_rows),
        extra=int((2 * predicted[alone] > everywhere[alone]).sum()),
        rank_right=int((found_rows == found_columns).sum()),
        dice_sum=float(dices[pairs].sum()),
        hd95_sum_mm=math.fsum(each.hd95_mm for each in distances),
        assd_sum_mm=math.fsum(each.assd_mm for each in distances),
    )


def _distances(prediction: np.ndarray, truth: np.ndarray, spacing_mm: Spacing) -> BorderDistances:
    """Distances of one vertebra, pooled over the slices ``(Z, H, W)`` that show it."""
    shown = np.flatnonzero((prediction | truth).any(axis=(1, 2)))
    return pooled([border_distances(prediction[place], truth[place], spacing_mm) for place in shown])


def _counted_codes(structures: np.ndarray, spacing_mm: tuple[float, float]) -> np.ndarray:
    """Dense codes by ``eval.labelling.ranks`` on the box around all structures, to save time."""
    found = structures != BACKGROUND
    codes = np.zeros_like(structures)
    rows, columns = (np.flatnonzero(found.any(axis=axes)) for axes in ((0, 2), (0, 1)))
    if len(rows):
        box = (slice(None), slice(rows[0], rows[-1] + 1), slice(columns[0], columns[-1] + 1))
        codes[box] = assign_ranks(structures[box], spacing_mm)
    return codes


def _decoded(classes: np.ndarray, scheme: LabelScheme) -> np.ndarray:
    decoded: np.ndarray = scheme.decode(torch.from_numpy(classes)).numpy()
    return decoded
