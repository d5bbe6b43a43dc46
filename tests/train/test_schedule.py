import pytest

from train.schedule import learning_rate


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
