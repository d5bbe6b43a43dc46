"""Tables that compare: A with B, every contrast with T1; the primary comparisons, corrected."""

from synthspine.eval.metrics.statistics import LEVEL, SIGNIFICANT, Interval, least_p
from synthspine.eval.report.tables import (
    NOT_DEFINED,
    Cell,
    Row,
    Table,
    difference_cell,
    interval_note,
    probability,
    score_cell,
)
from synthspine.eval.results.findings import MEASURES, OVERALL, T1, Findings, model_name, set_name
from synthspine.eval.results.paired import Pair, gap, shift, shift_difference
from synthspine.eval.results.primary import FAMILY, Primary, primary_comparisons

TEST = "p: Wilcoxon signed-rank test on the patients' values, two-sided, exact for few patients"
_LIMIT = f"{SIGNIFICANT:g}".removeprefix("0")
_LEAVES_OUT = f"Bold: the {100 * LEVEL:.0f} % interval of the difference leaves out 0 and the test"
BOLD = f"{_LEAVES_OUT}, uncorrected, has p below {_LIMIT}."
EXPLORATORY = (
    f"{TEST}; exploratory, without correction: only the table of primary comparisons is corrected for being "
    "several."
)
BETWEEN = "A − B"
DIFFERENCE = "In brackets: the 95 % bootstrap interval of the difference."


def headline_table(findings: Findings) -> Table:
    """Overall Dice of A and B on every real set, and their difference."""
    rows: list[Row] = []
    for place in findings.real_sets:
        pair = gap(findings, place)
        if pair is None:
            cells = [score_cell(_overall(findings, model, place)) for model in ("A", "B")]
            n = max(findings.patients(model, place) for model in findings.models)
            rows.append((set_name(place), *cells, *[Cell(NOT_DEFINED)] * 2, str(n)))
        else:
            rows.append(
                (
                    set_name(place),
                    *_means(pair),
                    difference_cell(pair.difference),
                    _first_larger(pair),
                    str(pair.n),
                )
            )
    return Table(
        name="headline",
        title="Overall Dice of the two models on real slices",
        head=("Contrast", "A", "B", BETWEEN, "A better", "n"),
        rows=tuple(rows),
        note=f"{interval_note(rows)} Overall: mean of vertebra, disc and canal.",
    )


def primary_table(findings: Findings) -> Table:
    """The comparisons of the fixed family, corrected for being several."""
    found = primary_comparisons(findings)
    rows = tuple((name, *_primary(comparison)) for name, comparison in found.items())
    absent = [name for name in FAMILY if name not in found]
    note = (
        f"Overall Dice. The family is fixed, whatever is measured: {'; '.join(FAMILY)}. "
        + (f"Not measured here: {'; '.join(absent)}. " if absent else "")
        + "The change is (A on T2 − A on T1) − (B on T2 − B on T1), patient by patient. "
        f"{interval_note(rows, DIFFERENCE)} {TEST}. Holm: corrected for {len(found)}. Least: what p and the "
        "corrected p can reach with so many patients, where all differences have one sign; if the second is "
        f"not below {_LIMIT}, nothing "
        f"can be called significant after correction. {_LEAVES_OUT}, corrected, has p below {_LIMIT}."
    )
    return Table(
        name="primary",
        title="Primary comparisons",
        head=("Comparison", "difference", "p", "p, Holm", "least p", "least p, Holm", "positive", "n"),
        rows=rows,
        note=note,
    )


def gap_table(findings: Findings) -> Table:
    """A against B: on rendered maps, real T1 and the other contrasts, per structure."""
    rows: list[Row] = []
    for place in findings.sets:
        for measure in MEASURES:
            pair = gap(findings, place, measure)
            if pair is not None:
                rows.append((set_name(place), measure, *_means(pair), *_tested(pair)))
    return Table(
        name="gap",
        title="A against B: Dice on the same patients",
        head=("Set", "Structure", "A", "B", BETWEEN, "p", "A better", "n"),
        rows=tuple(rows),
        keys=2,
        note=f"{interval_note(rows)} {BOLD} {EXPLORATORY}",
    )


def shift_table(findings: Findings) -> Table:
    """Every model on the other contrasts against itself on T1, and the change of A against that of B."""
    rows: list[Row] = []
    for place in findings.real_sets:
        change = f"T1 → {set_name(place)}"
        for model in findings.models if place != T1 else ():
            for measure in MEASURES:
                pair = shift(findings, model, place, measure)
                if pair is not None:
                    rows.append((change, model_name(model), measure, *reversed(_means(pair)), *_tested(pair)))
        for measure in MEASURES:
            pair = shift_difference(findings, place, measure)
            if pair is not None:
                ends = [difference_cell(mean) for mean in (pair.second, pair.first)]
                rows.append((change, BETWEEN, measure, *ends, *_tested(pair)))
    return Table(
        name="shift",
        title="Change of contrast: Dice on the same patients",
        head=("Change", "Model", "Structure", "before", "after", "after − before", "p", "rises", "n"),
        rows=tuple(rows),
        keys=3,
        note=(
            f"{interval_note(rows)} {BETWEEN}: the difference of the models before and after, so that its "
            "change is the difference of their changes, (A after − A before) − (B after − B before), on the "
            f"patients that have all four values; positive where A keeps more. {BOLD} {EXPLORATORY}"
        ),
    )


def _overall(findings: Findings, model: str, place: str) -> Interval | None:
    measurement = findings.plain(model, place)
    return None if measurement is None else measurement.interval(OVERALL)


def _means(pair: Pair) -> list[Cell]:
    return [score_cell(pair.first), score_cell(pair.second)]


def _difference(pair: Pair) -> Cell:
    return difference_cell(pair.difference, strong=pair.paired.clear)


def _first_larger(pair: Pair) -> str:
    return f"{pair.paired.first_larger} of {pair.n}"


def _tested(pair: Pair) -> list[Cell | str]:
    return [_difference(pair), probability(pair.paired.p), _first_larger(pair), str(pair.n)]


def _primary(comparison: Primary) -> list[Cell | str]:
    pair = comparison.pair
    strong = pair.paired.clear and comparison.corrected < SIGNIFICANT
    chances = (pair.paired.p, comparison.corrected, least_p(pair.n), comparison.least)
    return [
        difference_cell(pair.difference, strong=strong),
        *map(probability, chances),
        _first_larger(pair),
        str(pair.n),
    ]
