"""One model on one set under one condition: values by patient, means with intervals, rates, calibration.

- A mean is over patients, with its bootstrap interval and n, the patients in whom it is defined.
- *Overall* of a metric is the mean over the structures that are defined in a patient, then over patients.
- A rate is a share of slices, added up over all patients.
- Vertebrae are added up over all patients. Their Dice, and the distances of the found ones, are means over
  patients.
"""

from dataclasses import dataclass
from functools import cached_property
from typing import Any, Literal

import numpy as np
from scipy.stats import spearmanr

from synthspine.eval.metrics.calibration import BINS, expected_calibration_error
from synthspine.eval.metrics.statistics import Interval, Values, bootstrap_mean, defined, mean
from synthspine.eval.metrics.structures import OVERALL
from synthspine.eval.metrics.table import DICE
from synthspine.eval.segmentation.presence import MOST_ENTROPY

FEWEST = 3
"""Fewest patients of a rank correlation."""

Kind = Literal["structures", "classes"]


@dataclass(frozen=True, slots=True)
class Share:
    """``count`` of ``n``."""

    count: int
    n: int


@dataclass(frozen=True, slots=True)
class Reliability:
    """Confidence against accuracy, pixels of all patients pooled: by bin, float64 ``(K,)``, and over all."""

    counts: np.ndarray  # pixels
    confidences: np.ndarray  # mean confidence; nan in an empty bin
    accuracies: np.ndarray  # share of right pixels; nan in an empty bin
    ece: float
    confidence: float
    accuracy: float


@dataclass(frozen=True, kw_only=True)
class Measurement:
    """One model on one set under one condition, as ``outcome.json`` holds it.

    Attributes:
        study: an entry of ``eval.studies.options.STUDIES``.
        model: ``"A"`` or ``"B"``.
        set: a key of ``eval.results.outcome.SET_NAMES``.
        value: factor, level, alpha or number of the protocol; 1 (resolution) or 0 where nothing is changed.
        patients: the record of every patient (``eval.studies.measure``); None in place of nan.
    """

    study: str
    model: str
    set: str
    value: float
    patients: dict[str, Any]

    @cached_property
    def structures(self) -> tuple[str, ...]:
        """Names of the measured structures."""
        return self._names("structures")

    @cached_property
    def classes(self) -> tuple[str, ...]:
        """Names of the model's own classes."""
        return self._names("classes")

    def values(
        self, measure: str = OVERALL, metric: str = DICE.key, kind: Kind = "structures"
    ) -> dict[str, float]:
        """One metric by patient, without the patients in whom it is not defined.

        ``measure`` is a structure, or of that kind one of the model's own classes, or ``"overall"`` for the
        mean over the structures that are defined.
        """
        values: dict[str, float] = {}
        for patient, record in self.patients.items():
            names = record[kind] if measure == OVERALL else (measure,)
            entries = defined({name: record[kind][name][metric] for name in names})
            if entries:
                values[patient] = mean(list(entries.values()))
        return values

    def interval(
        self, measure: str = OVERALL, metric: str = DICE.key, kind: Kind = "structures"
    ) -> Interval | None:
        """Mean over patients with its interval; None where it is defined in no patient."""
        return interval_of(self.values(measure, metric, kind))

    def rate(self, measure: str, rate: str, kind: Kind = "structures") -> Share:
        """Slices of all patients that a rate counts for a structure or class, of its cases."""
        pairs = [record[kind][measure][rate] for record in self.patients.values()]
        return Share(sum(count for count, _ in pairs), sum(n for _, n in pairs))

    def scalar(self, key: str) -> dict[str, float]:
        """A number that stands beside the structures (``ece``, ``entropy``, ...), by patient."""
        return defined({patient: record[key] for patient, record in self.patients.items()})

    def vertebrae(self, count: str) -> Share:
        """Vertebrae of all patients that are ``found``, ``rank_right`` or ``extra``, of all in the truth."""
        entries = [record["instances"] for record in self.patients.values()]
        return Share(sum(entry[count] for entry in entries), sum(entry["truth"] for entry in entries))

    def vertebrae_interval(self, metric: str) -> Interval | None:
        """Mean over patients of a metric of the vertebrae; None where it is defined in no patient."""
        records = self.patients.items()
        return interval_of({patient: record["instances"][metric] for patient, record in records})

    @cached_property
    def reliability(self) -> Reliability | None:
        """The bins of all patients together; None where no pixel was counted."""
        rows = [record["ece_bins"] for record in self.patients.values()]
        bins = np.array(rows, dtype=np.float64).reshape(-1, BINS, 3).sum(axis=0)
        if not bins.any():
            return None
        counts, confidence, correct = bins.T
        filled = np.where(counts > 0, counts, np.nan)
        ece = expected_calibration_error(bins.tolist())
        means = (float(total.sum() / counts.sum()) for total in (confidence, correct))
        return Reliability(counts, confidence / filled, correct / filled, ece, *means)

    def entropy_and_dice(self, key: str = "entropy") -> np.ndarray:
        """An entropy (``key``) and overall Dice of the patients that have both, float64 ``(N, 2)``."""
        entropy, dice = self.scalar(key), self.values()
        pairs = [(entropy[patient], dice[patient]) for patient in sorted(entropy.keys() & dice.keys())]
        return np.array(pairs, dtype=np.float64).reshape(-1, 2)

    def rank_correlation(self, key: str = "entropy") -> float | None:
        """Spearman's correlation of an entropy (``key``) and overall Dice; None where it is not defined."""
        pairs = self.entropy_and_dice(key)
        if len(pairs) < FEWEST or (pairs == pairs[0]).all(axis=0).any():
            return None
        return float(spearmanr(pairs[:, 0], pairs[:, 1]).statistic)

    @cached_property
    def flagged_scans(self) -> Share:
        """Scans that a prediction would flag as uncertain, of all in which a structure was found."""
        scans = [entropy for record in self.patients.values() for entropy in record["scan_entropies"]]
        known = [entropy for entropy in scans if entropy is not None]
        return Share(sum(entropy > MOST_ENTROPY for entropy in known), len(known))

    def _names(self, kind: Kind) -> tuple[str, ...]:
        return tuple(next(iter(self.patients.values()), {kind: ()})[kind])


def interval_of(values: Values) -> Interval | None:
    """Mean of values by patient with its bootstrap interval; None where there is no value."""
    interval = bootstrap_mean(values)
    return interval if interval.n else None
