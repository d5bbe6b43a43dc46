"""Bootstrap intervals of means over patients, and paired tests between models.

The patient is the unit: slices of one patient are not independent. Intervals are bias-corrected and
accelerated (BCa) bootstraps over patients. Intervals of few patients are too narrow (``COVERAGE``), so that
captions name n and the coverage (``narrowness``).

Source: Efron 1987, "Better Bootstrap Confidence Intervals"; Holm 1979.
"""

import math
from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from scipy.stats import bootstrap, wilcoxon

LEVEL = 0.95
SIGNIFICANT = 0.05
_PER_CENT = (50, 72, 81, 84, 86, 88, 88, 89, 90, 90, 91, 91, 91, 92, 92, 92, 92, 93)
COVERAGE = dict(enumerate(_PER_CENT, start=2))
"""Per cent of cases in which an interval holds the true mean of normal values, by number of patients
(simulated, docs/evaluation.md)."""
DRAWS = 2000
# Smaller differences are rounding errors.
_DECIMALS = 12

Values = Mapping[str, float | None]


@dataclass(frozen=True, kw_only=True, slots=True)
class Interval:
    """A mean over ``n`` patients, nan for none, and its 95 % interval, nan with fewer than two patients."""

    mean: float
    low: float
    high: float
    n: int


@dataclass(frozen=True, kw_only=True, slots=True)
class PairedDifference:
    """First minus second on the patients that have a value in both: their means, and the mean difference.

    Patients are counted in whom the first or the second is larger; ``p`` is that of the two-sided Wilcoxon
    signed-rank test of the differences, nan where there is no patient.
    """

    first: Interval
    second: Interval
    difference: Interval
    first_larger: int
    second_larger: int
    p: float

    @property
    def n(self) -> int:
        """Patients that have a value in both."""
        return self.difference.n

    @property
    def clear(self) -> bool:
        """Whether the interval excludes 0 and p, uncorrected, is below .05."""
        return (self.difference.low > 0 or self.difference.high < 0) and self.p < SIGNIFICANT


def bootstrap_mean(values: Values, *, draws: int = DRAWS, seed: int = 0) -> Interval:
    """Mean over patients with its 95 % BCa bootstrap interval; values that are None or nan are left out.

    Raises ValueError if a value is infinite.
    """
    known = defined(values)
    n = len(known)
    middle = mean(list(known.values()))
    if n < 2:
        return Interval(mean=middle, low=math.nan, high=math.nan, n=n)
    # BCa compares resampled means with the mean: rounding errors must not decide.
    rounded = tuple(round(known[patient], _DECIMALS) for patient in sorted(known))
    # The BCa interval of equal values is not defined.
    low, high = _bca_interval(rounded, draws, seed) if len(set(rounded)) > 1 else (middle, middle)
    return Interval(mean=middle, low=low, high=high, n=n)


@lru_cache(maxsize=8192)
def _bca_interval(numbers: tuple[float, ...], draws: int, seed: int) -> tuple[float, float]:
    """Ends of the interval of numbers that are not all equal; cached, a report shows many means twice."""
    rng = np.random.Generator(np.random.PCG64(seed))
    found = bootstrap((numbers,), np.mean, confidence_level=LEVEL, n_resamples=draws, method="BCa", rng=rng)
    low, high = map(float, found.confidence_interval)
    return low, high


def defined(values: Values) -> dict[str, float]:
    """The patients that have a number.

    Raises:
        ValueError: a value is infinite.
    """
    known = {name: float(value) for name, value in values.items() if value is not None}
    for patient, value in known.items():
        if math.isinf(value):
            raise ValueError(f"patient {patient}: {value} is not a finite number")
    return {patient: value for patient, value in known.items() if not math.isnan(value)}


def mean(values: Sequence[float]) -> float:
    """Mean of the values that are not nan; nan where there is none."""
    known = [value for value in values if not math.isnan(value)]
    return math.fsum(known) / len(known) if known else math.nan


def narrowness(n: int) -> str:
    """A sentence on the coverage of intervals of ``n`` patients; empty for fewer than 2, or 20 and more."""
    if n not in COVERAGE:
        return ""
    return (
        f"With {n} patients such intervals are narrow: they hold the true mean in about {COVERAGE[n]} % of "
        f"cases, not {100 * LEVEL:.0f} %."
    )


def paired_difference(first: Values, second: Values) -> PairedDifference:
    """First minus second, patient by patient, with intervals and test.

    Patients without a number in both are left out. Raises ValueError if a value is infinite.
    """
    a, b = defined(first), defined(second)
    common = sorted(a.keys() & b.keys())
    differences = {patient: round(a[patient] - b[patient], _DECIMALS) for patient in common}
    return PairedDifference(
        first=bootstrap_mean({patient: a[patient] for patient in common}),
        second=bootstrap_mean({patient: b[patient] for patient in common}),
        difference=bootstrap_mean(differences),
        first_larger=sum(difference > 0 for difference in differences.values()),
        second_larger=sum(difference < 0 for difference in differences.values()),
        p=signed_rank_test(list(differences.values())),
    )


def signed_rank_test(differences: list[float]) -> float:
    """The p value of the two-sided Wilcoxon signed-rank test.

    Differences of 0 are left out, as Wilcoxon did; p is 1 where all are 0, nan where there are none. The test
    is exact for up to 50 differences without ties and up to 13 with ties, and asymptotic above. With fewer
    than 6 unequal differences p cannot fall below .05.
    """
    unequal = [difference for difference in differences if difference != 0]
    if not unequal:
        return 1.0 if differences else math.nan
    return float(wilcoxon(unequal, method="auto").pvalue)


def least_p(n: int) -> float:
    """The smallest p that ``n`` patients can give (all differences of one sign); 1 with none."""
    return 2.0 ** (1 - n) if n else 1.0


def holm(p_values: Mapping[Hashable, float]) -> dict[Hashable, float]:
    """Holm's correction of the p values of one family of tests; nan stays nan and is not counted."""
    tests = sorted((p, place, name) for place, (name, p) in enumerate(p_values.items()) if not math.isnan(p))
    corrected: dict[Hashable, float] = dict(p_values)
    least = 0.0
    for rank, (p, _, name) in enumerate(tests):
        least = max(least, min(1.0, p * (len(tests) - rank)))
        corrected[name] = least
    return corrected
