"""The figures of a report: which there are, what they are drawn from, and which need not be drawn again."""

from collections.abc import Callable
from dataclasses import dataclass
from importlib import import_module, metadata
from pathlib import Path
from typing import Any

from synthspine.eval.metrics.statistics import narrowness
from synthspine.eval.report.sections import Picture
from synthspine.eval.results.cache import Cache, is_file_of
from synthspine.eval.results.findings import (
    CONTINUUM,
    CONTRAST,
    CORRUPTIONS,
    PHYSICAL,
    RESOLUTIONS,
    SYNTHETIC,
    Findings,
    set_name,
)
from synthspine.eval.results.reliability import calibration_places, entropy_places
from synthspine.shards.format.provenance import digest_of
from synthspine.shards.storage.atomic import file_digest

BAND = "Bands and bars: 95 % bootstrap intervals over patients."
CALIBRATION, CURVES, LEVELS = (
    "synthspine.eval.report.calibration_figures",
    "synthspine.eval.report.curve_figures",
    "synthspine.eval.report.level_figures",
)
"""Modules that draw; they are loaded, and Matplotlib with them, when there is something to draw."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Figure:
    """A figure that a report may have.

    Attributes:
        name: of its file, without ending.
        studies: what it shows; it is left out where none of them was measured.
        module: the module that draws it.
        function: of the module, called with the findings, ``path`` and ``arguments``.
        arguments: by name.
        caption: what stands under it, before the numbers of patients.
        intervals: whether it shows some; how narrow those of few patients are is then told.
    """

    name: str
    studies: tuple[str, ...]
    module: str
    function: str
    caption: str
    arguments: dict[str, Any]
    intervals: bool = True


def draw_figures(findings: Findings, folder: Path, cache: Cache | None) -> dict[str, Picture]:
    """Draw the figures for which there is something to show.

    Args:
        findings: what was measured.
        folder: where the PNG files go.
        cache: what was drawn before; a figure is drawn again if what it shows, the code that draws it, or
            its file is not the same. None: all are drawn.

    Returns:
        The pictures by name.
    """
    pictures = {}
    for figure in _figures(findings):
        counts = findings.counted(*figure.studies)
        if not counts:
            continue
        path = folder / f"{figure.name}.png"
        key = None if cache is None else _key(findings, figure)
        drawn = None if cache is None or key is None else cache.find(key)
        if drawn is None or not is_file_of(path, drawn["sha256"]):
            draw: Callable[..., None] = getattr(import_module(figure.module), figure.function)
            draw(findings, path=path, **figure.arguments)
            if cache is not None and key is not None:
                cache.keep(key, {"sha256": file_digest(path)})
        patients = ", ".join(f"{set_name(place)} {count}" for place, count in counts.items())
        fewest = min((count for count in counts.values() if count > 1), default=0)
        narrow = narrowness(fewest) if figure.intervals else ""
        caption = " ".join(filter(None, (figure.caption, narrow, f"Patients: {patients}.")))
        pictures[figure.name] = Picture(file=path.name, alt=caption.split(". ")[0], caption=caption)
    return pictures


def _key(findings: Findings, figure: Figure) -> dict[str, Any]:
    """Everything that a figure depends on; the cache adds code and versions."""
    outcome = findings.outcome
    shown = [entry for entry in outcome["measurements"] if entry["study"] in figure.studies]
    return {
        "what": "figure",
        "name": figure.name,
        "measurements": digest_of(shown),
        "models": list(findings.models),
        "phantom": findings.phantom,
        "part": findings.part,
        "physical": outcome.get("physical", {}),
        "matplotlib": metadata.version("matplotlib"),
    }


def _figures(findings: Findings) -> list[Figure]:
    plain = (CONTRAST, SYNTHETIC)
    return [
        Figure(
            name="contrast_shift",
            studies=plain,
            module=LEVELS,
            function="level_figure",
            arguments={},
            caption="Dice by set: mean and 95 % interval; a small dot is a patient.",
        ),
        Figure(
            name="reality_gap",
            studies=plain if findings.compared else (),
            module=LEVELS,
            function="gap_figure",
            arguments={},
            caption="Difference of Dice on the same patients, A minus B, with 95 % interval; right of 0 A is "
            "better. p is exploratory, without correction.",
        ),
        *(
            Figure(
                name=study,
                studies=(study,),
                module=CURVES,
                function="resolution_figure",
                arguments={"study": study},
                caption=f"{name} resolution: Dice over the factor. {BAND}",
            )
            for study, name in RESOLUTIONS.items()
        ),
        Figure(
            name="corruption",
            studies=tuple(CORRUPTIONS),
            module=CURVES,
            function="corruption_figure",
            arguments={},
            caption=f"Overall Dice over the level. {BAND}",
        ),
        Figure(
            name="continuum",
            studies=(CONTINUUM, PHYSICAL),
            module=CURVES,
            function="continuum_figure",
            arguments={},
            caption=f"Dice on rendered maps, contrast by contrast. {BAND}",
        ),
        Figure(
            name="calibration",
            studies=plain if calibration_places(findings) else (),
            module=CALIBRATION,
            function="calibration_figure",
            arguments={},
            intervals=False,
            caption="Share of right pixels over confidence, all patients' pixels together; below it how many "
            "pixels there are. On the dotted line confidence is what it says.",
        ),
        Figure(
            name="entropy",
            studies=plain if entropy_places(findings) else (),
            module=CALIBRATION,
            function="entropy_figure",
            arguments={},
            intervals=False,
            caption="Overall Dice over the mean entropy of the answer; every mark is a patient.",
        ),
    ]
