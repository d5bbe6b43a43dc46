"""The report of an evaluation: ``report.html`` and ``report.md`` from the same tables; figures.

Everything comes from the dictionary of ``outcome.json``, and from the overlays beside it.
"""

import csv
import io
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from synthspine.eval.report.report_figures import draw_figures
from synthspine.eval.report.report_html import as_html
from synthspine.eval.report.sections import PHANTOM_BANNER, TITLE, Picture, Section, credit, report_sections
from synthspine.eval.report.tables import Table, to_markdown
from synthspine.eval.results.cache import Cache
from synthspine.eval.results.findings import MEASURES, Findings, Measurement
from synthspine.eval.results.summary import METRICS
from synthspine.shards.storage.atomic import write_text

CSV_COLUMNS = ("study", "model", "set", "value", "measure", "metric", "mean", "low", "high", "n")


class ReportError(ValueError):
    """The report cannot be written; the message is one line that names the file."""


def write_report(outcome: Mapping[str, Any], output_dir: Path, cache: Cache | None = None) -> list[Path]:
    """Write figures, ``metrics.csv``, ``report.md`` and ``report.html``.

    Args:
        outcome: the dictionary of ``outcome.json``.
        output_dir: where to; the overlays that the outcome names lie in it.
        cache: what was drawn before, so that equal figures are not drawn again.

    Returns:
        The files, ``report.html`` last.

    Raises:
        OutcomeError: the outcome is of another format, or empty.
        ReportError: an overlay is not there.
    """
    findings = Findings(outcome)
    for entry in outcome.get("overlays", ()):
        if not (output_dir / entry["file"]).is_file():
            raise ReportError(
                f"{output_dir / entry['file']}: the outcome names this overlay; it is not there"
            )
    pictures = draw_figures(findings, output_dir, cache)
    sections = report_sections(findings, pictures)
    texts = {
        "metrics.csv": as_csv(findings),
        "report.md": as_markdown(findings, sections),
        "report.html": as_html(findings, sections, output_dir),
    }
    for name, text in texts.items():
        write_text(output_dir / name, text)
    return [output_dir / picture.file for picture in pictures.values()] + [
        output_dir / name for name in texts
    ]


def as_markdown(findings: Findings, sections: list[Section]) -> str:
    """The report in Markdown; figures and overlays are linked."""
    parts = [f"# {TITLE}"]
    if findings.phantom:
        parts.append(f"**{PHANTOM_BANNER}**")
    for section in sections:
        parts += [f"## {section.title}", *(_part(part) for part in section.parts)]
    return "\n\n".join([*parts, credit(findings)]) + "\n"


def as_csv(findings: Findings) -> str:
    """One row per measurement, measure and metric; what is not defined is an empty cell."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(CSV_COLUMNS)
    for entry in findings.outcome["measurements"]:
        measurement = Measurement(entry)
        place = (entry["study"], entry["model"], entry["set"], f"{entry['value']:g}")
        for measure in MEASURES:
            for metric in METRICS:
                interval = measurement.interval(measure, metric)
                if interval is None:
                    writer.writerow((*place, measure, metric, "", "", "", 0))
                else:
                    ends = (interval.mean, interval.low, interval.high)
                    numbers = ("" if math.isnan(end) else f"{end:.4f}" for end in ends)
                    writer.writerow((*place, measure, metric, *numbers, interval.n))
    return text.getvalue()


def _part(part: str | Table | Picture) -> str:
    if isinstance(part, str):
        return part
    if isinstance(part, Table):
        return f"### {part.title}\n\n{to_markdown(part)}"
    return f"![{part.alt}]({part.file})\n\n*{part.caption}*"
