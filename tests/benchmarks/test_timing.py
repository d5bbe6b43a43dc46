"""Tasks run in turns; preparation is not timed."""

import time
from contextlib import contextmanager
from functools import partial

import pytest

from benchmarks.timing import Task, time_in_turns


def recorded(name, calls):
    return Task.of(name, partial(calls.append, name))


def test_every_round_begins_with_another_task():
    calls = []
    time_in_turns([recorded(name, calls) for name in "abc"], 3)
    assert "".join(calls) == "abc" + "abc" + "bca" + "cab"


def test_the_first_run_warms_up_and_every_round_adds_a_time():
    (found,) = time_in_turns([recorded("a", [])], 4)
    assert found.name == "a" and found.first_s >= 0
    assert len(found.wall_s) == len(found.cpu_s) == 4


def test_only_the_work_is_timed():
    @contextmanager
    def slow_preparation():
        time.sleep(0.05)
        yield lambda: time.sleep(0.001)
        time.sleep(0.05)

    (found,) = time_in_turns([Task(name="a", prepare=slow_preparation)], 2)
    assert 0.001 <= found.median_s < 0.05


def test_short_work_is_repeated_within_its_turn():
    (found,) = time_in_turns([Task.of("a", lambda: time.sleep(0.002))], 1, least_s=0.02)
    assert 2 <= len(found.wall_s) <= 10


@pytest.mark.parametrize(("budget_s", "rounds"), [(0.0, 3), (60.0, 5)])
def test_three_rounds_run_whatever_the_budget(budget_s, rounds):
    (found,) = time_in_turns([recorded("a", [])], 5, budget_s=budget_s)
    assert len(found.wall_s) == rounds


def test_medians_are_of_the_runs():
    (found,) = time_in_turns([recorded("a", [])], 1)
    found.wall_s, found.cpu_s = [1.0, 9.0, 2.0], [3.0, 4.0, 50.0]
    assert (found.median_s, found.median_cpu_s) == (2.0, 4.0)
