"""The figures of a report: which there are, what they show, and their captions."""

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import NamedTuple

from synthspine.eval.metrics.statistics import narrowness
from synthspine.eval.report import drawing
from synthspine.eval.report.sections import Picture
from synthspine.eval.report.tables import TEXTS
from synthspine.eval.results.outcome import (
    CONTINUA,
    CONTRAST,
    CORRUPTIONS,
    RESOLUTIONS,
    SYNTHETIC,
    Findings,
    set_name,
)

PLAIN = (CONTRAST, SYNTHETIC)


class Figure(NamedTuple):
    """A figure of the studies that were measured."""

    studies: tuple[str, ...]
    draw: Callable[[Findings, Path], None]
    intervals: bool = True  # the caption states their coverage for few patients


def draw_figures(findings: Findings, folder: Path) -> dict[str, Picture]:
    """Draw the figures that have something to show as PNG files in a folder; the pictures by name."""
    pictures = {}
    for name, figure in _figures(findings).items():
        counts = findings.counted(*figure.studies)
        if not counts:
            continue
        path = folder / f"{name}.png"
        figure.draw(findings, path)
        patients = ", ".join(f"{set_name(place)} {count}" for place, count in counts.items())
        fewest = min((count for count in counts.values() if count > 1), default=0)
        coverage = narrowness(fewest) if figure.intervals else ""
        caption = " ".join(filter(None, (TEXTS["figures"][name], coverage, f"Patients: {patients}.")))
        pictures[name] = Picture(file=path.name, alt=caption.split(". ")[0], caption=caption)
    return pictures


def _figures(findings: Findings) -> dict[str, Figure]:
    measured = findings.on_sets()
    confidences = PLAIN if any(m.reliability for m in measured) else ()
    entropies = PLAIN if any(len(m.entropy_and_dice()) for m in measured) else ()
    return {
        "contrast_shift": Figure(PLAIN, drawing.level_figure),
        "reality_gap": Figure(PLAIN if findings.compared else (), drawing.gap_figure),
        **{name: Figure((name,), partial(drawing.resolution_figure, study=name)) for name in RESOLUTIONS},
        "corruption": Figure(tuple(CORRUPTIONS), drawing.corruption_figure),
        "continuum": Figure(tuple(CONTINUA), drawing.continuum_figure),
        "calibration": Figure(confidences, drawing.calibration_figure, intervals=False),
        "entropy": Figure(entropies, drawing.entropy_figure, intervals=False),
    }
