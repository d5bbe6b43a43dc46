"""Vertebra by vertebra: detection, rank, overlap and distances.

- *Truth*: the named vertebrae, ranks 1 to 6 (L5 ... T12). Structures of higher rank are left out, like pixels
  without annotation, for every model: the scheme "ranks" cannot represent them. So are
  structures without a class in the model's scheme. Posterior elements belong to their vertebra.
- *Prediction*: ranks as ``eval/predict.py`` assigns them (``eval.labelling.ranks``). Pixels without
  annotation are background before that.
- *Volume*: the slices of one series, on which ranks are counted and vertebrae matched as a whole.
- *Islands*: vertebrae of less than 25 mm2, in truth or prediction, are ignored.
- *Matching* is one to one by overlap, independent of rank (Hungarian algorithm): it maximises the number of
  found vertebrae, then the sum of Dice. A true vertebra is *found* where Dice with its match is 0.5 or more;
  its rank is *right* where it is found and both ranks agree. A predicted vertebra without a match is *extra*
  (a false positive), unless at least half of it lies where nothing is counted.
- *Dice*: mean over the true vertebrae, 0 for those without a match.
- *HD95, ASSD*: means over the found ones (``eval.metrics.distances``, pooled over the slices of the volume).
"""

import math
from dataclasses import astuple, dataclass

import numpy as np
import torch
from scipy.optimize import linear_sum_assignment

from synthspine.eval.labelling.ranks import rank_codes
from synthspine.eval.labelling.roles import VERTEBRA, ranks_of, roles_of
from synthspine.eval.labelling.settings import MIN_ISLAND_MM2
from synthspine.eval.metrics.distances import Spacing, border_distances, pooled
from synthspine.gen.core.anatomy import BACKGROUND, IGNORE, MAX_RANK, RANK_NAMES
from synthspine.gen.core.schemes import LabelScheme

FOUND_DICE = 0.5
NAMED_RANKS = len(RANK_NAMES)
SLICE_DISTANCE_MM = 4.0
"""Usual distance of the slices of a series; sets do not tell it."""


@dataclass(frozen=True, slots=True)
class InstanceCounts:
    """Vertebrae of one volume, or sums over several: true, found, extra (false-positive), of the right rank.

    The sum of Dice is over the true vertebrae, those of HD95 and ASSD are over the found ones.
    """

    truth: int = 0
    found: int = 0
    extra: int = 0
    rank_right: int = 0
    dice_sum: float = 0.0
    hd95_sum_mm: float = 0.0
    assd_sum_mm: float = 0.0

    def __add__(self, other: "InstanceCounts") -> "InstanceCounts":
        return InstanceCounts(*map(sum, zip(astuple(self), astuple(other), strict=True)))

    @property
    def dice(self) -> float:
        """Mean Dice over the true vertebrae; nan where there is none."""
        return self.dice_sum / self.truth if self.truth else math.nan

    def as_dict(self) -> dict[str, float | int]:
        """Counts, mean Dice, and mean distances of the found vertebrae (nan where none was found)."""
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
    classes: np.ndarray, codes: np.ndarray, scheme: LabelScheme, spacing_mm: Spacing
) -> InstanceCounts:
    """Count the found, missed and false-positive vertebrae of a volume.

    The classes are those that were predicted, of ``scheme``, the codes the dense ones of the truth: uint8
    ``(Z, H, W)``.
    """
    return match_ranks(_vertebra_ranks(classes, codes, scheme, spacing_mm), codes, scheme, spacing_mm)


def _vertebra_ranks(
    classes: np.ndarray, codes: np.ndarray, scheme: LabelScheme, spacing_mm: Spacing
) -> np.ndarray:
    """Rank of the predicted vertebra of every pixel, 0 elsewhere and where nothing is annotated; uint8."""
    annotated = torch.from_numpy(np.where(codes == IGNORE, np.uint8(BACKGROUND), classes))
    dense = scheme.decode(annotated).numpy()
    found = dense != BACKGROUND
    rows, columns = (np.flatnonzero(found.any(axis=axes)) for axes in ((0, 2), (0, 1)))
    if len(rows):
        # The box around all structures, to save time; its lower border is that of the slice.
        box = (slice(None), slice(rows[0], None), slice(columns[0], columns[-1] + 1))
        dense[box] = rank_codes(dense[box], scheme, (SLICE_DISTANCE_MM, *spacing_mm)).codes
    return _vertebrae(dense)


def _vertebrae(codes: np.ndarray) -> np.ndarray:
    """Rank of the vertebra of every pixel of dense codes, 0 for none; uint8."""
    return np.where(roles_of(codes) == VERTEBRA, ranks_of(codes), np.uint8(0))


def match_ranks(
    ranks: np.ndarray, codes: np.ndarray, scheme: LabelScheme, spacing_mm: Spacing
) -> InstanceCounts:
    """As ``count_instances``, of the predicted rank of every pixel, uint8 ``(Z, H, W)``, 0 for none."""
    known = scheme.encode(torch.from_numpy(codes)).numpy() != IGNORE
    counted = known & (ranks_of(codes) <= NAMED_RANKS)
    truth = np.where(counted, _vertebrae(codes), 0)
    cells = truth[counted].astype(np.int64) * (MAX_RANK + 1) + ranks[counted]
    table = np.bincount(cells, minlength=(NAMED_RANKS + 1) * (MAX_RANK + 1))
    table = table.reshape(NAMED_RANKS + 1, MAX_RANK + 1)
    actual, predicted = table.sum(axis=1), table.sum(axis=0)
    everywhere = np.bincount(ranks.ravel(), minlength=MAX_RANK + 1)

    pixel_mm2 = spacing_mm[0] * spacing_mm[1]
    rows = 1 + np.flatnonzero(actual[1:] * pixel_mm2 >= MIN_ISLAND_MM2)
    columns = 1 + np.flatnonzero(predicted[1:] * pixel_mm2 >= MIN_ISLAND_MM2)
    dices = 2 * table[np.ix_(rows, columns)] / (actual[rows][:, None] + predicted[columns])
    # One found vertebra outweighs the sum of all Dice.
    pairs = linear_sum_assignment(dices + NAMED_RANKS * (dices >= FOUND_DICE), maximize=True)
    found = dices[pairs] >= FOUND_DICE
    found_rows, found_columns = rows[pairs[0][found]], columns[pairs[1][found]]
    alone = np.setdiff1d(columns, found_columns)
    distances = []
    for row, column in zip(found_rows, found_columns, strict=True):
        slices = zip((ranks == column) & counted, truth == row, strict=True)
        distances.append(pooled([border_distances(*masks, spacing_mm) for masks in slices]))
    return InstanceCounts(
        truth=len(rows),
        found=len(found_rows),
        extra=int((2 * predicted[alone] > everywhere[alone]).sum()),
        rank_right=int((found_rows == found_columns).sum()),
        dice_sum=float(dices[pairs].sum()),
        hd95_sum_mm=math.fsum(each.hd95_mm for each in distances),
        assd_sum_mm=math.fsum(each.assd_mm for each in distances),
    )
