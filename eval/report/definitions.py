"""Every table of the report: its rows and its columns; titles and notes are in ``texts.toml``.

``TABLES`` lists them by name.
"""

from collections.abc import Callable, Iterable, Mapping
from functools import partial
from operator import itemgetter
from typing import Any

from synthspine.eval.metrics.statistics import SIGNIFICANT, Interval, PairedDifference, least_p
from synthspine.eval.prediction.quality import MOST_ENTROPY
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
from synthspine.eval.results.measurement import (
    DISTANCES,
    ENTROPY,
    MEASURES,
    METRICS,
    Means,
    Measurement,
    interval_of,
)
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
from synthspine.gen.core.anatomy import STRUCTURES
from synthspine.gen.core.schemes import label_scheme

BETWEEN = "A − B"
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
    return table("headline", subjects, _listed("A", "B", BETWEEN, "A better", "n"))


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
        for measure in MEASURES
        if (pair := gap(findings, place, measure)) is not None
    ]
    columns: Columns = {
        "A": lambda pair: interval_cell(pair.first),
        "B": lambda pair: interval_cell(pair.second),
        **_tested(BETWEEN, "A better"),
    }
    return table("gap", subjects, columns)


def shifts(findings: Findings) -> Table:
    """Every model on the other contrasts against itself on T1, and the change of A against that of B."""
    subjects = []
    for place in [place for place in findings.real_sets if place != T1]:
        compare = {model: partial(shift, findings, model, place) for model in findings.models}
        compare[BETWEEN] = partial(shift_difference, findings, place)
        for model, compared in compare.items():
            for measure in MEASURES:
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
        ((set_name(place), structure, measurement.model), measurement.scores("structures", structure))
        for place in findings.sets
        for structure in STRUCTURES
        for measurement in findings.on_sets(place)
    ]
    return table("structures", subjects, _scored(METRICS))


def classes(findings: Findings) -> Table:
    """Every class of each model's own scheme, in the order of the scheme with most classes."""
    order = label_scheme("14").class_names
    subjects = []
    for place in findings.sets:
        measured = findings.on_sets(place)
        known = {name for m in measured for name in m.classes}
        for name in [*(name for name in order if name in known), *sorted(known - set(order))]:
            having = [m for m in measured if name in m.classes]
            subjects += [((set_name(place), name, m.model), m.scores("classes", name)) for m in having]
    return table("classes", subjects, _scored(["dice", *DISTANCES, "nsd_2mm"]))


def instances(findings: Findings) -> Table:
    """Vertebrae counted one by one."""
    columns: Columns = {
        "in the truth": lambda vertebrae: str(vertebrae.found.n),
        "found": lambda vertebrae: share_cell(vertebrae.found),
        "right rank": lambda vertebrae: share_cell(vertebrae.rank_right),
        "extra": lambda vertebrae: str(vertebrae.extra),
        **_means(["dice", *DISTANCES]),
        "n": lambda vertebrae: str(vertebrae.n),
    }
    subjects = [((set_name(m.set), m.model), m.vertebrae) for m in findings.on_sets()]
    return table("instances", subjects, columns)


def worst(findings: Findings) -> Table:
    """The patients with the lowest overall Dice of each model on real slices, the lowest first."""
    subjects = []
    for model in findings.models:
        measured = [m for place in findings.real_sets for m in findings.on_sets(place) if m.model == model]
        cases = [(dice, m.set, patient, m) for m in measured for patient, dice in m.values().items()]
        for dice, place, patient, measurement in sorted(cases, key=lambda case: case[:3])[:WORST]:
            values = (measurement.values(structure).get(patient) for structure in STRUCTURES)
            cells = (Cell(format_value(dice), strong=True), *map(format_value, values))
            subjects.append(((model_name(model), patient, set_name(place)), cells))
    return table("worst", subjects, _listed("overall", *STRUCTURES))


def study(findings: Findings, name: str) -> Table:
    """Dice over the values of a study, per set, model and measure."""
    subjects = [
        ((set_name(place), model, measure), curve)
        for place in findings.places(name)
        for model in findings.models
        for measure in MEASURES
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


def _first_larger(pair: PairedDifference) -> str:
    return f"{pair.first_larger} of {pair.n}"


def _scored(metrics: Iterable[str]) -> Columns:
    """Metrics and rates of a structure or class."""
    return {
        **_means(metrics),
        "missed": lambda scores: share_cell(scores.missed),
        "invented": lambda scores: share_cell(scores.invented),
        "n": lambda scores: str(scores.n),
    }


def _means(metrics: Iterable[str]) -> Columns:
    return {METRICS[metric].title: partial(_mean, metric) for metric in metrics}


def _mean(metric: str, scores: Means) -> Cell:
    return interval_cell(scores.means[metric], METRICS[metric], n=scores.n)


def _at(value: float, curve: Mapping[float, Interval]) -> Cell:
    return interval_cell(curve.get(value), n=_most_patients(curve))


def _most_patients(curve: Mapping[float, Interval]) -> int:
    return max((interval.n for interval in curve.values()), default=0)


def _pooled(name: str, measurement: Measurement) -> str:
    found = measurement.reliability
    return NOT_DEFINED if found is None else format_value(getattr(found, name))
