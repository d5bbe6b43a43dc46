"""The primary comparisons: few, fixed whatever is measured, and corrected for being several.

Three, all of the overall Dice on the same patients: A against B on T1, A against B on T2, and what the change
from T1 to T2 costs A against what it costs B. Holm's correction is over those of them that were measured.
Every other p value of a report is exploratory: it is shown as it is, and claims nothing by itself.
"""

from collections.abc import Callable
from dataclasses import dataclass

from synthspine.eval.metrics.statistics import holm, least_p
from synthspine.eval.results.findings import T1, T2, Findings
from synthspine.eval.results.paired import Pair, gap, shift_difference

Compare = Callable[[Findings], Pair | None]
ON_T1, ON_T2, SHIFT = "A − B on T1", "A − B on T2", "A − B, change from T1 to T2"
FAMILY: dict[str, Compare] = {
    ON_T1: lambda findings: gap(findings, T1),
    ON_T2: lambda findings: gap(findings, T2),
    SHIFT: lambda findings: shift_difference(findings, T2),
}
"""The comparisons by name."""
GAPS = {T1: ON_T1, T2: ON_T2}
"""Name of the primary comparison of the models on a set."""
SHIFTS = {T2: SHIFT}
"""Name of the primary comparison of what the change from T1 to a set costs them."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Primary:
    """A primary comparison.

    Attributes:
        pair: what is compared, with interval and test.
        corrected: p after Holm's correction over the family.
        least: the least that ``corrected`` can be with so many patients, if all differences of all the
            comparisons had one sign.
    """

    pair: Pair
    corrected: float
    least: float


def primary_comparisons(findings: Findings) -> dict[str, Primary]:
    """Those of the family that were measured, by name, in its order."""
    pairs = {name: found for name, compare in FAMILY.items() if (found := compare(findings)) is not None}
    corrected = holm({name: found.paired.p for name, found in pairs.items()})
    least = holm({name: least_p(found.n) for name, found in pairs.items()})
    return {
        name: Primary(pair=found, corrected=corrected[name], least=least[name])
        for name, found in pairs.items()
    }
