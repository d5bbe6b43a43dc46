"""The report: numbers as JSON and CSV, figures, and a short text made from the numbers."""

import csv
import io
import json
import math
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

from eval.benchmark import without_nan
from eval.compare import explain, reality_gaps
from eval.figures import Overlay, contrast_figure, overlay_figure, resolution_figure
from eval.metrics import AGGREGATION
from eval.outcome import CONTRAST_NAMES, MEASURES, MODEL_NAMES, OVERALL, Outcome
from gen.anatomy import STRUCTURES
from shards.atomic import write_text

CREDIT = (
    "Images: data in SPIDER layout; SPIDER itself is van der Graaf et al., Scientific Data 2024 (CC BY 4.0)."
)
PHANTOM_CREDIT = "Images: the procedural phantom of this project."
CHOICE = (
    "Checkpoints were chosen on validation that sees no T2: A on synthetic renders of validation patients' "
    "label maps, B on real T1 of the validation patients (so B's T1 figures lean to the good side). "
    "Real validation slices may have been looked at when the recipe was made: "
    "these are validation figures, not a blind test."
)
COUNTED = (
    "Structures are scored against the four-class target on every annotated pixel, for 14-class models too "
    "(any vertebra class counts as vertebra; ranks above 6, which 14 classes have no name for, stay in the "
    "target). Classes of a 14-class model are scored without ranks above 6, as it was trained. "
    "Answers are scored as they come from the network, without removal of islands."
)
DEGRADED = (
    "Resolution is lowered in both in-plane axes by an area average over larger pixels and linear "
    "interpolation back, not by the generator's operator; the truth keeps its full resolution."
)
FIGURES = ("contrast_shift.png", "resolution.png", "samples.png")
CSV_COLUMNS = ("model", "contrast", "resolution_factor", "pixel_mm", "kind", "name", "dice", "n")


def write_report(
    outcome: Outcome, overlays: list[Overlay], folder: Path, *, compare: bool = False
) -> list[Path]:
    """Write ``metrics.json``, ``metrics.csv``, three figures and ``report.md``.

    Args:
        outcome: what was measured.
        overlays: rows of the sample figure.
        folder: where to.
        compare: add the section on the reality gap.

    Returns:
        The files, the report last.
    """
    metrics, table, report = (folder / name for name in ("metrics.json", "metrics.csv", "report.md"))
    contrast, resolution, samples = (folder / name for name in FIGURES)
    write_text(metrics, json.dumps(without_nan(as_json(outcome)), indent=1, allow_nan=False) + "\n")
    write_text(table, as_csv(outcome))
    contrast_figure(outcome, contrast)
    resolution_figure(outcome, resolution)
    credit = PHANTOM_CREDIT if outcome.phantom else CREDIT
    title = f"Answers for the patient with the median Dice of Model {next(iter(outcome.models))}"
    overlay_figure(overlays, samples, title=title, credit=credit, phantom=outcome.phantom)
    write_text(report, as_markdown(outcome, compare=compare))
    return [metrics, table, contrast, resolution, samples, report]


def as_json(outcome: Outcome) -> dict:
    """Everything that was measured, as nested dictionaries (nan where a Dice is not defined)."""
    return {
        "phantom": outcome.phantom,
        "aggregation": AGGREGATION,
        "resolution_factors": list(outcome.factors),
        "spacing_mm": outcome.spacing_mm,
        "models": {name: asdict(facts) for name, facts in outcome.models.items()},
        "missing": outcome.missing,
        "sets": {contrast: asdict(facts) for contrast, facts in outcome.sets.items()},
        "results": [
            {"model": model, "contrast": contrast, **result}
            for (model, contrast, _), result in outcome.results.items()
        ],
        "reality_gap": [{**asdict(gap), "difference": gap.difference} for gap in reality_gaps(outcome)],
    }


def as_csv(outcome: Outcome) -> str:
    """One row per model, contrast, factor and class; an undefined Dice is an empty cell."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(CSV_COLUMNS)
    for (model, contrast, factor), result in outcome.results.items():
        place = (model, contrast, f"{factor:g}", f"{factor * outcome.spacing_mm:g}")
        rows = [("overall", OVERALL, result["overall_dice"], result["n_patients"])]
        for kind, key in (("structure", "structures"), ("class", "classes")):
            rows += [(kind, name, score["dice"], score["n"]) for name, score in result[key].items()]
        for kind, name, dice, n in rows:
            writer.writerow((*place, kind, name, "" if math.isnan(dice) else f"{dice:.4f}", n))
    return text.getvalue()


def as_markdown(outcome: Outcome, *, compare: bool) -> str:
    """The text of the report."""
    parts = ["# How well do the models do on other contrasts and resolutions?"]
    if outcome.phantom:
        parts.append(
            "**Smoke figures from the phantom.** They show that everything runs; "
            "they say nothing about real images."
        )
    parts += [_models(outcome), _sets(outcome)]
    parts += [
        f"## Contrast shift ({outcome.factors[0] * outcome.spacing_mm:g} mm pixels)",
        _contrast_table(outcome),
        f"![Dice on T1 and T2]({FIGURES[0]})",
    ]
    if compare:
        paragraphs = explain(outcome) or ["Both models are needed for the comparison; see above."]
        parts += ["## Reality gap: A against B", _gap_table(outcome), *paragraphs]
    parts += [
        "## Resolution",
        _resolution_table(outcome),
        f"![Dice over resolution]({FIGURES[1]})",
        "## Samples",
        f"![Image, truth and answers]({FIGURES[2]})",
    ]
    classes = _class_table(outcome)
    if classes:
        parts += ["## By class", classes]
    parts += ["## How this was counted", f"{AGGREGATION}. {COUNTED}", DEGRADED, CHOICE]
    parts.append(f"{PHANTOM_CREDIT if outcome.phantom else CREDIT} For research, not for diagnosis.")
    return "\n\n".join(part for part in parts if part) + "\n"


def _models(outcome: Outcome) -> str:
    rows = [
        (
            MODEL_NAMES[name],
            f"`{facts.checkpoint}`",
            str(facts.num_classes),
            f"{facts.parameters / 1e6:.2f} M",
            str(facts.step),
            "unknown" if facts.minutes is None else f"{facts.minutes:.1f}",
            _dice(facts.validation_dice),
        )
        for name, facts in outcome.models.items()
    ]
    head = ("Model", "checkpoint", "classes", "weights", "step", "minutes trained", "Dice that chose it")
    lines = [_table(head, rows)]
    lines += [f"Model {name} was not evaluated: {reason}." for name, reason in outcome.missing.items()]
    return "\n\n".join(lines)


def _sets(outcome: Outcome) -> str:
    parts = [
        f"{CONTRAST_NAMES[contrast]}: {facts.patients} patients, {facts.slices} slices"
        for contrast, facts in outcome.sets.items()
    ]
    return f"Measured on validation patients — {'; '.join(parts)}. Mean Dice over patients, n in brackets."


def _contrast_table(outcome: Outcome) -> str:
    rows = []
    for model in outcome.models:
        for contrast in outcome.sets:
            result = outcome.results[model, contrast, outcome.factors[0]]
            cells = [_dice(result["overall_dice"])]
            cells += [_score(result["structures"][name]) for name in STRUCTURES]
            rows.append((MODEL_NAMES[model], CONTRAST_NAMES[contrast], *cells))
    return _table(("Model", "contrast", *MEASURES), rows)


def _gap_table(outcome: Outcome) -> str:
    rows = [
        (
            CONTRAST_NAMES[gap.contrast],
            gap.measure,
            _dice(gap.a),
            _dice(gap.b),
            "n/a" if math.isnan(gap.difference) else f"{gap.difference:+.3f}",
            f"{gap.a_better} of {gap.n}",
        )
        for gap in reality_gaps(outcome)
    ]
    return _table(("Contrast", "measure", "A", "B", "A − B", "A better in"), rows) if rows else ""


def _resolution_table(outcome: Outcome) -> str:
    rows = [
        (
            MODEL_NAMES[model],
            CONTRAST_NAMES[contrast],
            *(_dice(outcome.dice(model, contrast, factor)) for factor in outcome.factors),
        )
        for model in outcome.models
        for contrast in outcome.sets
    ]
    sizes = [f"{factor:g}x ({factor * outcome.spacing_mm:g} mm)" for factor in outcome.factors]
    return _table(("Model (overall Dice)", "contrast", *sizes), rows)


def _class_table(outcome: Outcome) -> str:
    """Classes of the models that tell ranks apart; empty where there is none."""
    ranked = [name for name, facts in outcome.models.items() if facts.num_classes > len(STRUCTURES) + 1]
    columns = [(model, contrast) for model in ranked for contrast in outcome.sets]
    if not columns:
        return ""
    results = [outcome.results[model, contrast, outcome.factors[0]]["classes"] for model, contrast in columns]
    rows = [(name, *(_score(result[name]) for result in results)) for name in results[0]]
    return _table(("Class", *(f"{model} {CONTRAST_NAMES[contrast]}" for model, contrast in columns)), rows)


def _dice(value: float) -> str:
    return "n/a" if math.isnan(value) else f"{value:.3f}"


def _score(score: dict) -> str:
    return f"{_dice(score['dice'])} ({score['n']})"


def _table(head: tuple[str, ...], rows: Sequence[tuple[str, ...]]) -> str:
    lines = [head, tuple("---" for _ in head), *rows]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)
