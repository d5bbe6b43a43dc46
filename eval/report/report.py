"""The report of an evaluation: ``report.html``, ``report.md``, ``metrics.csv`` and figures.

Everything comes from the dictionary of ``outcome.json`` and from the overlays beside it.
"""

import base64
import csv
import io
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined

from synthspine.eval.report.figures import draw_figures
from synthspine.eval.report.sections import Picture, Section, credit, made, report_sections
from synthspine.eval.report.tables import TEXTS, Table, format_value, interval_cell, to_markdown
from synthspine.eval.results.outcome import MODEL_COLOURS, Findings, OutcomeError, set_name
from synthspine.eval.results.paired import gap
from synthspine.shards.storage.atomic import write_text

CSV_COLUMNS = ("study", "model", "set", "value", "measure", "metric", "mean", "low", "high", "n")
UNBROKEN = re.compile(r"\[[^\]]{3,20}\]|p [=<] \.\d+")
"""Intervals and p values, which stay in one line."""


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
