"""Arms of the study against the reference: the numbers behind the pictures, which are those of the tables."""

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace

from benchmarks import reality_table as table
from benchmarks.reality_arms import REFERENCE
from benchmarks.reality_results import Row
from benchmarks.reality_slices import CONTRASTS
from synthspine.eval.metrics.statistics import Interval

CONTROLS = ("control", "fine-tuning")
"""Groups that stand last, as one."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Compared:
    """An arm against the reference: differences of overall Dice at 1x, on the runs and patients of both.

    Attributes:
        name: of the arm.
        group: of the arm; one for all controls.
        overall: mean and interval over patients, as in the table.
        seeds: the mean of every seed alone.
        contrasts: the mean of every contrast alone.
        other_code: whether code has made it that has not made the reference.
    """

    name: str
    group: str
    overall: Interval
    seeds: dict[int, float]
    contrasts: dict[str, float]
    other_code: bool

    def dots(self) -> Iterator[tuple[str, float, str]]:
        """Name, place and kind of what is drawn besides the interval; a single seed is the arm itself."""
        yield from ((contrast, value, contrast) for contrast, value in self.contrasts.items())
        if len(self.seeds) > 1:
            yield from ((f"seed {seed}", value, "seed") for seed, value in self.seeds.items())
        yield table.OVERALL, self.overall.mean, "overall"


def section_of(rows: Iterable[Row]) -> tuple[str, list[Row]]:
    """The runs of the budget and folds with the most arms, the longer ones of several, and what they are."""
    found: dict[tuple[int, int, str], list[Row]] = defaultdict(list)
    for row in rows:
        found[row.key.budget, row.key.batch, row.key.fold.partition("/")[2]].append(row)
    best = max(found, key=lambda key: (len({row.key.arm for row in found[key]}), key))
    budget, batch, folds = best
    return f"{budget:,} steps of {batch} samples, {f'{folds} folds' if folds else 'fixed split'}", found[best]


def compare(lines: Mapping[str, table.Line]) -> list[Compared]:
    """Every arm against the reference, by group, the lowest difference first; controls last.

    Groups are in the order of their lowest difference. Arms that share no run with the reference are left
    out.
    """
    reference = lines.get(REFERENCE)
    if reference is None:
        return []
    found = [_compared(line, reference) for line in lines.values() if line is not reference]
    found = sorted((arm for arm in found if arm.overall.n), key=lambda arm: arm.overall.mean)
    groups = list(dict.fromkeys(arm.group for arm in found))
    return sorted(found, key=lambda arm: (arm.group == CONTROLS[0], groups.index(arm.group)))


def _compared(line: table.Line, reference: table.Line) -> Compared:
    def alone(place: int, value: int | str) -> float:
        cells = {cell: row for cell, row in line.cells.items() if cell[place] == value}
        return table.difference(replace(line, cells=cells), reference).mean

    seeds = sorted({cell[0] for cell in line.cells.keys() & reference.cells.keys()})
    return Compared(
        name=line.name,
        group=CONTROLS[0] if line.group in CONTROLS else line.group,
        overall=table.difference(line, reference),
        seeds={seed: alone(0, seed) for seed in seeds},
        contrasts={contrast: alone(2, contrast) for contrast in CONTRASTS},
        other_code=not line.codes <= reference.codes,
    )
