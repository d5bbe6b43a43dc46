"""Every table of the report: its rows and its columns; titles and notes are in ``texts.toml``.

``TABLES`` lists them by name.
"""

from collections.abc import Callable, Mapping
from functools import partial
from operator import itemgetter
from typing import Any

from synthspine.eval.metrics.statistics import SIGNIFICANT, Interval, PairedDifference, least_p
from synthspine.eval.metrics.table import DICE, Quantity
from synthspine.eval.report.facts import facts, listing
from synthspine.eval.report.tables import (
    NOT_DEFINED,
    Cell,
    Columns,
    Table,
    format_p,
    format_value,
    interval_cell,
    share_cell,
    table,
)
from synthspine.eval.results.measurement import Kind, Measurement, interval_of
from synthspine.eval.results.outcome import (
    CONTINUA,
    CORRUPTIONS,
    LEVELS,
    RESOLUTIONS,
    T1,
    Findings,
    model_name,
    set_name,
)
from synthspine.eval.results.paired import FAMILY, gap, primary_comparisons, shift, shift_difference
from synthspine.eval.segmentation.presence import MOST_ENTROPY

BETWEEN = "A − B"
ENTROPY = Quantity(title="entropy, nats", unit="nats", higher_is_better=False)
WORST = 6
"""Patients of each model in the table of the worst."""


def headline(findings: Findings) -> Table:
    """Overall Dice of A and B on every real set, and their difference."""
    subjects = []
    for place in findings.real_sets:
        pair = gap(findings, place)
        measured = [findings.plain(model, place) for model in ("A", "B")]
        means = [None if m is None else m.interval() for m in measured]
        n = max(len(m.patients) for m in measured if m is not None)
        cells = (*map(interval_cell, means), Cell(NOT_DEFINED), NOT_DEFINED, str(n))
        if pair is not None:
            means, difference = [pair.first, pair.second], interval_cell(pair.difference, signed=True)
            cells = (*map(interval_cell, means), difference, _first_larger(pair), str(pair.n))
        subjects.append(((set_name(place),), cells))
    columns, names = _listed("A", "B", BETWEEN, "A better", "n"), findings.structures
    return table(
        "headline",
        subjects,
        columns,
        structures=" and ".join(filter(None, (", ".join(names[:-1]), names[-1]))),
    )


def primary(findings: Findings) -> Table:
    """The comparisons of the fixed family, corrected for multiple testing."""
    found = primary_comparisons(findings)
    columns: Columns = {
        "difference": lambda row: interval_cell(
            row.pair.difference, signed=True, strong=row.pair.clear and row.corrected < SIGNIFICANT
        ),
        "p": lambda row: format_p(row.pair.p),
        "p, Holm": lambda row: format_p(row.corrected),
        "least p": lambda row: format_p(least_p(row.pair.n)),
        "least p, Holm": lambda row: format_p(row.least),
        "positive": lambda row: _first_larger(row.pair),
        "n": lambda row: str(row.pair.n),
    }
    absent = "; ".join(name for name in FAMILY if name not in found)
    return table(
        "primary",
        [((name,), comparison) for name, comparison in found.items()],
        columns,
        family="; ".join(FAMILY),
        absent=f"Not measured here: {absent}. " if absent else "",
        corrected=len(found),
    )


def gaps(findings: Findings) -> Table:
    """A against B on every set, per structure."""
    subjects = [
        ((set_name(place), measure), pair)
        for place in findings.sets
        for measure in findings.measures
        if (pair := gap(findings, place, measure)) is not None
    ]
    columns: Columns = {
        "A": lambda pair: interval_cell(pair.first),
        "B": lambda pair: interval_cell(pair.second),
        **_tested(BETWEEN, "A better"),
    }
    return table("gap", subjects, columns)


def metric_gaps(findings: Findings) -> Table:
    """A against B on every set, in every metric, overall."""
    subjects = [
        ((set_name(place), metric.title), (pair, metric))
        for place in findings.sets
        for key, metric in findings.metrics.items()
        if (pair := gap(findings, place, metric=key)) is not None
    ]
    columns: Columns = {
        "A": lambda row: interval_cell(row[0].first, row[1]),
        "B": lambda row: interval_cell(row[0].second, row[1]),
        BETWEEN: lambda row: interval_cell(row[0].difference, row[1], signed=True, strong=row[0].clear),
        "p": lambda row: format_p(row[0].p),
        "A better": lambda row: _first_better(*row),
        "n": lambda row: str(row[0].n),
    }
    return table("gap_metrics", subjects, columns, scores=findings.definitions)


def shifts(findings: Findings) -> Table:
    """Every model on the other contrasts against itself on T1, and the change of A against that of B."""
    subjects = []
    for place in [place for place in findings.real_sets if place != T1]:
        compare = {model: partial(shift, findings, model, place) for model in findings.models}
        compare[BETWEEN] = partial(shift_difference, findings, place)
        for model, compared in compare.items():
            for measure in findings.measures:
                if (pair := compared(measure)) is not None:
                    names = (f"T1 → {set_name(place)}", model_name(model), measure)
                    subjects.append((names, (pair, model == BETWEEN)))
    columns: Columns = {
        "before": lambda row: interval_cell(row[0].second, signed=row[1]),
        "after": lambda row: interval_cell(row[0].first, signed=row[1]),
        **_tested("after − before", "rises", pair_of=lambda row: row[0]),
    }
    return table("shift", subjects, columns)


def structures(findings: Findings) -> Table:
    """All metrics of every structure."""
    subjects = [
        ((set_name(place), structure, measurement.model), (measurement, structure))
        for place in findings.sets
        for structure in findings.structures
        for measurement in findings.on_sets(place)
    ]
    return table("structures", subjects, _scored(findings, "structures"), scores=findings.definitions)


def classes(findings: Findings) -> Table:
    """Every class of each model's own scheme, in the order of the scheme with most classes."""
    subjects = []
    for place in findings.sets:
        measured = findings.on_sets(place)
        by_size = sorted(measured, key=lambda m: len(m.classes), reverse=True)
        names = dict.fromkeys(name for m in by_size for name in m.classes)
        subjects += [
            ((set_name(place), name, m.model), (m, name))
            for name in names
            for m in measured
            if name in m.classes
        ]
    return table("classes", subjects, _scored(findings, "classes"), scores=findings.definitions)


def instances(findings: Findings) -> Table:
    """Vertebrae counted one by one; their metrics are those that their record holds."""
    records = [record["instances"] for m in findings.on_sets() for record in m.patients.values()]
    columns: Columns = {
        "in the truth": lambda m: str(m.vertebrae("found").n),
        "found": lambda m: share_cell(m.vertebrae("found")),
        "right rank": lambda m: share_cell(m.vertebrae("rank_right")),
        "extra": lambda m: str(m.vertebrae("extra").count),
        **{
            metric.title: partial(_vertebrae_mean, key, metric)
            for key, metric in findings.metrics.items()
            if any(key in record for record in records)
        },
        "n": lambda m: str(_count(m.vertebrae_interval(DICE.key))),
    }
    subjects = [((set_name(m.set), m.model), m) for m in findings.on_sets()]
    return table("instances", subjects, columns)


def worst(findings: Findings) -> Table:
    """The patients with the lowest overall Dice of each model on real slices, the lowest first."""
    subjects = []
    for model in findings.models:
        measured = [m for place in findings.real_sets for m in findings.on_sets(place) if m.model == model]
        cases = [(dice, m.set, patient, m) for m in measured for patient, dice in m.values().items()]
        for dice, place, patient, measurement in sorted(cases, key=lambda case: case[:3])[:WORST]:
            values = (measurement.values(structure).get(patient) for structure in findings.structures)
            cells = (Cell(format_value(dice), strong=True), *map(format_value, values))
            subjects.append(((model_name(model), patient, set_name(place)), cells))
    return table("worst", subjects, _listed(*findings.measures))


def study(findings: Findings, name: str) -> Table:
    """Dice over the values of a study, per set, model and measure."""
    subjects = [
        ((set_name(place), model, measure), curve)
        for place in findings.places(name)
        for model in findings.models
        for measure in findings.measures
        if (curve := findings.curve(name, model, place, measure))
    ]
    columns: Columns = {
        findings.value_name(name, value): partial(_at, value) for value in findings.values(name)
    }
    columns |= {"n": lambda curve: str(_most_patients(curve))}
    dropped = findings.outcome.get("dropped", {}).get(name)
    dropped = f"Not measured: {dropped}." if dropped else ""
    return table(name, subjects, columns, level=LEVELS.get(name), dropped=dropped)


def corruption(findings: Findings) -> Table:
    """Overall Dice without corruption and at the strongest level of each."""
    subjects = []
    for name, kind in CORRUPTIONS.items():
        level = max(findings.values(name), default=0.0)
        for place in findings.places(name) if level > 0 else ():
            curves = [findings.curve(name, model, place) for model in findings.models]
            cells = [interval_cell(curve.get(value)) for curve in curves for value in (0.0, level)]
            n = max(map(_most_patients, curves))
            subjects.append(((f"{kind}, {level:g}", set_name(place)), (*cells, str(n))))
    heads = [f"{model}, {strength}" for model in findings.models for strength in ("none", "strongest")]
    levels = "; ".join(f"{kind}: {LEVELS[name]}" for name, kind in CORRUPTIONS.items())
    return table("corruption", subjects, _listed(*heads, "n"), levels=levels)


def calibration(findings: Findings) -> Table:
    """Calibration of the confidence, and correlation of the entropies with Dice."""
    columns: Columns = {
        "ECE per patient": lambda m: interval_cell(interval_of(m.scalar("ece"))),
        "ECE, pooled": partial(_pooled, "ece"),
        "confidence": partial(_pooled, "confidence"),
        "accuracy": partial(_pooled, "accuracy"),
        "entropy, nats": lambda m: interval_cell(interval_of(m.scalar("entropy")), ENTROPY),
        "entropy and Dice": lambda m: format_value(m.rank_correlation("entropy"), signed=True),
        "structure entropy, nats": lambda m: interval_cell(
            interval_of(m.scalar("structure_entropy")), ENTROPY
        ),
        "structure entropy and Dice": lambda m: format_value(
            m.rank_correlation("structure_entropy"), signed=True
        ),
        "flagged": lambda m: share_cell(m.flagged_scans),
        "n": lambda m: str(len(m.patients)),
    }
    subjects = [((set_name(m.set), m.model), m) for m in findings.on_sets()]
    return table("calibration", subjects, columns, most_entropy=MOST_ENTROPY)


TABLES: dict[str, Callable[[Findings], Table]] = {
    "headline": headline,
    "primary": primary,
    "gap": gaps,
    "gap_metrics": metric_gaps,
    "shift": shifts,
    "structures": structures,
    "classes": classes,
    "instances": instances,
    "corruption": corruption,
    "calibration": calibration,
    "worst": worst,
    "models": partial(facts, kind="models", name_of=model_name),
    "sets": partial(facts, kind="sets", name_of=set_name),
    "versions": partial(listing, name="versions", entry="versions"),
    "configuration": partial(listing, name="configuration", entry="options"),
    **{name: partial(study, name=name) for name in (*RESOLUTIONS, *CORRUPTIONS, *CONTINUA)},
}
"""Tables by name."""


def _listed(*heads: str) -> Columns:
    """Columns of rows that are cells already."""
    return {head: itemgetter(place) for place, head in enumerate(heads)}


def _tested(
    difference: str, larger: str, pair_of: Callable[[Any], PairedDifference] = lambda pair: pair
) -> Columns:
    """Difference of a pair with its test, number of patients with a larger first, number of patients."""
    return {
        difference: lambda row: interval_cell(
            pair_of(row).difference, signed=True, strong=pair_of(row).clear
        ),
        "p": lambda row: format_p(pair_of(row).p),
        larger: lambda row: _first_larger(pair_of(row)),
        "n": lambda row: str(pair_of(row).n),
    }


def _first_better(pair: PairedDifference, metric: Quantity) -> str:
    return f"{pair.first_larger if metric.higher_is_better else pair.second_larger} of {pair.n}"


def _first_larger(pair: PairedDifference) -> str:
    return f"{pair.first_larger} of {pair.n}"


def _scored(findings: Findings, kind: Kind) -> Columns:
    """Metrics and rates of a structure or class; the subject is its measurement and name."""
    return {
        **{m.title: partial(_mean, key, m, kind) for key, m in findings.metrics.items()},
        **{r.title: partial(_rate, key, kind) for key, r in findings.rates.items()},
        "n": lambda subject: str(_count(subject[0].interval(subject[1], kind=kind))),
    }


def _mean(key: str, metric: Quantity, kind: Kind, subject: tuple[Measurement, str]) -> Cell:
    measurement, name = subject
    n = _count(measurement.interval(name, kind=kind))
    return interval_cell(measurement.interval(name, key, kind), metric, n=n)


def _rate(key: str, kind: Kind, subject: tuple[Measurement, str]) -> Cell:
    measurement, name = subject
    return share_cell(measurement.rate(name, key, kind))


def _vertebrae_mean(key: str, metric: Quantity, measurement: Measurement) -> Cell:
    n = _count(measurement.vertebrae_interval(DICE.key))
    return interval_cell(measurement.vertebrae_interval(key), metric, n=n)


def _count(interval: Interval | None) -> int:
    return 0 if interval is None else interval.n


def _at(value: float, curve: Mapping[float, Interval]) -> Cell:
    return interval_cell(curve.get(value), n=_most_patients(curve))


def _most_patients(curve: Mapping[float, Interval]) -> int:
    return max((interval.n for interval in curve.values()), default=0)


def _pooled(name: str, measurement: Measurement) -> str:
    found = measurement.reliability
    return NOT_DEFINED if found is None else format_value(getattr(found, name))
