"""One model on one set under one condition: values by patient, means with intervals, rates, calibration.

- A mean is over patients, with its bootstrap interval and n, the patients in whom it is defined.
- *Overall* of a metric is the mean over the structures that are defined in a patient, then over patients.
- *Missed*: of the slices whose truth has a structure or class, the share without one pixel of it in the
  prediction. *Invented*: of the slices whose truth has none of it, the share with a pixel of it.
- Vertebrae are added up over all patients. Their Dice, and the distances of the found ones, are means over
  patients.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from scipy.stats import spearmanr

from synthspine.eval.metrics.calibration import BINS, expected_calibration_error
from synthspine.eval.metrics.distances import NSD_TOLERANCES_MM
from synthspine.eval.metrics.overlap import mean
from synthspine.eval.metrics.statistics import Interval, Values, bootstrap_mean, defined
from synthspine.eval.prediction.quality import MOST_ENTROPY
from synthspine.gen.core.anatomy import STRUCTURES

OVERALL = "overall"
MEASURES = (OVERALL, *STRUCTURES)
FEWEST = 3
"""Fewest patients of a rank correlation."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Metric:
    """How the values of a metric are written."""

    title: str  # head of a column
    unit: str = ""  # empty for a share in [0, 1], which is written without the leading zero
    decimals: int = 3


DICE = Metric(title="Dice")
METRICS = {
    "dice": DICE,
    "hd95_mm": Metric(title="HD95, mm", unit="mm", decimals=1),
    "assd_mm": Metric(title="ASSD, mm", unit="mm", decimals=1),
    **{f"nsd_{tolerance:g}mm": Metric(title=f"NSD {tolerance:g} mm") for tolerance in NSD_TOLERANCES_MM},
}
"""Metrics of structures and classes by their key in a patient's record."""
DISTANCES = ("hd95_mm", "assd_mm")
ENTROPY = Metric(title="entropy, nats", unit="nats")


@dataclass(frozen=True, slots=True)
class Share:
    """``count`` of ``n``."""

    count: int
    n: int


@dataclass(frozen=True, slots=True)
class Means:
    """Metrics over all patients."""

    means: dict[str, Interval | None]  # by metric; None where it is defined in no patient

    @property
    def n(self) -> int:
        """Patients in the mean Dice."""
        dice = self.means["dice"]
        return 0 if dice is None else dice.n


@dataclass(frozen=True, slots=True)
class Scores(Means):
    """A structure or class over all patients."""

    missed: Share  # of the slices that have it, those without a predicted pixel of it
    invented: Share  # of the slices without it, those with a predicted pixel of it


@dataclass(frozen=True, slots=True)
class Vertebrae(Means):
    """Vertebrae counted one by one."""

    found: Share  # of all in the truth
    rank_right: Share  # found with the right number, of all in the truth
    extra: int  # predicted ones without a vertebra in the truth


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

    def values(self, measure: str = OVERALL, metric: str = "dice") -> dict[str, float]:
        """One metric by patient, without the patients in whom it is not defined.

        Args:
            measure: one of ``STRUCTURES``, or ``"overall"`` for the mean over those that are defined.
            metric: one of ``METRICS``.
        """
        names = STRUCTURES if measure == OVERALL else (measure,)
        values: dict[str, float] = {}
        for patient, record in self.patients.items():
            entries = defined({name: record["structures"][name][metric] for name in names})
            if entries:
                values[patient] = mean(list(entries.values()))
        return values

    def interval(self, measure: str = OVERALL, metric: str = "dice") -> Interval | None:
        """Mean over patients with its interval; None where it is defined in no patient."""
        return interval_of(self.values(measure, metric))

    def scalar(self, key: str) -> dict[str, float]:
        """A number that stands beside the structures (``ece``, ``entropy``, ...), by patient."""
        return defined({patient: record[key] for patient, record in self.patients.items()})

    @cached_property
    def classes(self) -> tuple[str, ...]:
        """Names of the model's own classes."""
        return tuple(next(iter(self.patients.values()), {"classes": ()})["classes"])

    def scores(self, kind: str, name: str) -> Scores:
        """All metrics and rates of a structure or class (``kind``: ``"structures"`` or ``"classes"``)."""
        entries = {patient: record[kind][name] for patient, record in self.patients.items()}
        return Scores(
            means=_means(entries, METRICS),
            missed=_share(entries, "missed_slices", "slices_with"),
            invented=_share(entries, "invented_slices", "slices_without"),
        )

    @cached_property
    def vertebrae(self) -> Vertebrae:
        """Vertebrae of all patients."""
        entries = {patient: record["instances"] for patient, record in self.patients.items()}
        return Vertebrae(
            found=_share(entries, "found", "truth"),
            rank_right=_share(entries, "rank_right", "truth"),
            extra=_share(entries, "extra", "truth").count,
            means=_means(entries, ("dice", *DISTANCES)),
        )

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


def interval_of(values: Values) -> Interval | None:
    """Mean of values by patient with its bootstrap interval; None where there is no value."""
    interval = bootstrap_mean(values)
    return interval if interval.n else None


def _means(entries: Mapping[str, Mapping[str, Any]], metrics: Iterable[str]) -> dict[str, Interval | None]:
    return {
        metric: interval_of({patient: entry[metric] for patient, entry in entries.items()})
        for metric in metrics
    }


def _share(entries: Mapping[str, Mapping[str, int]], count: str, n: str) -> Share:
    return Share(sum(entry[count] for entry in entries.values()), sum(entry[n] for entry in entries.values()))
