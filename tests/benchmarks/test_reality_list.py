"""The list counts the runs of an arm as it is now apart from those of an arm that has changed."""

from dataclasses import replace

import pytest

from benchmarks.reality_choices import all_arms
from benchmarks.reality_list import arm_lines
from benchmarks.reality_results import RunKey

SPACING_MM = 1.0


@pytest.fixture(scope="module")
def key() -> RunKey:
    """A run of the reference as it is."""
    arm = all_arms()["spine"]
    return RunKey(
        arm=arm.name,
        settings=arm.settings_hash(SPACING_MM),
        generator=arm.generator_hash(SPACING_MM),
        code="c",
        seed=0,
        budget=500,
        batch=4,
        fold="fixed",
    )


def counted(keys, name="spine"):
    (line,) = [line for line in arm_lines(keys, SPACING_MM) if line.split()[:1] == [name] and "runs" in line]
    return line.removesuffix(all_arms()[name].question).split()[1:]


def test_runs_of_the_present_arm_are_counted_whatever_code_made_them(key):
    assert counted([]) == ["0", "runs"]
    assert counted([key, replace(key, seed=1), replace(key, code="d")]) == ["3", "runs"]


def test_runs_of_other_settings_or_another_generator_are_told_as_old(key):
    old = [replace(key, settings="s"), replace(key, generator="g"), replace(key, generator="g", seed=1)]
    assert counted([key, *old]) == ["1", "runs", "+3", "old"]
    assert counted([key, *old], "b") == ["0", "runs"]


def test_every_arm_is_listed_once_below_its_group(key):
    lines = arm_lines([key], SPACING_MM)
    arms = all_arms()
    assert [line.split()[0] for line in lines if line.startswith("  ")] == [
        arm.name
        for group in dict.fromkeys(a.group for a in arms.values())
        for arm in arms.values()
        if arm.group == group
    ]
    assert lines[0] == "reference"


def test_arms_that_the_study_does_not_have_are_told_last(key):
    gone = [replace(key, arm="gone"), replace(key, arm="gone", seed=1)]
    assert arm_lines([key, *gone], SPACING_MM)[-1] == "no arms of the study any more: gone (2 runs)"
