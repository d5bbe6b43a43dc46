"""Content of the report, section by section: sentences, tables and pictures in their order."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from synthspine.eval.metrics.statistics import SIGNIFICANT, Interval, PairedDifference
from synthspine.eval.report.definitions import TABLES
from synthspine.eval.report.facts import generators
from synthspine.eval.report.tables import TEXTS, Table, format_p, format_value
from synthspine.eval.results.outcome import (
    CONTINUA,
    CORRUPTIONS,
    RESOLUTIONS,
    T1,
    Findings,
    model_name,
    set_name,
)
from synthspine.eval.results.paired import (
    GAPS,
    SHIFTS,
    Primary,
    gap,
    primary_comparisons,
    shift,
    shift_difference,
)

FACTS = ("models", "sets", "versions", "configuration")
TOO_POOR = 0.4
"""Overall Dice below which a difference of two models is not meaningful."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Picture:
    """A PNG file beside the report."""

    file: str  # relative to the report
    alt: str  # description for readers who cannot see it
    caption: str


Part = str | Table | Picture


@dataclass(frozen=True, slots=True, kw_only=True)
class Section:
    """A part of the report."""

    name: str  # for links
    title: str
    parts: tuple[Part, ...]


def report_sections(findings: Findings, pictures: Mapping[str, Picture]) -> list[Section]:
    """All sections with content; ``pictures`` are the drawn figures by name."""

    def figures(*names: str) -> list[Picture]:
        return [pictures[name] for name in names if name in pictures]

    def tables(*names: str) -> list[Table]:
        return [table for table in (TABLES[name](findings) for name in names) if table.rows]

    compared = [TEXTS["report"]["gap"], *figures("reality_gap"), *tables("gap", "gap_metrics")]
    rules = [TEXTS["report"]["aggregation"], TEXTS["report"]["bootstrap"]]
    contents: dict[str, list[Part]] = {
        "summary": [*conclusions(findings), *_absent(findings), *tables("headline", "primary")],
        "contrast": [*figures("contrast_shift"), *tables("shift")],
        "gap": [*compared] if findings.compared else [],
        "structures": [*tables("structures")],
        "vertebrae": [*tables("instances", "classes")],
        "resolution": [*figures(*RESOLUTIONS), *tables(*RESOLUTIONS)],
        "corruption": [*figures("corruption"), *tables("corruption", *CORRUPTIONS)],
        "continuum": [*figures("continuum"), *tables(*CONTINUA)],
        "calibration": [*figures("calibration"), *tables("calibration"), *figures("entropy")],
        "worst": [*tables("worst"), *map(_overlay, findings.outcome.get("overlays", ()))],
        "method": [*rules, findings.definitions, TEXTS["chosen_on"][findings.part]],
        "facts": [made(findings), generators(findings), *tables(*FACTS)],
    }
    titles = TEXTS["sections"]
    filled = {name: tuple(part for part in parts if part) for name, parts in contents.items()}
    return [Section(name=name, title=titles[name], parts=parts) for name, parts in filled.items() if parts]


def credit(findings: Findings) -> str:
    """Origin of the images, and purpose of the report."""
    texts = TEXTS["report"]
    return f"{texts['phantom_credit'] if findings.phantom else texts['credit']} {texts['purpose']}"


def made(findings: Findings) -> str:
    """Time, part of the split, duration and command."""
    outcome = findings.outcome
    seconds = float(outcome["seconds"])
    took = f"{seconds:.1f} s" if seconds < 120 else f"{seconds / 60:.1f} minutes"
    return f"Made {outcome['made']} on the {findings.part} patients in {took} by: {outcome['command']}"


def conclusions(findings: Findings) -> list[str]:
    """Dice of A and B on each real set, their difference, and the changes between contrasts."""
    primary = primary_comparisons(findings)
    sentences = [s for place in findings.real_sets for s in _on_set(findings, place, primary)]
    for place in [place for place in findings.real_sets if place != T1]:
        changes = {model: shift(findings, model, place) for model in findings.models}
        parts = [
            f"{model} by {_estimate(change.difference, signed=True)}"
            for model, change in changes.items()
            if change is not None
        ]
        if parts:
            sentences.append(
                f"From T1 to {set_name(place)}, on the patients that have both, the overall Dice changes for "
                f"{' and for '.join(parts)}."
            )
        between = shift_difference(findings, place)
        if between is not None:
            verdict = _verdict(between, "A keeps more", "B keeps more", primary.get(SHIFTS.get(place, "")))
            sentences.append(f"The change of A minus that of B, patient by patient, is {verdict}.")
    return sentences


def _absent(findings: Findings) -> Iterable[str]:
    """Models and studies without measurement, with the reason."""
    outcome = findings.outcome
    for name, why in outcome.get("missing", {}).items():
        yield f"Model {name} was not measured: {why}."
    for entry, text in (("left_out", "was left out:"), ("dropped", "was not measured at")):
        for name, why in outcome.get(entry, {}).items():
            title = TEXTS["tables"].get(name, {}).get("title", set_name(name)).partition(":")[0]
            yield f"{title} {text} {why}."


def _overlay(entry: Mapping[str, Any]) -> Picture:
    dices = ", ".join(f"{name} {format_value(value)}" for name, value in entry["dice"].items())
    where = f"{set_name(entry['set'])}, patient {entry['patient']}, slice {entry['slice']}"
    kind = entry.get("case", "worst").capitalize()
    return Picture(
        file=entry["file"],
        alt=f"Slice with the truth and the predictions of the models: {where}",
        caption=f"{kind} case of Model {entry['model']}: {where} ({entry['source']}). Dice: {dices}.",
    )


def _on_set(findings: Findings, place: str, primary: Mapping[str, Primary]) -> list[str]:
    where = f"On {set_name(place)}, {TEXTS['unseen'].get(place, 'a set of its own')},"
    pair = gap(findings, place)
    if pair is None:
        means = [(m.model, m.interval()) for m in findings.on_sets(place)]
        return [
            f"{where} {model_name(model)} reaches {_estimate(mean)} (n {mean.n})."
            for model, mean in means
            if mean is not None
        ]
    verdict = _verdict(pair, "A is ahead", "B is ahead", primary.get(GAPS.get(place, "")))
    poor = ""
    if max(pair.first.mean, pair.second.mean) < TOO_POOR:
        poor = f" Both stay below {format_value(TOO_POOR)}: too poor for the difference to mean much."
    first, second = _estimate(pair.first), _estimate(pair.second)
    return [f"{where} A reaches {first} and B {second}: A − B is {verdict}.{poor}"]


def _verdict(pair: PairedDifference, if_positive: str, if_negative: str, primary: Primary | None) -> str:
    """The difference with interval and test, and its meaning; ``primary`` is None where it is exploratory."""
    difference, p = pair.difference, pair.p
    p_text = format_p(p) if p < 0.001 else f"= {format_p(p)}"
    kind = "exploratory" if primary is None else f"after correction {format_p(primary.corrected)}"
    numbers = (
        f"{_estimate(difference, signed=True)} over {difference.n} patients, paired test p {p_text}, {kind}"
    )
    if not (difference.low > 0 or difference.high < 0):
        return f"{numbers}; the interval includes 0"
    verdict = if_positive if difference.low > 0 else if_negative
    if primary is None or primary.corrected < SIGNIFICANT:
        return f"{numbers}; {verdict}" + ("" if p < SIGNIFICANT else ", by the interval alone")
    why = "the corrected test does not confirm it"
    if primary.least >= SIGNIFICANT:
        why = f"with so few patients the corrected test cannot fall below {format_value(primary.least)}"
    return f"{numbers}; {verdict} by the interval, but {why}"


def _estimate(estimate: Interval, *, signed: bool = False) -> str:
    mean, low, high = (
        format_value(number, signed=signed) for number in (estimate.mean, estimate.low, estimate.high)
    )
    interval = f"[{low}, {high}]" if estimate.low <= estimate.high else "(no interval from one patient)"
    return f"{mean} {interval}"
