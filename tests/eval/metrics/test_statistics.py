import itertools
import math

import numpy as np
import pytest
import scipy.stats
from hypothesis import given
from hypothesis import strategies as st

from synthspine.eval.metrics.statistics import (
    COVERAGE,
    bootstrap_mean,
    holm,
    narrowness,
    paired_difference,
    signed_rank_test,
)


def patients(*values):
    return {str(number): value for number, value in enumerate(values)}


def exact_p(differences):
    """Two-sided, by all signs of the ranks."""
    ranks = scipy.stats.rankdata(np.abs(differences))
    observed = abs((np.sign(differences) * ranks).sum())
    sums = [abs(np.dot(signs, ranks)) for signs in itertools.product((-1, 1), repeat=len(ranks))]
    return np.mean([total >= observed - 1e-9 for total in sums])


def bca_by_formula(values, draws):
    """Efron 1987: percentiles moved by the bias of the resampled means and their acceleration."""
    n, normal = len(values), scipy.stats.norm
    means = np.random.default_rng(1).choice(values, (draws, n)).mean(axis=1)
    bias = normal.ppf(((means < values.mean()).mean() + (means <= values.mean()).mean()) / 2)
    left_out = np.array([np.delete(values, place).mean() for place in range(n)])
    spread = left_out.mean() - left_out
    acceleration = (spread**3).sum() / (6 * (spread**2).sum() ** 1.5)
    moved = bias + normal.ppf([0.025, 0.975])
    return np.quantile(means, normal.cdf(bias + moved / (1 - acceleration * moved)))


@pytest.mark.parametrize("n", [6, 40])
def test_interval_is_that_of_the_formula(n):
    values = np.random.default_rng(0).gamma(2, size=n)
    ours = bootstrap_mean(patients(*values), draws=20000)
    assert ours.mean == pytest.approx(values.mean())
    assert (ours.low, ours.high) == pytest.approx(bca_by_formula(values, 20000), abs=0.03)


def test_interval_of_equal_values_is_that_value():
    ours = bootstrap_mean(patients(0.8, 0.8, 0.8))
    assert ours.low == ours.mean == ours.high == pytest.approx(0.8)


def test_interval_covers_the_true_mean_as_often_as_it_says():
    rng = np.random.default_rng(2)
    hits = 0
    for trial in range(300):
        interval = bootstrap_mean(patients(*rng.normal(0.8, 0.1, 30)), draws=500, seed=trial)
        hits += interval.low <= 0.8 <= interval.high
    assert 0.90 <= hits / 300 <= 0.98


@pytest.mark.parametrize("n", [3, 6, 12])
def test_intervals_of_few_patients_are_as_narrow_as_is_said(n):
    values = np.random.default_rng(n).normal(0, 1, (1500, n))
    intervals = [bootstrap_mean(patients(*row), draws=500) for row in values]
    hits = np.mean([interval.low <= 0 <= interval.high for interval in intervals])
    assert 100 * hits == pytest.approx(COVERAGE[n], abs=4)


def test_narrowness_is_told_below_twenty_patients():
    assert narrowness(6) == (
        "With 6 patients such intervals are narrow: they hold the true mean in about 86 % of cases, not 95 %."
    )
    assert list(COVERAGE) == list(range(2, 20)) and list(COVERAGE.values()) == sorted(COVERAGE.values())
    assert narrowness(20) == narrowness(1) == narrowness(0) == ""


def test_seed_and_order_of_patients():
    values = patients(0.5, 0.7, 0.9, 0.2, 0.85)
    backwards = dict(reversed(values.items()))
    assert bootstrap_mean(values) == bootstrap_mean(backwards)
    assert bootstrap_mean(values, seed=1) != bootstrap_mean(values)


def test_patients_without_a_value_are_left_out():
    interval = bootstrap_mean({"a": 0.5, "b": None, "c": math.nan, "d": 0.7})
    assert (interval.mean, interval.n) == (pytest.approx(0.6), 2)


def test_none_and_one_patient_have_no_interval():
    none, one = bootstrap_mean({}), bootstrap_mean({"a": 0.5})
    assert (none.n, one.n, one.mean) == (0, 1, 0.5)
    assert all(math.isnan(end) for end in (none.mean, none.low, none.high, one.low, one.high))


@given(st.lists(st.floats(-100, 100), min_size=2, max_size=12))
def test_interval_holds_the_mean_within_the_values(values):
    interval = bootstrap_mean(patients(*values), draws=50)
    rounding = 1e-9
    assert min(values) - rounding <= interval.low <= interval.high <= max(values) + rounding
    assert min(values) - rounding <= interval.mean <= max(values) + rounding


def test_refuses_infinite_values():
    with pytest.raises(ValueError, match="patient 7: inf"):
        bootstrap_mean({"7": math.inf})


def test_difference_is_over_common_patients():
    first = {"a": 0.9, "b": 0.8, "c": 0.7, "d": None}
    second = {"a": 0.5, "b": 0.9, "e": 0.1, "d": 0.3}
    result = paired_difference(first, second)
    assert (result.n, result.first_larger) == (2, 1)
    assert result.difference.mean == pytest.approx(0.15)
    assert (result.first.mean, result.second.mean) == (pytest.approx(0.85), pytest.approx(0.7))


def test_difference_of_pairs_is_surer_than_the_means():
    rng = np.random.default_rng(3)
    base = rng.uniform(0.2, 0.9, 20)
    first, second = patients(*base + 0.05 + rng.normal(0, 0.01, 20)), patients(*base)
    result = paired_difference(first, second)
    assert 0.04 < result.difference.low < result.difference.high < 0.06
    assert bootstrap_mean(first).low < bootstrap_mean(second).high
    assert result.p < 1e-5


def test_swapping_turns_the_sign():
    first, second = patients(0.9, 0.8, 0.4, 0.7, 0.65), patients(0.7, 0.9, 0.3, 0.2, 0.6)
    one, other = paired_difference(first, second), paired_difference(second, first)
    assert one.difference.mean == pytest.approx(-other.difference.mean)
    assert one.p == other.p


@pytest.mark.parametrize(
    "differences",
    [
        [0.1, 0.2, 0.3, 0.4, 0.5, 0.6],
        [0.3, -0.1, 0.25, 0.7, -0.05, 0.4, 0.11],
        [0.2, 0.2, -0.1, 0.3, 0.3, 0.1],
    ],
)
def test_p_is_exact_for_few_patients_with_and_without_ties(differences):
    assert signed_rank_test(differences) == pytest.approx(exact_p(differences))


def test_six_patients_that_all_differ_alike_are_the_fewest_for_five_percent():
    assert signed_rank_test([0.1 * k for k in range(1, 7)]) == pytest.approx(2 / 64)
    assert signed_rank_test([0.1 * k for k in range(1, 6)]) > 0.05


def test_equal_patients_are_left_out_of_the_test():
    assert signed_rank_test([0.0, 0.1, 0.2, 0.0, -0.3]) == signed_rank_test([0.1, 0.2, -0.3])
    assert signed_rank_test([0.0, 0.0]) == 1.0
    assert math.isnan(signed_rank_test([]))


def test_rounding_makes_no_difference_and_no_order():
    result = paired_difference({"a": 0.1 + 0.2, "b": 0.5}, {"a": 0.3, "b": 0.5})
    assert (result.p, result.first_larger) == (1.0, 0)


def test_holm_by_hand():
    corrected = holm({"a": 0.01, "b": 0.04, "c": 0.03, "d": math.nan, "e": 0.9})
    assert math.isnan(corrected.pop("d"))
    assert corrected == pytest.approx({"a": 0.04, "c": 0.09, "b": 0.09, "e": 0.9})
    assert holm({}) == {}


@given(st.lists(st.floats(0, 1), min_size=1, max_size=8))
def test_holm_keeps_the_order_and_never_lowers(p_values):
    corrected = holm(dict(enumerate(p_values)))
    for (place, p), (other, q) in itertools.product(enumerate(p_values), repeat=2):
        assert p <= corrected[place] <= 1
        assert p > q or corrected[place] <= corrected[other]
