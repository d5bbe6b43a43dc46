"""Tables of the studies: Dice over resolution, corruption and contrast; calibration."""

from synthspine.eval.metrics.statistics import Interval
from synthspine.eval.prediction.quality import MOST_ENTROPY
from synthspine.eval.report.tables import (
    MINUS,
    NOT_DEFINED,
    Cell,
    Row,
    Table,
    interval_note,
    score,
    score_cell,
    share_cell,
    signed,
)
from synthspine.eval.results.findings import (
    CONTINUUM,
    CORRUPTIONS,
    IN_PLANE,
    LEVELS,
    MEASURES,
    PHYSICAL,
    THROUGH_PLANE,
    Findings,
    Measurement,
    interval_of,
    set_name,
)
from synthspine.eval.results.reliability import Reliability, flagged_scans, pooled_reliability, self_check

TRUTH = "The input is coarser by the factor; the truth keeps its full resolution."
RENDERED = "Images rendered from label maps of the measured patients, the same anatomy in every column."
STUDIES = {
    IN_PLANE: ("In-plane resolution: Dice over the pixel size, as a multiple of the grid's", TRUTH),
    THROUGH_PLANE: (
        "Through-plane resolution: Dice over the slice thickness, as a multiple of the slices' distance",
        f"{TRUTH} All factors are measured on the same slices, those with stored neighbours enough on both "
        "sides for the largest one; 1x is those slices as they are.",
    ),
    **{
        study: (f"{name.capitalize()}: Dice over the level", f"Level: {LEVELS[study]}.")
        for study, name in CORRUPTIONS.items()
    },
    CONTINUUM: ("From T1 (0) to T2 (1) by measured tissue means: Dice over alpha", RENDERED),
    PHYSICAL: ("Contrasts by the physics of spin echoes: Dice by protocol", RENDERED),
}
"""Title and note of every study's table."""


def study_table(findings: Findings, study: str) -> Table:
    """Dice over the values of a study, per set, model and measure."""
    values = findings.values(study)
    rows: list[Row] = []
    for place in findings.places(study):
        for model in findings.models:
            for measure in MEASURES:
                curve = {
                    point.value: point.interval for point in findings.curve(study, model, place, measure)
                }
                if curve:
                    n = max(interval.n for interval in curve.values())
                    cells = [score_cell(curve.get(value), n=n) for value in values]
                    rows.append((set_name(place), model, measure, *cells, str(n)))
    title, note = STUDIES[study]
    dropped = findings.outcome.get("dropped", {}).get(study)
    if dropped:
        note = f"{note} Not measured: {dropped}."
    return Table(
        name=study,
        title=title,
        head=("Set", "Model", "Structure", *(findings.value_name(study, value) for value in values), "n"),
        rows=tuple(rows),
        keys=3,
        note=f"{interval_note(rows)} {note}",
        folded=True,
    )


def corruption_table(findings: Findings) -> Table:
    """Overall Dice without corruption and at the strongest level of each."""
    rows: list[Row] = []
    for study, name in CORRUPTIONS.items():
        level = max(findings.values(study), default=0.0)
        for place in findings.places(study) if level > 0 else ():
            cells: list[Cell] = []
            counts = [0]
            for model in findings.models:
                found = {point.value: point.interval for point in findings.curve(study, model, place)}
                cells += [score_cell(found.get(value)) for value in (0.0, level)]
                counts += [interval.n for interval in found.values()]
            rows.append((f"{name}, {level:g}", set_name(place), *cells, str(max(counts))))
    heads = [title for model in findings.models for title in (f"{model}, none", f"{model}, strongest")]
    levels = "; ".join(f"{name}: {LEVELS[study]}" for study, name in CORRUPTIONS.items())
    return Table(
        name="corruption",
        title="Corrupted input: overall Dice at the strongest level",
        head=("Corruption and level", "Set", *heads, "n"),
        rows=tuple(rows),
        keys=2,
        note=f"{interval_note(rows)} Level: {levels}.",
    )


def calibration_table(findings: Findings) -> Table:
    """How far confidence can be trusted, and whether entropy tells a poor answer."""
    rows: list[Row] = []
    for place in findings.sets:
        for model in findings.models:
            measurement = findings.plain(model, place)
            if measurement is None:
                continue
            rows.append(
                (
                    set_name(place),
                    model,
                    score_cell(interval_of(measurement.scalar("ece"))),
                    *_pooled(pooled_reliability(measurement)),
                    *_checked(measurement, "entropy"),
                    *_checked(measurement, "structure_entropy"),
                    share_cell(*flagged_scans(measurement)),
                    str(len(measurement.patients)),
                )
            )
    return Table(
        name="calibration",
        title="Calibration and self-check",
        head=(
            "Set",
            "Model",
            "ECE per patient",
            "ECE, pooled",
            "confidence",
            "accuracy",
            "entropy, nats",
            "entropy and Dice",
            "structure entropy, nats",
            "structure entropy and Dice",
            "flagged",
            "n",
        ),
        rows=tuple(rows),
        keys=2,
        note=(
            f"{interval_note(rows)} ECE: expected calibration error in 15 bins of equal width, all annotated "
            "pixels, background among them. Entropy: mean over all annotated pixels and the model's own "
            "classes; structure entropy: that of background and structures over the pixels found as "
            "structure. Entropy and Dice: Spearman's rank correlation with the overall Dice over patients; "
            f"the closer to {MINUS}1, the better it tells that a mask is poor. Flagged: scans whose "
            f"structure entropy is above {MOST_ENTROPY:g}, which a prediction would flag as uncertain."
        ),
    )


def _checked(measurement: Measurement, key: str) -> tuple[Cell, str]:
    """Mean of an entropy, and its correlation with Dice."""
    check = self_check(measurement, key)
    return _entropy(interval_of(measurement.scalar(key))), NOT_DEFINED if check is None else signed(check)


def _pooled(pooled: Reliability | None) -> tuple[str, str, str]:
    if pooled is None:
        return (NOT_DEFINED,) * 3
    return score(pooled.ece), score(pooled.confidence), score(pooled.accuracy)


def _entropy(interval: Interval | None) -> Cell:
    if interval is None:
        return Cell(NOT_DEFINED)
    return Cell(f"{interval.mean:.3f}", f"[{interval.low:.3f}, {interval.high:.3f}]")
