"""The report of an evaluation: ``report.html``, ``report.md``, ``metrics.csv`` and figures.

Everything comes from the dictionary of ``outcome.json`` and from the overlays beside it.
"""

import base64
import csv
import io
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined

from synthspine.eval.metrics.statistics import SIGNIFICANT, Interval, PairedDifference
from synthspine.eval.report.definitions import TABLES
from synthspine.eval.report.facts import generators
from synthspine.eval.report.figures import draw_figures
from synthspine.eval.report.tables import (
    TEXTS,
    Picture,
    Table,
    format_p,
    format_value,
    interval_cell,
    to_markdown,
)
from synthspine.eval.results.outcome import (
    CONTINUA,
    CORRUPTIONS,
    MODEL_COLOURS,
    RESOLUTIONS,
    T1,
    Findings,
    OutcomeError,
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
from synthspine.shards.storage.atomic import write_text

CSV_COLUMNS = ("study", "model", "set", "value", "measure", "metric", "mean", "low", "high", "n")
UNBROKEN = re.compile(r"\[[^\]]{3,20}\]|p [=<] \.\d+")
"""Intervals and p values, which stay in one line."""
FACTS = ("models", "sets", "versions", "configuration")
TOO_POOR = 0.4
"""Overall Dice below which a difference of two models is not meaningful."""
Part = str | Table | Picture


@dataclass(frozen=True, slots=True, kw_only=True)
class Section:
    """A part of the report."""

    name: str  # for links
    title: str
    parts: tuple[Part, ...]


def write_report(outcome: Mapping[str, Any], output_dir: Path) -> list[Path]:
    """Write figures, ``metrics.csv``, ``report.md`` and ``report.html`` to the folder of ``outcome.json``.

    Returns:
        The files, ``report.html`` last.

    Raises:
        OutcomeError: the outcome has another format, is empty, or names an overlay that is missing.
    """
    findings = Findings(outcome)
    for entry in outcome.get("overlays", ()):
        if not (output_dir / entry["file"]).is_file():
            raise OutcomeError(f"{output_dir / entry['file']}: the outcome names this overlay; it is missing")
    pictures = draw_figures(findings, output_dir)
    sections = report_sections(findings, pictures)
    write_text(output_dir / "metrics.csv", as_csv(findings))
    write_text(output_dir / "report.md", as_markdown(findings, sections))
    write_text(output_dir / "report.html", as_html(findings, sections, output_dir))
    written = [*(picture.file for picture in pictures.values()), "metrics.csv", "report.md", "report.html"]
    return [output_dir / name for name in written]


def as_html(findings: Findings, sections: Sequence[Section], folder: Path) -> str:
    """The report as one HTML file, with its style and the pictures of the folder in it."""
    loader = FileSystemLoader(Path(__file__).parent)
    environment = Environment(loader=loader, autoescape=True, undefined=StrictUndefined)
    environment.filters["unbroken"] = lambda text: UNBROKEN.sub(lambda m: m[0].replace(" ", "\u00a0"), text)
    return environment.get_template("template.html").render(
        title=TEXTS["report"]["title"],
        banner=TEXTS["report"]["phantom_banner"] if findings.phantom else "",
        made=made(findings),
        credit=credit(findings),
        colours=MODEL_COLOURS,
        findings=findings,
        sections=sections,
        gap=gap,
        set_name=set_name,
        value=format_value,
        cell=interval_cell,
        data=lambda file: base64.b64encode((folder / file).read_bytes()).decode("ascii"),
    )


def as_markdown(findings: Findings, sections: Sequence[Section]) -> str:
    """The report in Markdown with links to figures and overlays."""
    texts = TEXTS["report"]
    parts = [f"# {texts['title']}", *([f"**{texts['phantom_banner']}**"] if findings.phantom else [])]
    for section in sections:
        parts += [f"## {section.title}", *map(_markdown_part, section.parts)]
    return "\n\n".join([*parts, credit(findings)]) + "\n"


def as_csv(findings: Findings) -> str:
    """One row per measurement, measure and metric; an undefined number is an empty cell."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(CSV_COLUMNS)
    for measurement in findings.measurements:
        place = (measurement.study, measurement.model, measurement.set, f"{measurement.value:g}")
        for measure in findings.measures:
            for metric in findings.metrics:
                interval = measurement.interval(measure, metric)
                ends = () if interval is None else (interval.mean, interval.low, interval.high)
                numbers = ["" if end != end else f"{end:.4f}" for end in ends] or [""] * 3
                writer.writerow((*place, measure, metric, *numbers, 0 if interval is None else interval.n))
    return text.getvalue()


def _markdown_part(part: str | Table | Picture) -> str:
    if isinstance(part, str):
        return part
    if isinstance(part, Table):
        return f"### {part.title}\n\n{to_markdown(part)}"
    return f"![{part.alt}]({part.file})\n\n*{part.caption}*"


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
