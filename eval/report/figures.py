"""The figures of a report: list, captions and drawing.

Colours are safe for colour-blind readers. Every difference also has a shape (marker, line style), so that it
remains visible in a grey print.
"""

import io
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from synthspine.eval.metrics.statistics import Interval, narrowness
from synthspine.eval.metrics.structures import OVERALL
from synthspine.eval.report.tables import TEXTS, Picture, format_p
from synthspine.eval.results.outcome import (
    CONTINUA,
    CONTINUUM,
    CONTRAST,
    CORRUPTIONS,
    IN_PLANE,
    LEVELS,
    MODEL_COLOURS,
    PHYSICAL,
    RESOLUTIONS,
    SYNTHETIC,
    Findings,
    model_name,
    set_name,
)
from synthspine.eval.results.paired import gap
from synthspine.shards.storage.atomic import write_bytes

PLAIN = (CONTRAST, SYNTHETIC)
DPI = 160
MODEL_MARKERS = {"A": "o", "B": "s"}
MODEL_LINES = {"A": "-", "B": "--"}
EDGE = "#333333"
BAND = 0.25
"""Opacity of an interval."""
MOST_TICKS = 6
SIDE = {"A": -0.14, "B": 0.14}
"""Offset of a model from the middle of its set."""
SPREAD = 0.09
FEWEST_PIXELS = 100
"""Fewest pixels of a bin whose accuracy is drawn; that of fewer pixels is noise."""


class Drawing(NamedTuple):
    """A figure of the studies that were measured."""

    studies: tuple[str, ...]
    draw: Callable[[Findings, Path], None]
    intervals: bool = True  # the caption states their coverage for few patients


class Panel(NamedTuple):
    """One panel of a grid of curves."""

    title: str  # shown in the first row of the grid
    x: str  # name of the values
    curves: Mapping[str, Mapping[float, Interval]]  # mean Dice by value, by model
    ticks: tuple[str, ...] = ()  # names of the values, where they are not numbers


def draw_figures(findings: Findings, folder: Path) -> dict[str, Picture]:
    """Draw the figures that have something to show as PNG files in a folder; the pictures by name."""
    pictures = {}
    for name, drawing in _drawings(findings).items():
        counts = findings.counted(*drawing.studies)
        if not counts:
            continue
        path = folder / f"{name}.png"
        drawing.draw(findings, path)
        patients = ", ".join(f"{set_name(place)} {count}" for place, count in counts.items())
        fewest = min((count for count in counts.values() if count > 1), default=0)
        coverage = narrowness(fewest) if drawing.intervals else ""
        caption = " ".join(filter(None, (TEXTS["figures"][name], coverage, f"Patients: {patients}.")))
        pictures[name] = Picture(file=path.name, alt=caption.split(". ")[0], caption=caption)
    return pictures


def level_figure(findings: Findings, path: Path) -> None:
    """Dice by set: a panel per measure, means with intervals, a small dot for every patient."""
    places = findings.sets
    figure = Figure(figsize=(9.0, 3.3), layout="constrained")
    panels = figure.subplots(1, len(findings.measures), sharey=True)
    for axes, measure in zip(panels, findings.measures, strict=True):
        for measurement in sorted(findings.on_sets(), key=lambda m: m.model):
            model, interval = measurement.model, measurement.interval(measure)
            if interval is None:
                continue
            x, colour = places.index(measurement.set) + SIDE[model], MODEL_COLOURS[model]
            dots = np.sort(list(measurement.values(measure).values()))
            spread = np.linspace(-SPREAD, SPREAD, len(dots)) if len(dots) > 1 else np.zeros(1)
            axes.plot(x + spread, dots, ".", color=colour, markersize=3, alpha=0.8, zorder=2)
            axes.plot([x, x], [interval.low, interval.high], color=EDGE, linewidth=1.3, zorder=3)
            marks = _marks(colour, size=6.5, edge=0.8)
            axes.plot(x, interval.mean, MODEL_MARKERS[model], **marks, zorder=4)
        if SYNTHETIC in places and len(places) > 1:
            axes.axvline(0.5, color="#bbbbbb", linewidth=0.8, linestyle=":")
        axes.set_title(measure, fontsize=10)
        axes.set_xticks(range(len(places)), [set_name(place).replace(" ", "\n") for place in places])
        axes.set_xlim(-0.5, len(places) - 0.5)
        axes.set_ylim(0, 1.02)
        _plain(axes)
    panels[0].set_ylabel("Dice")
    _finish(figure, path, "The same models on every set", findings, lines=False)


def gap_figure(findings: Findings, path: Path) -> None:
    """Differences A − B with intervals, one line per set and measure."""
    rows = [(place, measure) for place in findings.sets for measure in findings.measures]
    pairs = [(place, measure, found) for place, measure in rows if (found := gap(findings, place, measure))]
    figure = Figure(figsize=(9.0, 0.25 * len(pairs) + 1.4), layout="constrained")
    axes = figure.subplots()
    height, ticks, previous = 0.0, [], None
    for place, measure, found in pairs:
        height += 1.7 if previous not in (None, place) else 1.0
        previous = place
        difference = found.difference
        overall = measure == OVERALL
        ends = [difference.low, difference.high]
        axes.plot(ends, [height] * 2, color=EDGE, linewidth=2.2 if overall else 1.2)
        colour = MODEL_COLOURS["A" if difference.mean > 0 else "B"]
        axes.plot(difference.mean, height, "D" if overall else "o", **_marks(colour, size=6, edge=0.8))
        ticks.append((height, f"{set_name(place)}  {measure}"))
        axes.annotate(
            f"n {found.n}, p {format_p(found.p)}",
            (1.01, height),
            xycoords=("axes fraction", "data"),
            fontsize=7,
            va="center",
            color="#444444",
        )
    axes.axvline(0, color=EDGE, linewidth=0.9)
    shown = [(f.difference.low, f.difference.mean, f.difference.high) for *_, f in pairs]
    reach = max(0.05, 1.1 * float(np.nanmax(np.abs(shown))))
    axes.set_xlim(-reach, reach)
    axes.set_yticks([place for place, _ in ticks], [name for _, name in ticks])
    axes.invert_yaxis()
    _plain(axes)
    axes.grid(visible=False, axis="y")
    axes.grid(axis="x", color="#dddddd", linewidth=0.6)
    axes.set_xlabel("← B better    difference of Dice, A − B, 95 % interval    A better →", fontsize=9)
    _finish(figure, path, "A against B on the same patients", findings, lines=None)


def calibration_figure(findings: Findings, path: Path) -> None:
    """Reliability diagrams, a panel per set, over the share of pixels in every bin."""
    places = list(dict.fromkeys(m.set for m in findings.on_sets() if m.reliability is not None))
    figure = Figure(figsize=(2.4 * len(places) + 0.8, 3.9), layout="constrained")
    panels = figure.subplots(2, len(places), squeeze=False, sharex=True, sharey="row", height_ratios=(3, 1))
    for place, (upper, lower) in zip(places, panels.T, strict=True):
        upper.plot([0, 1], [0, 1], color="#999999", linewidth=1, linestyle=":")
        lines = []
        for model, bins in [(m.model, m.reliability) for m in findings.on_sets(place)]:
            if bins is None:
                continue
            enough, marks = bins.counts >= FEWEST_PIXELS, _marks(MODEL_COLOURS[model], size=4.5, edge=0.6)
            curve = (bins.confidences[enough], bins.accuracies[enough], MODEL_LINES[model])
            upper.plot(*curve, marker=MODEL_MARKERS[model], **marks, linewidth=1.5)
            share = np.where(bins.counts > 0, bins.counts / bins.counts.sum(), 1e-7)
            edges = np.linspace(0, 1, len(share) + 1)
            lower.stairs(share, edges, color=MODEL_COLOURS[model], linewidth=1.8)
            lines.append(f"{model}: ECE {bins.ece:.3f}")
        upper.text(0.04, 0.96, "\n".join(lines), transform=upper.transAxes, va="top", fontsize=7.5)
        upper.set(xlim=(0, 1.03), ylim=(0, 1.03))
        upper.set_title(set_name(place), fontsize=10)
        lower.set_yscale("log")
        lower.set_ylim(1e-6, 1)
        lower.set_xlabel("confidence")
        _plain(upper)
        _plain(lower)
    panels[0][0].set_ylabel("share of right pixels")
    panels[1][0].set_ylabel("share of\npixels", fontsize=8)
    _finish(figure, path, "Is the confidence right?", findings)


def entropy_figure(findings: Findings, path: Path) -> None:
    """Overall Dice over mean entropy, a mark per patient."""
    places = list(dict.fromkeys(m.set for m in findings.on_sets() if len(m.entropy_and_dice())))
    figure = Figure(figsize=(2.4 * len(places) + 0.8, 3.0), layout="constrained")
    panels = figure.subplots(1, len(places), squeeze=False, sharex=True, sharey=True)[0]
    for place, axes in zip(places, panels, strict=True):
        for measurement in findings.on_sets(place):
            marks = _marks(MODEL_COLOURS[measurement.model], size=5, edge=0.6)
            axes.plot(*measurement.entropy_and_dice().T, MODEL_MARKERS[measurement.model], **marks)
        axes.set_title(set_name(place), fontsize=10)
        axes.set_xlabel("mean entropy (nats)")
        axes.set_ylim(0, 1.02)
        _plain(axes)
    panels[0].set_ylabel("overall Dice")
    _finish(figure, path, "Does entropy indicate a poor mask?", findings, lines=False)


def resolution_figure(findings: Findings, path: Path, study: str) -> None:
    """Dice over the factor, a row per set, a column per measure."""
    x = "pixel size, multiple" if study == IN_PLANE else "thickness, multiple"
    rows = {
        set_name(place): [
            Panel(measure, x, _curves(findings, study, place, measure)) for measure in findings.measures
        ]
        for place in findings.places(study)
    }
    _grid(findings, rows, path, f"{RESOLUTIONS[study]} resolution: coarser input, truth at full resolution")


def corruption_figure(findings: Findings, path: Path) -> None:
    """Overall Dice over the level, a row per set, a column per corruption."""
    studies = [study for study in CORRUPTIONS if findings.places(study)]
    rows = {
        set_name(place): [
            Panel(CORRUPTIONS[study], LEVELS[study], _curves(findings, study, place)) for study in studies
        ]
        for place in findings.places(*studies)
    }
    _grid(findings, rows, path, "Corrupted input: overall Dice")


def continuum_figure(findings: Findings, path: Path) -> None:
    """Dice over alpha, a row per way of making contrast, a column per measure."""
    protocols = [findings.value_name(PHYSICAL, value) for value in findings.values(PHYSICAL)]
    kinds = {
        CONTINUUM: ("measured\nmeans", "α, from T1 (0) to T2 (1)", ()),
        PHYSICAL: ("spin-echo\nphysics", "", tuple(name.replace(" ", "\n", 1) for name in protocols)),
    }
    rows = {
        name: [
            Panel(measure, x, _curves(findings, study, place, measure), ticks)
            for measure in findings.measures
        ]
        for study, (name, x, ticks) in kinds.items()
        for place in findings.places(study)
    }
    _grid(findings, rows, path, f"From T1 to T2 on rendered {findings.part} maps")


def save(figure: Figure, path: Path) -> None:
    """Write a figure as PNG; equal numbers give equal bytes."""
    FigureCanvasAgg(figure)
    content = io.BytesIO()
    # The date and the version in the file would differ.
    figure.savefig(content, dpi=DPI, format="png", metadata={"Software": None})
    write_bytes(path, content.getvalue())


def _drawings(findings: Findings) -> dict[str, Drawing]:
    measured = findings.on_sets()
    confidences = PLAIN if any(m.reliability for m in measured) else ()
    entropies = PLAIN if any(len(m.entropy_and_dice()) for m in measured) else ()
    return {
        "contrast_shift": Drawing(PLAIN, level_figure),
        "reality_gap": Drawing(PLAIN if findings.compared else (), gap_figure),
        **{name: Drawing((name,), partial(resolution_figure, study=name)) for name in RESOLUTIONS},
        "corruption": Drawing(tuple(CORRUPTIONS), corruption_figure),
        "continuum": Drawing(tuple(CONTINUA), continuum_figure),
        "calibration": Drawing(confidences, calibration_figure, intervals=False),
        "entropy": Drawing(entropies, entropy_figure, intervals=False),
    }


def _curves(
    findings: Findings, study: str, place: str, measure: str = OVERALL
) -> dict[str, dict[float, Interval]]:
    found = {model: findings.curve(study, model, place, measure) for model in findings.models}
    return {model: curve for model, curve in found.items() if curve}


def _grid(findings: Findings, rows: Mapping[str, Sequence[Panel]], path: Path, title: str) -> None:
    columns = max(len(panels) for panels in rows.values())
    figure = Figure(figsize=(9.0, 2.0 * len(rows) + 1.1), layout="constrained")
    grid = figure.subplots(len(rows), columns, squeeze=False, sharey=True)
    for (name, panels), line in zip(rows.items(), grid, strict=True):
        for panel, axes in zip(panels, line, strict=True):
            _draw_curves(axes, panel)
            axes.set_xlabel(panel.x, fontsize=8)
        line[0].set_ylabel(f"{name}\nDice", fontsize=9)
    for panel, upper in zip(next(iter(rows.values())), grid[0], strict=True):
        upper.set_title(panel.title, fontsize=10)
    _finish(figure, path, title, findings)


def _draw_curves(axes: Axes, panel: Panel) -> None:
    for model, curve in panel.curves.items():
        values, colour = list(curve), MODEL_COLOURS[model]
        low, mean, high = zip(*((i.low, i.mean, i.high) for i in curve.values()), strict=True)
        if panel.ticks:
            axes.vlines(values, low, high, color=EDGE, linewidth=1.2)
        else:
            axes.fill_between(values, low, high, color=colour, alpha=BAND, linewidth=0)
        axes.plot(
            values,
            mean,
            linestyle="none" if panel.ticks else MODEL_LINES[model],
            marker=MODEL_MARKERS[model],
            **_marks(colour, size=4.5, edge=0.6),
            linewidth=1.8,
        )
    axes.set_ylim(0, 1)
    _plain(axes)
    values = sorted({value for curve in panel.curves.values() for value in curve})
    if panel.ticks:
        axes.set_xticks(range(len(panel.ticks)), panel.ticks)
        axes.set_xlim(-0.5, len(panel.ticks) - 0.5)
    elif 1 < len(values) <= MOST_TICKS:
        axes.set_xticks(values, [f"{value:g}" for value in values])


def _marks(colour: str, *, size: float, edge: float) -> dict[str, Any]:
    return {"color": colour, "markersize": size, "markeredgecolor": EDGE, "markeredgewidth": edge}


def _plain(axes: Axes) -> None:
    """Give a panel the look of all figures: two spines, a light grid, small ticks."""
    axes.spines[["top", "right"]].set_visible(False)
    axes.grid(axis="y", color="#dddddd", linewidth=0.6)
    axes.set_axisbelow(True)
    axes.tick_params(labelsize=8)


def _finish(figure: Figure, path: Path, title: str, findings: Findings, *, lines: bool | None = True) -> None:
    """Add the title and a legend of the models, with or without their lines (None: no legend); write it."""
    figure.suptitle(f"{title}\n(smoke figure from the phantom)" if findings.phantom else title, fontsize=11)
    handles = [
        Line2D(
            [],
            [],
            linestyle=MODEL_LINES[model] if lines else "none",
            marker=MODEL_MARKERS[model],
            **_marks(MODEL_COLOURS[model], size=6, edge=0.6),
            linewidth=1.8,
            label=model_name(model),
        )
        for model in findings.models
    ]
    if lines is not None:
        style = {"loc": "outside lower center", "ncols": len(handles), "frameon": False, "fontsize": 8}
        figure.legend(handles=handles, **style)
    save(figure, path)
