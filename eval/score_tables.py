"""Tables of the sets as they are, model by model: structures, classes, vertebrae, worst patients."""

from eval.findings import OVERALL, Findings, Measurement, as_interval, model_name, set_name
from eval.tables import (
    INTERVAL,
    NOT_DEFINED,
    Cell,
    Row,
    Table,
    mm_cell,
    score,
    score_cell,
    share_cell,
)
from gen.anatomy import STRUCTURES, label_scheme

WORST = 6
"""Patients that are named of each model."""


def structure_table(findings: Findings) -> Table:
    """All metrics of every structure."""
    rows: list[Row] = []
    for place in findings.sets:
        for structure in STRUCTURES:
            for model in findings.models:
                measurement = findings.plain(model, place)
                if measurement is not None:
                    rows.append((set_name(place), structure, model, *_metrics(measurement, structure)))
    return Table(
        name="structures",
        title="Every structure, every metric",
        head=(
            "Set",
            "Structure",
            "Model",
            "Dice",
            "HD95, mm",
            "ASSD, mm",
            "NSD 1 mm",
            "NSD 2 mm",
            "missed",
            "invented",
            "n",
        ),
        rows=tuple(rows),
        keys=3,
        note=(
            f"{INTERVAL} HD95: the larger of the two directed 95th percentiles; ASSD: average symmetric "
            "surface distance; NSD: share of the surface within the tolerance. Missed: patients who have the "
            "structure and in whom nothing of it was found; invented: the other way round. n: patients in "
            "the mean Dice; another n stands beside its mean."
        ),
    )


def class_table(findings: Findings) -> Table:
    """Dice of every class of each model's own scheme."""
    columns = [(model, place) for place in findings.sets for model in findings.models]
    found = {
        (model, place): measurement.summary["classes"]
        for model, place in columns
        if (measurement := findings.plain(model, place)) is not None
    }
    # The order of the scheme with most classes; what it does not know comes last.
    order = label_scheme("14").class_names
    known = {name for classes in found.values() for name in classes}
    names = [*(name for name in order if name in known), *sorted(known - set(order))]
    counts = {key: findings.patients(*key) for key in columns}
    titles = [f"{model}, {set_name(place)} (n {counts[model, place]})" for model, place in columns]
    rows: list[Row] = []
    for name in names:
        intervals = {key: as_interval(found.get(key, {}).get(name, {"n": 0})) for key in columns}
        rows.append((name, *(score_cell(interval, n=counts[key]) for key, interval in intervals.items())))
    return Table(
        name="classes",
        title="Dice of every class",
        head=("Class", *titles),
        rows=tuple(rows),
        note=(
            f"{INTERVAL} Classes of the model's own scheme; ranks above six are left out. n at the head: "
            "patients; another n stands beside its mean."
        ),
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
        head=("Set", "Model", "in the truth", "found", "right rank", "extra", "Dice", "n"),
        rows=tuple(rows),
        keys=2,
        note=(
            "Found: matched one to one with Dice of at least .5. Right rank: found, and with the right "
            "number from the bottom; both are shares of the vertebrae in the truth. Extra: answered where "
            "there is none. Dice: over all vertebrae of the truth, 0 for a missed one; mean over patients "
            "with its 95 % bootstrap interval."
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


def _metrics(measurement: Measurement, structure: str) -> list[Cell | str]:
    found = measurement.summary["structures"][structure]
    n = found["dice"]["n"]
    return [
        score_cell(as_interval(found["dice"])),
        *(mm_cell(as_interval(found[metric]), n=n) for metric in ("hd95_mm", "assd_mm")),
        *(score_cell(as_interval(found[metric]), n=n) for metric in ("nsd_1mm", "nsd_2mm")),
        *(
            share_cell(found[rate]["count"], found[rate]["n"])
            for rate in ("miss_rate", "false_positive_rate")
        ),
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
        str(0 if dice is None else dice.n),
    ]
