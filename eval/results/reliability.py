"""Calibration of a whole set: bins pooled over patients, and whether entropy tells a poor answer."""

from dataclasses import dataclass

import numpy as np
from scipy.stats import spearmanr

from synthspine.eval.prediction.quality import MOST_ENTROPY
from synthspine.eval.results.findings import OVERALL, Findings, Measurement

FEWEST = 3
"""Patients below which a rank correlation says nothing."""


@dataclass(frozen=True, slots=True)
class Reliability:
    """Confidence against accuracy over the bins, pixels of all patients pooled.

    Attributes:
        counts: pixels in every bin, float64 ``(K,)``.
        confidences: mean confidence of every bin, nan where it is empty.
        accuracies: share of right pixels in every bin, nan where it is empty.
        ece: expected calibration error of all pixels together.
    """

    counts: np.ndarray
    confidences: np.ndarray
    accuracies: np.ndarray
    ece: float

    @property
    def confidence(self) -> float:
        """Mean confidence of all pixels."""
        return float(np.nansum(self._weights * self.confidences))

    @property
    def accuracy(self) -> float:
        """Share of all pixels that are right."""
        return float(np.nansum(self._weights * self.accuracies))

    @property
    def _weights(self) -> np.ndarray:
        return self.counts / self.counts.sum()


def pooled_reliability(measurement: Measurement) -> Reliability | None:
    """The bins of all patients together; None where no pixel was counted."""
    counts, confidence, correct = np.array(measurement.summary["ece_bins"], dtype=np.float64).T
    if not counts.sum() > 0:
        return None
    filled = np.where(counts > 0, counts, np.nan)
    return Reliability(counts, confidence / filled, correct / filled, measurement.summary["ece_pooled"])


def self_check(measurement: Measurement, key: str = "entropy") -> float | None:
    """Spearman's rank correlation of an entropy and overall Dice over patients; None where it is not defined.

    Args:
        measurement: what was measured.
        key: ``"entropy"`` or ``"structure_entropy"``.
    """
    entropy, dice = measurement.scalar(key), measurement.values(OVERALL)
    common = sorted(entropy.keys() & dice.keys())
    pairs = np.array([(entropy[patient], dice[patient]) for patient in common])
    if len(common) < FEWEST or (pairs == pairs[0]).all(axis=0).any():
        return None
    return float(spearmanr(pairs[:, 0], pairs[:, 1]).statistic)


def flagged_scans(measurement: Measurement) -> tuple[int, int]:
    """Scans that a prediction would flag as uncertain, and all in which a structure was found."""
    known = [
        entropy
        for facts in measurement.patients.values()
        for entropy in facts["scan_entropies"]
        if entropy is not None
    ]
    return sum(entropy > MOST_ENTROPY for entropy in known), len(known)


def calibration_places(findings: Findings) -> list[str]:
    """The sets on which confidences were counted."""
    return [p for p in findings.sets if any(reliability(findings, m, p) for m in findings.models)]


def entropy_places(findings: Findings) -> list[str]:
    """The sets on which entropies were measured."""
    return [p for p in findings.sets if any(entropies(findings, m, p)[0] for m in findings.models)]


def reliability(findings: Findings, model: str, place: str) -> Reliability | None:
    """The bins of a model on a set; None where there are none."""
    measurement = findings.plain(model, place)
    return None if measurement is None else pooled_reliability(measurement)


def entropies(findings: Findings, model: str, place: str) -> tuple[list[float], list[float]]:
    """Entropy and overall Dice of every patient that has both."""
    measurement = findings.plain(model, place)
    if measurement is None:
        return [], []
    entropy, dice = measurement.scalar("entropy"), measurement.values(OVERALL)
    common = sorted(entropy.keys() & dice.keys())
    return [entropy[patient] for patient in common], [dice[patient] for patient in common]
