"""The tables of the study, from its CSV: one line per arm, and between two marks of a page.

All numbers are Dice. Of a patient they are means over seeds, of an arm means over patients; overall is the
mean of vertebra, disc and canal, and over the contrasts that a patient has. Differences are taken run by
run: same seed, fold, patient and contrast.
"""

import dataclasses
import math
import re
import statistics
from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from benchmarks.reality_arms import REFERENCE, Arm, Training
from benchmarks.reality_choices import all_arms
from benchmarks.reality_results import Row
from benchmarks.reality_slices import CONTRASTS
from benchmarks.reality_training import EMA, RAW
from synthspine.eval.metrics.statistics import Interval, bootstrap_mean, paired_difference
from synthspine.gen import preset
from synthspine.gen.config import config_diff
from synthspine.gen.core.anatomy import STRUCTURES
from synthspine.shards.storage.atomic import write_text

OVERALL = "overall"
NOTHING = "–"
NONE_MEASURED = "None was measured."
OTHER_CODE = "†"
RAW_NAME = f"{REFERENCE}, last weights"

Cell = tuple[int, str, str, float, str]
"""Seed, fold, contrast, factor, patient."""
Cells = Mapping[Cell, Row]


@dataclass(frozen=True, kw_only=True, slots=True)
class Line:
    """The runs of one arm that a line of a table is made of.

    Attributes:
        name: of the arm.
        group: of the arm.
        steps: of a run.
        cells: the newest row of every cell.
        codes: hashes of the code that made them.
    """

    name: str
    group: str
    steps: int
    cells: Cells
    codes: frozenset[str]


def lines_of(rows: Iterable[Row]) -> dict[str, Line]:
    """Lines by name, of rows of one budget, in the order of the study.

    Of an arm whose settings or generator have changed, the newest version alone is taken. Arms that the study
    does not have are left out.
    """
    by_name: dict[str, list[Row]] = defaultdict(list)
    for row in rows:
        if row.weights == EMA:
            by_name[row.key.arm].append(row)
        elif row.weights == RAW and row.key.arm == REFERENCE:
            by_name[RAW_NAME].append(row)
    order = [name for arm in all_arms() for name in ((arm, RAW_NAME) if arm == REFERENCE else (arm,))]
    lines = [_line(name, by_name[name]) for name in order if name in by_name]
    # Arms of a group stand together, where its first one does.
    groups = list(dict.fromkeys(line.group for line in lines))
    return {line.name: line for line in sorted(lines, key=lambda line: groups.index(line.group))}


def _line(name: str, rows: list[Row]) -> Line:
    last = rows[-1]
    chosen = [
        row
        for row in rows
        if (row.key.settings, row.key.generator) == (last.key.settings, last.key.generator)
    ]
    cells = {(r.key.seed, r.key.fold, r.contrast, r.factor, r.patient): r for r in chosen}
    return Line(
        name=name,
        group=last.group,
        steps=last.steps,
        cells=cells,
        codes=frozenset(row.key.code for row in cells.values()),
    )


def per_patient(cells: Cells, measure: str, factor: float, contrast: str | None = None) -> dict[str, float]:
    """Dice of every patient: mean over seeds, then over contrasts if none is named.

    Args:
        cells: of an arm.
        measure: a structure, or ``OVERALL``.
        factor: pixel size as a multiple of the slices'.
        contrast: ``"t1"``, ``"t2"``, or None for both.
    """
    found: dict[str, dict[str, list[float]]] = defaultdict(lambda: defaultdict(list))
    for (_, _, place, coarse, patient), row in cells.items():
        value = _value(row, measure)
        if coarse == factor and contrast in (None, place) and value is not None:
            found[patient][place].append(value)
    return {
        patient: statistics.fmean(statistics.fmean(values) for values in places.values())
        for patient, places in found.items()
    }


def difference(line: Line, reference: Line) -> Interval:
    """Overall Dice at 1x against the reference, over the cells of both: mean, interval over patients."""
    common = line.cells.keys() & reference.cells.keys()
    first, second = (
        per_patient({cell: part.cells[cell] for cell in sorted(common)}, OVERALL, 1.0)
        for part in (line, reference)
    )
    return paired_difference(first, second).difference


def seed_deviation(cells: Cells) -> float:
    """Standard deviation over seeds of the mean overall Dice at 1x; nan with one seed."""
    means = []
    for seed in sorted({cell[0] for cell in cells}):
        own = {cell: row for cell, row in cells.items() if cell[0] == seed}
        means.append(_mean(per_patient(own, OVERALL, 1.0)))
    return statistics.stdev(means) if len(means) > 1 else math.nan


def table(rows: Iterable[Row]) -> list[str]:
    """Markdown lines of the table of one budget; empty without rows."""
    lines = lines_of(rows)
    if not lines:
        return []
    reference = lines.get(REFERENCE)
    structures = " / ".join(STRUCTURES)
    text = [
        f"| arm | T1: {structures} | T1 | T2: {structures} | T2 | overall | against `{REFERENCE}` | 2x | 4x "
        "| patients | seeds | sd of seeds | steps |",
        "|" + "---|" * 13,
    ]
    group = ""
    for line in lines.values():
        if line.group != group:
            group = line.group
            text.append(f"| *{group}* |" + " |" * 12)
        text.append(_text(line, reference))
    return text


def _text(line: Line, reference: Line | None) -> str:
    cells = line.cells
    overall = bootstrap_mean(per_patient(cells, OVERALL, 1.0))
    against = NOTHING
    if reference is not None and line is not reference:
        against = signed_interval(difference(line, reference))
        if not line.codes <= reference.codes:
            against += f" {OTHER_CODE}"
    entries = [f"`{line.name}`" if line.name != RAW_NAME else f"`{REFERENCE}`, last weights"]
    for contrast in CONTRASTS:
        parts = [_mean(per_patient(cells, structure, 1.0, contrast)) for structure in STRUCTURES]
        entries += [" / ".join(map(dice, parts)), dice(_mean(per_patient(cells, OVERALL, 1.0, contrast)))]
    entries += [interval(overall), against]
    entries += [dice(_mean(per_patient(cells, OVERALL, factor))) for factor in (2.0, 4.0)]
    entries += [_counted(cells), str(len({cell[0] for cell in cells})), dice(seed_deviation(cells))]
    return "| " + " | ".join([*entries, f"{line.steps:,}"]) + " |"


def _counted(cells: Cells) -> str:
    """How many patients there are, and how many on each contrast where that differs."""
    each = {place: len(per_patient(cells, OVERALL, 1.0, place)) for place in CONTRASTS}
    total = len(per_patient(cells, OVERALL, 1.0))
    if set(each.values()) == {total}:
        return str(total)
    return f"{total} ({', '.join(f'{place.upper()} {count}' for place, count in each.items())})"


def page_text(rows: list[Row]) -> str:
    """Everything between the marks: the tables of every budget, and what the arms in them change."""
    if not rows:
        return "No run is in the CSV."
    arms = all_arms()
    text: list[str] = []
    sections: dict[tuple[int, int, str], list[Row]] = defaultdict(list)
    for row in rows:
        sections[row.key.budget, row.key.batch, _kind(row.key.fold)].append(row)
    for (budget, batch, kind), own in sorted(sections.items(), reverse=True):
        text += [f"### {budget:,} steps of {batch} samples, {kind}", ""]
        text += [*(table(own) or [NONE_MEASURED]), "", "The same on the slices whose mask is their own:", ""]
        text += [*(table(row for row in own if row.own_mask) or [NONE_MEASURED]), ""]
        if gone := sorted({row.key.arm for row in own} - arms.keys()):
            text += [
                f"Left out, since the study no longer has them: {', '.join(map('`{}`'.format, gone))}.",
                "",
            ]
    there = {row.key.arm for row in rows}
    text += ["### What the arms change", "", "| arm | what | changes |", "|---|---|---|"]
    text += _explained(arm for arm in arms.values() if arm.name in there)
    return "\n".join(text)


def _kind(fold: str) -> str:
    return "fixed split" if "/" not in fold else f"{fold.partition('/')[2]} folds"


def _explained(arms: Iterable[Arm]) -> list[str]:
    """Lines that say what each arm asks, and what it changes of the reference."""
    generator, training = preset(REFERENCE), dataclasses.asdict(Training())
    text = []
    for arm in arms:
        changes = config_diff(arm.generator(), generator) if arm.preset == REFERENCE else []
        changes += [
            f"{name}: {value}"
            for name, value in dataclasses.asdict(arm.training).items()
            if value != training[name]
        ]
        text.append(f"| `{arm.name}` | {arm.question} | {'; '.join(changes) or NOTHING} |")
    return text


def write_between(page: Path, name: str, text: str) -> None:
    """Replace what stands between ``<!-- name -->`` and ``<!-- end of name -->`` of a page.

    Raises:
        ValueError: the page has no such marks, or not once.
        OSError: it cannot be read or written.
    """
    content = page.read_text(encoding="utf-8")
    begin, end = f"<!-- {name} -->", f"<!-- end of {name} -->"
    marks = re.compile(f"{re.escape(begin)}.*?{re.escape(end)}", re.DOTALL)
    if len(marks.findall(content)) != 1:
        raise ValueError(f"{page}: {begin} and {end} must stand in it once, in this order")
    write_text(page, marks.sub(lambda _: f"{begin}\n{text}\n{end}", content))


def dice(value: float) -> str:
    """A Dice without its leading zero."""
    return NOTHING if math.isnan(value) else f"{value:.3f}".replace("0.", ".", 1)


def interval(found: Interval) -> str:
    """Mean with its 95 % interval."""
    return f"{dice(found.mean)} ({dice(found.low)} to {dice(found.high)})"


def signed_interval(found: Interval) -> str:
    """Difference with its 95 % interval."""
    return f"{signed(found.mean)} ({signed(found.low)} to {signed(found.high)})"


def signed(value: float) -> str:
    """A difference with its sign."""
    if math.isnan(value):
        return NOTHING
    text = f"{value:+.3f}".replace("0.", ".", 1)
    return text.replace("-", "−")


def _value(row: Row, measure: str) -> float | None:
    return row.overall if measure == OVERALL else row.dice[measure]


def _mean(values: Mapping[str, float]) -> float:
    return statistics.fmean(values.values()) if values else math.nan
