"""Tables of the sets as they are, model by model: structures, classes, vertebrae, worst patients."""

from collections.abc import Mapping, Sequence
from typing import Any

from synthspine.eval.report.tables import (
    NOT_DEFINED,
    Cell,
    Row,
    Table,
    interval_note,
    mm_cell,
    score,
    score_cell,
    share_cell,
)
from synthspine.eval.results.findings import OVERALL, Findings, Measurement, as_interval, model_name, set_name
from synthspine.gen.core.anatomy import STRUCTURES, label_scheme

WORST = 6
"""Patients that are named of each model."""
_DISTANCES = ("HD95, mm", "ASSD, mm")
_RATES = ("missed", "invented")
_READ = (
    "HD95: the larger of the two directed 95th percentiles; ASSD: average symmetric surface distance; NSD: "
    "share of the surface within the tolerance. Missed: of the slices that have it, those in which not a "
    "pixel of it was found; invented: of the slices without it, those with a pixel of it. n: patients in the "
    "mean Dice; another n stands beside its mean."
)


def structure_table(findings: Findings) -> Table:
    """All metrics of every structure."""
    rows: list[Row] = []
    for place in findings.sets:
        for structure in STRUCTURES:
            for model in findings.models:
                measurement = findings.plain(model, place)
                if measurement is not None:
                    scores = _scores(measurement.summary["structures"][structure], ("nsd_1mm", "nsd_2mm"))
                    rows.append((set_name(place), structure, model, *scores))
    return Table(
        name="structures",
        title="Every structure, every metric",
        head=(
            "Set",
            "Structure",
            "Model",
            "Dice",
            *_DISTANCES,
            "NSD 1 mm",
            "NSD 2 mm",
            *_RATES,
            "n",
        ),
        rows=tuple(rows),
        keys=3,
        note=f"{interval_note(rows)} {_READ}",
    )


def class_table(findings: Findings) -> Table:
    """Every class of each model's own scheme."""
    # The order of the scheme with most classes; what it does not know comes last.
    order = label_scheme("14").class_names
    rows: list[Row] = []
    for place in findings.sets:
        found = {
            model: measurement.summary["classes"]
            for model in findings.models
            if (measurement := findings.plain(model, place)) is not None
        }
        known = {name for classes in found.values() for name in classes}
        for name in [*(name for name in order if name in known), *sorted(known - set(order))]:
            rows += [
                (set_name(place), name, model, *_scores(classes[name], ("nsd_2mm",)))
                for model, classes in found.items()
                if name in classes
            ]
    return Table(
        name="classes",
        title="Every class",
        head=("Set", "Class", "Model", "Dice", *_DISTANCES, "NSD 2 mm", *_RATES, "n"),
        rows=tuple(rows),
        keys=3,
        note=(
            f"{interval_note(rows)} Classes of the model's own scheme; ranks above six are left out. {_READ}"
        ),
        folded=True,
    )


def instance_table(findings: Findings) -> Table:
    """Vertebrae counted one by one."""
    rows: list[Row] = []
    for place in findings.sets:
        for model in findings.models:
            measurement = findings.plain(model, place)
            if measurement is not None:
                rows.append((set_name(place), model, *_instances(measurement)))
    return Table(
        name="instances",
        title="Vertebrae as instances",
        head=("Set", "Model", "in the truth", "found", "right rank", "extra", "Dice", *_DISTANCES, "n"),
        rows=tuple(rows),
        keys=2,
        note=(
            "Found: matched one to one with Dice of at least .5. Right rank: found, and with the right "
            "number from the bottom; both are shares of the vertebrae in the truth. Extra: answered where "
            "there is none. Dice: over all vertebrae of the truth, 0 for a missed one; HD95 and ASSD: over "
            f"the found ones alone. {interval_note(rows)}"
        ),
    )


def worst_table(findings: Findings) -> Table:
    """The patients in whom each model does worst on real slices, the worst first."""
    rows: list[Row] = []
    for model in findings.models:
        on_sets = [
            (place, m) for place in findings.real_sets if (m := findings.plain(model, place)) is not None
        ]
        found = [
            (dice, place, patient, measurement)
            for place, measurement in on_sets
            for patient, dice in measurement.values(OVERALL).items()
        ]
        for dice, place, patient, measurement in sorted(found, key=lambda case: case[:3])[:WORST]:
            parts = [measurement.values(structure).get(patient) for structure in STRUCTURES]
            cells = [NOT_DEFINED if part is None else score(part) for part in parts]
            rows.append((model_name(model), patient, set_name(place), Cell(score(dice), strong=True), *cells))
    return Table(
        name="worst",
        title="Patients with the lowest overall Dice",
        head=("Model", "Patient", "Set", "overall", *STRUCTURES),
        rows=tuple(rows),
        keys=3,
    )


def _scores(found: Mapping[str, Any], shares: Sequence[str]) -> list[Cell | str]:
    """Dice, distances, shares of the surface, and rates of a structure or class."""
    n = found["dice"]["n"]
    return [
        score_cell(as_interval(found["dice"])),
        *(mm_cell(as_interval(found[metric]), n=n) for metric in ("hd95_mm", "assd_mm")),
        *(score_cell(as_interval(found[metric]), n=n) for metric in shares),
        *(share_cell(found[rate]["count"], found[rate]["n"]) for rate in _RATES),
        str(n),
    ]


def _instances(measurement: Measurement) -> list[Cell | str]:
    found = measurement.summary["instances"]
    dice = as_interval(found["dice"])
    return [
        str(found["truth"]),
        share_cell(found["found"], found["truth"]),
        share_cell(found["rank_right"], found["truth"]),
        str(found["extra"]),
        score_cell(dice),
        *(mm_cell(as_interval(found[metric]), n=found["dice"]["n"]) for metric in ("hd95_mm", "assd_mm")),
        str(0 if dice is None else dice.n),
    ]
