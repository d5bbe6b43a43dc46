"""The report of an evaluation: ``report.html`` and ``report.md`` from the same tables; figures.

Everything comes from the dictionary of ``outcome.json``, and from the overlays beside it.
"""

import csv
import io
import math
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Any

from eval.calibration_figures import calibration_figure, calibration_places, entropy_figure, entropy_places
from eval.curve_figures import continuum_figure, corruption_figure, resolution_figure
from eval.findings import (
    CONTINUUM,
    CONTRAST,
    CORRUPTIONS,
    MEASURES,
    PHYSICAL,
    RESOLUTIONS,
    SYNTHETIC,
    Findings,
    Measurement,
    set_name,
)
from eval.level_figures import gap_figure, level_figure
from eval.report_html import as_html
from eval.sections import PHANTOM_BANNER, TITLE, Picture, Section, credit, report_sections
from eval.summary import METRICS
from eval.tables import Table, to_markdown
from shards.atomic import write_text

CSV_COLUMNS = ("study", "model", "set", "value", "measure", "metric", "mean", "low", "high", "n")
BAND = "Bands and bars: 95 % bootstrap intervals over patients."
Draw = Callable[..., None]


class ReportError(ValueError):
    """The report cannot be written; the message is one line that names the file."""


def write_report(outcome: Mapping[str, Any], output_dir: Path) -> list[Path]:
    """Write figures, ``metrics.csv``, ``report.md`` and ``report.html``.

    Args:
        outcome: the dictionary of ``outcome.json``.
        output_dir: where to; the overlays that the outcome names lie in it.

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
    pictures = _draw(findings, output_dir)
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


def _draw(findings: Findings, folder: Path) -> dict[str, Picture]:
    """Draw the figures for which there is something to show."""
    plain, rendered = (CONTRAST, SYNTHETIC), (CONTINUUM, PHYSICAL)
    figures: list[tuple[str, tuple[str, ...], Draw, str]] = [
        (
            "contrast_shift",
            plain,
            level_figure,
            "Dice by set: mean and 95 % interval; a small dot is a patient.",
        ),
        (
            "reality_gap",
            plain if findings.compared else (),
            gap_figure,
            "Difference of Dice on the same patients, A minus B, with 95 % interval; right of 0 A is better.",
        ),
        *(
            (
                study,
                (study,),
                partial(resolution_figure, study=study),
                f"{name} resolution: Dice over the factor. {BAND}",
            )
            for study, name in RESOLUTIONS.items()
        ),
        ("corruption", tuple(CORRUPTIONS), corruption_figure, f"Overall Dice over the level. {BAND}"),
        ("continuum", rendered, continuum_figure, f"Dice on rendered maps, contrast by contrast. {BAND}"),
        (
            "calibration",
            plain if calibration_places(findings) else (),
            calibration_figure,
            "Share of right pixels over confidence, all patients' pixels together; below it how many pixels "
            "there are. On the dotted line confidence is what it says.",
        ),
        (
            "entropy",
            plain if entropy_places(findings) else (),
            entropy_figure,
            "Overall Dice over the mean entropy of the answer; every mark is a patient.",
        ),
    ]
    pictures = {}
    for name, studies, draw, caption in figures:
        counts = findings.counted(*studies)
        if counts:
            draw(findings, path=folder / f"{name}.png")
            patients = ", ".join(f"{set_name(place)} {count}" for place, count in counts.items())
            caption = f"{caption} Patients: {patients}."
            pictures[name] = Picture(file=f"{name}.png", alt=caption.split(". ")[0], caption=caption)
    return pictures
