"""Comparisons of two measurements on the same patients, and the primary ones among them.

Three comparisons of the overall Dice are primary: A against B on T1, A against B on T2, and the change from
T1 to T2 of A against that of B. Holm's correction covers those of them that were measured. Every other p
value of a report is exploratory and uncorrected.
"""

from collections.abc import Callable
from dataclasses import dataclass

from synthspine.eval.metrics.statistics import PairedDifference, holm, least_p, paired_difference
from synthspine.eval.metrics.structures import OVERALL
from synthspine.eval.metrics.table import DICE
from synthspine.eval.results.measurement import Measurement
from synthspine.eval.results.outcome import T1, T2, Findings


def gap(
    findings: Findings, place: str, measure: str = OVERALL, metric: str = DICE.key
) -> PairedDifference | None:
    """A minus B on a set without a change; None where one is missing or no patient has both."""
    return _pair(findings.plain("A", place), findings.plain("B", place), measure, metric)


def shift(findings: Findings, model: str, place: str, measure: str = OVERALL) -> PairedDifference | None:
    """A model on a set minus the same model on T1; None where one is missing or no patient has both."""
    return _pair(findings.plain(model, place), findings.plain(model, T1), measure)


def shift_difference(findings: Findings, place: str, measure: str = OVERALL) -> PairedDifference | None:
    """The change from T1 of A minus that of B, on the patients that have all four values.

    The first is A minus B on the set, the second A minus B on T1; the difference is positive where A keeps
    more. None where a measurement is missing or no patient has all four.
    """
    found = [findings.plain(model, contrast) for contrast in (place, T1) for model in ("A", "B")]
    present = [measurement.values(measure) for measurement in found if measurement is not None]
    if place == T1 or len(present) < len(found):
        return None
    a_there, b_there, a_t1, b_t1 = present
    return _compared(_minus(a_there, b_there), _minus(a_t1, b_t1))


ON_T1, ON_T2, SHIFT = "A − B on T1", "A − B on T2", "A − B, change from T1 to T2"
FAMILY: dict[str, Callable[[Findings], PairedDifference | None]] = {
    ON_T1: lambda findings: gap(findings, T1),
    ON_T2: lambda findings: gap(findings, T2),
    SHIFT: lambda findings: shift_difference(findings, T2),
}
"""The comparisons by name."""
GAPS = {T1: ON_T1, T2: ON_T2}
"""Name of the primary comparison of the models on a set."""
SHIFTS = {T2: SHIFT}
"""Name of the primary comparison of the changes from T1 to a set."""


@dataclass(frozen=True, slots=True)
class Primary:
    """A primary comparison."""

    pair: PairedDifference
    corrected: float  # p after Holm's correction over the family
    least: float  # its least value at these numbers of patients: all differences have one sign


def primary_comparisons(findings: Findings) -> dict[str, Primary]:
    """The measured comparisons of the family, by name, in its order."""
    pairs = {name: found for name, compare in FAMILY.items() if (found := compare(findings)) is not None}
    corrected = holm({name: found.p for name, found in pairs.items()})
    least = holm({name: least_p(found.n) for name, found in pairs.items()})
    return {name: Primary(pairs[name], corrected[name], least[name]) for name in pairs}


def _pair(
    first: Measurement | None, second: Measurement | None, measure: str, metric: str = DICE.key
) -> PairedDifference | None:
    if first is None or second is None:
        return None
    return _compared(first.values(measure, metric), second.values(measure, metric))


def _compared(first: dict[str, float], second: dict[str, float]) -> PairedDifference | None:
    found = paired_difference(first, second)
    return found if found.n else None


def _minus(first: dict[str, float], second: dict[str, float]) -> dict[str, float]:
    return {patient: first[patient] - second[patient] for patient in first.keys() & second.keys()}
