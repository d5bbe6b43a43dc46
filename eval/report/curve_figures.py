"""Figures of the studies: Dice over resolution, corruption and contrast, with bands of the intervals."""

from dataclasses import dataclass
from pathlib import Path

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from synthspine.eval.report.figures import (
    EDGE,
    MODEL_LINES,
    MODEL_MARKERS,
    head,
    legend,
    model_handles,
    plain,
    save,
)
from synthspine.eval.results.findings import (
    CONTINUUM,
    CORRUPTIONS,
    IN_PLANE,
    LEVELS,
    MEASURES,
    MODEL_COLOURS,
    OVERALL,
    PHYSICAL,
    RESOLUTIONS,
    Findings,
    Point,
    set_name,
)

BAND = 0.25
MOST_TICKS = 6


@dataclass(frozen=True, slots=True, kw_only=True)
class Panel:
    """One panel of a grid of curves.

    Attributes:
        title: over it; only the first row of a grid shows it.
        x: what the values are.
        curves: points by model.
        names: of the values, where they are no numbers.
    """

    title: str
    x: str
    curves: dict[str, list[Point]]
    names: tuple[str, ...] = ()


def resolution_figure(findings: Findings, study: str, path: Path) -> None:
    """Dice over the factor, a row per set, a column per measure."""
    rows = {
        set_name(place): [
            Panel(
                title=measure,
                x="pixel size, multiple" if study == IN_PLANE else "thickness, multiple",
                curves=_curves(findings, study, place, measure),
            )
            for measure in MEASURES
        ]
        for place in findings.places(study)
    }
    _grid(findings, rows, path, f"{RESOLUTIONS[study]} resolution: coarser input, truth at full resolution")


def corruption_figure(findings: Findings, path: Path) -> None:
    """Overall Dice over the level, a row per set, a column per corruption."""
    studies = [study for study in CORRUPTIONS if findings.places(study)]
    places = dict.fromkeys(place for study in studies for place in findings.places(study))
    rows = {
        set_name(place): [
            Panel(title=CORRUPTIONS[study], x=LEVELS[study], curves=_curves(findings, study, place, OVERALL))
            for study in studies
        ]
        for place in places
    }
    _grid(findings, rows, path, "Corrupted input: overall Dice")


def continuum_figure(findings: Findings, path: Path) -> None:
    """Dice over alpha, a row per way of making contrast, a column per measure."""
    names = tuple(
        findings.value_name(PHYSICAL, value).replace(" ", "\n", 1) for value in findings.values(PHYSICAL)
    )
    kinds = {
        CONTINUUM: ("measured\nmeans", "α, from T1 (0) to T2 (1)", ()),
        PHYSICAL: ("spin-echo\nphysics", "", names),
    }
    rows = {
        name: [
            Panel(title=measure, x=x, curves=_curves(findings, study, place, measure), names=ticks)
            for measure in MEASURES
        ]
        for study, (name, x, ticks) in kinds.items()
        for place in findings.places(study)
    }
    _grid(findings, rows, path, f"From T1 to T2 on rendered {findings.part} maps")


def _curves(findings: Findings, study: str, place: str, measure: str) -> dict[str, list[Point]]:
    found = {model: findings.curve(study, model, place, measure) for model in findings.models}
    return {model: points for model, points in found.items() if points}


def _grid(findings: Findings, rows: dict[str, list[Panel]], path: Path, title: str) -> None:
    columns = max(len(panels) for panels in rows.values())
    figure = Figure(figsize=(9.0, 2.0 * len(rows) + 1.1), layout="constrained")
    grid = figure.subplots(len(rows), columns, squeeze=False, sharey=True)
    for (name, panels), line in zip(rows.items(), grid, strict=True):
        for panel, axes in zip(panels, line, strict=True):
            _draw(axes, panel)
            axes.set_xlabel(panel.x, fontsize=8)
        line[0].set_ylabel(f"{name}\nDice", fontsize=9)
    for panel, upper in zip(next(iter(rows.values())), grid[0], strict=True):
        upper.set_title(panel.title, fontsize=10)
    head(figure, title, findings.phantom)
    legend(figure, model_handles(findings.models))
    save(figure, path)


def _draw(axes: Axes, panel: Panel) -> None:
    for model, points in panel.curves.items():
        values = [point.value for point in points]
        colour = MODEL_COLOURS[model]
        low, mean, high = zip(
            *((p.interval.low, p.interval.mean, p.interval.high) for p in points), strict=True
        )
        if panel.names:
            axes.vlines(values, low, high, color=EDGE, linewidth=1.2)
        else:
            axes.fill_between(values, low, high, color=colour, alpha=BAND, linewidth=0)
        axes.plot(
            values,
            mean,
            linestyle="none" if panel.names else MODEL_LINES[model],
            color=colour,
            marker=MODEL_MARKERS[model],
            markersize=4.5,
            markeredgecolor=EDGE,
            markeredgewidth=0.6,
            linewidth=1.8,
        )
    axes.set_ylim(0, 1)
    plain(axes)
    values = sorted({point.value for points in panel.curves.values() for point in points})
    if panel.names:
        axes.set_xticks(range(len(panel.names)), panel.names)
        axes.set_xlim(-0.5, len(panel.names) - 0.5)
    elif 1 < len(values) <= MOST_TICKS:
        axes.set_xticks(values, [f"{value:g}" for value in values])
