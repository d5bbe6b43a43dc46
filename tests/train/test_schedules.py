import pytest

from synthspine.train.step import class_balance, learning_rate


def test_the_rate_rises_to_the_highest_and_falls_to_a_hundredth():
    rates = [learning_rate(step, 200, 0.5) for step in range(200)]
    top = rates.index(max(rates))
    assert max(rates) == pytest.approx(0.5)
    assert top == pytest.approx(10, abs=1)
    assert rates[: top + 1] == sorted(rates[: top + 1])
    assert rates[top:] == sorted(rates[top:], reverse=True)
    assert rates[-1] == pytest.approx(0.005)


@pytest.mark.parametrize("steps", [1, 2, 3])
def test_short_runs_have_positive_rates(steps):
    assert all(0 < learning_rate(step, steps, 0.1) <= 0.1 for step in range(steps))


def test_small_classes_are_lifted_at_first_and_no_more_at_the_end():
    values = [class_balance(step, 200) for step in range(200)]
    assert values[0] == 1
    assert values[90] == pytest.approx(0.5)
    assert values[:180] == sorted(values[:180], reverse=True)
    assert min(values[:180]) > 0 == max(values[180:])


def test_in_a_long_run_small_classes_are_lifted_for_no_longer_than_it_takes_to_find_them():
    assert class_balance(500, 50_000) == pytest.approx(0.5)
    assert class_balance(1000, 50_000) == class_balance(40_000, 50_000) == 0
