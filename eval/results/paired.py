"""Two measurements on the same patients: both means with their intervals, the difference, the paired test."""

from dataclasses import dataclass

from synthspine.eval.metrics.statistics import Interval, PairedDifference, paired_difference
from synthspine.eval.results.findings import OVERALL, T1, Findings, Measurement, interval_of


@dataclass(frozen=True, slots=True)
class Pair:
    """One measure of two measurements, on the patients in whom both are defined.

    Attributes:
        first: mean of the first, with its interval.
        second: mean of the second.
        paired: first minus second, with interval and test.
    """

    first: Interval
    second: Interval
    paired: PairedDifference

    @property
    def difference(self) -> Interval:
        """First minus second."""
        return self.paired.difference

    @property
    def n(self) -> int:
        """Patients."""
        return self.paired.difference.n


def pair(
    first: Measurement | None, second: Measurement | None, measure: str = OVERALL, metric: str = "dice"
) -> Pair | None:
    """Compare two measurements; None where one is missing or no patient has both."""
    if first is None or second is None:
        return None
    return _compared(first.values(measure, metric), second.values(measure, metric))


def gap(findings: Findings, place: str, measure: str = OVERALL) -> Pair | None:
    """A against B on a set as it is: the difference is A minus B."""
    return pair(findings.plain("A", place), findings.plain("B", place), measure)


def shift(findings: Findings, model: str, place: str, measure: str = OVERALL) -> Pair | None:
    """A model on a set against the same model on T1: the difference is what it gains by the change."""
    return pair(findings.plain(model, place), findings.plain(model, T1), measure)


def shift_difference(findings: Findings, place: str, measure: str = OVERALL) -> Pair | None:
    """What the change from T1 costs A against what it costs B, on the patients that have all four values.

    Returns:
        The first is A minus B on the set, the second A minus B on T1. Their difference is that of the
        changes, (A on the set - A on T1) - (B on the set - B on T1): positive where A keeps more. None where
        a measurement is missing or no patient has all four.
    """
    found = [findings.plain(model, contrast) for contrast in (place, T1) for model in ("A", "B")]
    present = [measurement.values(measure) for measurement in found if measurement is not None]
    if place == T1 or len(present) < len(found):
        return None
    a_there, b_there, a_t1, b_t1 = present
    return _compared(_minus(a_there, b_there), _minus(a_t1, b_t1))


def _compared(first: dict[str, float], second: dict[str, float]) -> Pair | None:
    common = first.keys() & second.keys()
    means = [interval_of({patient: values[patient] for patient in common}) for values in (first, second)]
    if means[0] is None or means[1] is None:
        return None
    return Pair(means[0], means[1], paired_difference(first, second))


def _minus(first: dict[str, float], second: dict[str, float]) -> dict[str, float]:
    return {patient: first[patient] - second[patient] for patient in first.keys() & second.keys()}
