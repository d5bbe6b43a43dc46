"""The list of the arms, with how many runs of each are in the CSV."""

from collections import Counter
from collections.abc import Iterable

from benchmarks.reality_choices import all_arms
from benchmarks.reality_results import RunKey


def arm_lines(keys: Iterable[RunKey], spacing_mm: float) -> list[str]:
    """Lines of text: the arms by group, and last the arms of the CSV that the study does not have.

    A run is counted as old whose settings or generator are not those that the arm has now. The code that made
    it does not matter here.

    Args:
        keys: of the runs in the CSV, each once.
        spacing_mm: pixel size of the slices, on which the generator's settings depend.
    """
    runs = Counter((key.arm, key.settings, key.generator) for key in keys)
    all_runs: Counter[str] = Counter()
    for (name, *_), count in runs.items():
        all_runs[name] += count
    arms = all_arms()
    text = []
    for group in dict.fromkeys(arm.group for arm in arms.values()):
        text.append(group)
        for arm in arms.values():
            if arm.group == group:
                present = runs[arm.name, arm.settings_hash(spacing_mm), arm.generator_hash(spacing_mm)]
                old = all_runs[arm.name] - present
                counted = f"{present:4} runs {f'+{old} old' if old else '':8}"
                text.append(f"  {arm.name:26} {counted} {arm.question}")
    if gone := [f"{name} ({all_runs[name]} runs)" for name in all_runs if name not in arms]:
        text.append(f"no arms of the study any more: {', '.join(gone)}")
    return text
