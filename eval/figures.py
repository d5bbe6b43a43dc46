"""Figures of the report: contrast shift, Dice over resolution, sample overlays.

Colours are safe for colour-blind readers, and every difference is also told by shape (hatch, marker, line
style), so that a figure survives a grey printer.
"""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.font_manager import FontProperties
from matplotlib.layout_engine import ConstrainedLayoutEngine
from matplotlib.legend import Legend
from matplotlib.lines import Line2D
from matplotlib.patches import Patch
from matplotlib.ticker import FormatStrFormatter

from eval.outcome import CONTRAST_NAMES, MEASURES, MODEL_NAMES, Outcome
from gen.anatomy import STRUCTURE_COLOURS, STRUCTURES
from shards.atomic import atomic_path

DPI = 160
# Tol's "muted" scheme: told apart by all kinds of colour vision, and by lightness.
MODEL_COLOURS = {"A": "#882255", "B": "#88CCEE"}
MODEL_MARKERS = {"A": "o", "B": "s"}
CONTRAST_HATCHES = {"t1": "", "t2": "////"}
CONTRAST_LINES = {"t1": "-", "t2": "--"}
FILL = 0.35
PANEL_INCHES = 2.1


@dataclass(frozen=True, kw_only=True, slots=True)
class Overlay:
    """One row of the overlays.

    Attributes:
        title: which slice, at which resolution.
        image: float ``(H, W)`` in [0, 1], as the models saw it.
        inside: bool ``(H, W)``, the field of view.
        maps: column title to four-class map, uint8 ``(H, W)``; the truth first.
    """

    title: str
    image: np.ndarray
    inside: np.ndarray
    maps: dict[str, np.ndarray]


def contrast_figure(outcome: Outcome, path: Path) -> None:
    """Bars of the mean Dice on T1 and T2, side by side for each model, with a dot for every patient."""
    bars = [(model, contrast) for model in outcome.models for contrast in outcome.sets]
    figure, axes = _figure(7.0, 3.6)
    width = 0.8 / len(bars)
    places = np.arange(len(MEASURES))
    for index, (model, contrast) in enumerate(bars):
        offset = (index - (len(bars) - 1) / 2) * width
        heights = [outcome.dice(model, contrast, outcome.factors[0], measure) for measure in MEASURES]
        axes.bar(
            places + offset,
            np.nan_to_num(heights),
            width * 0.92,
            color=MODEL_COLOURS[model],
            hatch=CONTRAST_HATCHES[contrast],
            edgecolor="white",
            linewidth=0,
        )
        for place, measure, height in zip(places, MEASURES, heights, strict=True):
            dots = [
                value
                for value in outcome.patients(model, contrast, outcome.factors[0], measure).values()
                if not np.isnan(value)
            ]
            spread = np.linspace(-0.28, 0.28, len(dots)) * width if len(dots) > 1 else np.zeros(len(dots))
            axes.plot(
                place + offset + spread,
                dots,
                "o",
                markersize=3,
                markerfacecolor="#222222",
                markeredgecolor="white",
                markeredgewidth=0.4,
            )
            label = "n/a" if np.isnan(height) else f"{height:.2f}".removeprefix("0")
            axes.text(
                place + offset,
                0.015,
                label,
                ha="center",
                va="bottom",
                fontsize=7,
                color="black",
                bbox={"facecolor": "white", "edgecolor": "none", "pad": 0.8, "alpha": 0.85},
            )
    axes.set_xticks(places, MEASURES)
    axes.set_ylabel("Dice: mean, dots are patients")
    axes.set_ylim(0, 1.02)
    _title(axes, "Contrast shift: the same models on T1 and on T2", outcome.phantom)
    handles = [Patch(facecolor=MODEL_COLOURS[model], label=MODEL_NAMES[model]) for model in outcome.models]
    handles += [
        Patch(
            facecolor="#777777",
            edgecolor="white",
            linewidth=0,
            hatch=CONTRAST_HATCHES[contrast],
            label=f"{CONTRAST_NAMES[contrast]} ({outcome.sets[contrast].patients} patients)",
        )
        for contrast in outcome.sets
    ]
    _legend(figure, handles)
    _save(figure, path)


def resolution_figure(outcome: Outcome, path: Path) -> None:
    """Lines of the mean Dice over the pixel size, a panel for each structure."""
    figure = Figure(figsize=(9.0, 3.0), layout="constrained")
    panels = figure.subplots(1, len(MEASURES), sharey=True, sharex=True)
    sizes = [factor * outcome.spacing_mm for factor in outcome.factors]
    for axes, measure in zip(panels, MEASURES, strict=True):
        for model in outcome.models:
            for contrast in outcome.sets:
                axes.plot(
                    sizes,
                    [outcome.dice(model, contrast, factor, measure) for factor in outcome.factors],
                    CONTRAST_LINES[contrast],
                    color=MODEL_COLOURS[model],
                    marker=MODEL_MARKERS[model],
                    markersize=4.5,
                    markerfacecolor=MODEL_COLOURS[model] if contrast == "t1" else "white",
                    markeredgecolor="#333333",
                    markeredgewidth=0.6,
                    linewidth=1.8,
                )
        axes.set_title(measure, fontsize=10)
        axes.set_xlabel("pixel size (mm)")
        axes.set_xticks(sizes)
        axes.xaxis.set_major_formatter(FormatStrFormatter("%g"))
        axes.set_ylim(0, 1)
        _plain(axes)
    panels[0].set_ylabel("Dice, mean over patients")
    title = "Dice over resolution: coarser input, truth at full resolution"
    figure.suptitle(_marked(title, outcome.phantom), fontsize=11)
    handles = [
        Line2D(
            [],
            [],
            color=MODEL_COLOURS[model],
            marker=MODEL_MARKERS[model],
            markeredgecolor="#333333",
            linewidth=1.8,
            label=MODEL_NAMES[model],
        )
        for model in outcome.models
    ]
    handles += [
        Line2D([], [], color="#333333", linestyle=CONTRAST_LINES[contrast], label=CONTRAST_NAMES[contrast])
        for contrast in outcome.sets
    ]
    _legend(figure, handles)
    _save(figure, path)


def overlay_figure(rows: list[Overlay], path: Path, *, title: str, credit: str, phantom: bool) -> None:
    """Slices with the truth and the answers of the models drawn over them."""
    columns = ["image", *rows[0].maps]
    crops = [_crop(row.inside) for row in rows]
    ratios = [
        row.image[crop].shape[0] / row.image[crop].shape[1] for row, crop in zip(rows, crops, strict=True)
    ]
    size = (PANEL_INCHES * len(columns) + 0.3, PANEL_INCHES * sum(ratios) + 0.8)
    tight = ConstrainedLayoutEngine(w_pad=0.02, h_pad=0.02, wspace=0.0, hspace=0.0)
    figure = Figure(figsize=size, layout=tight)
    panels = figure.subplots(len(rows), len(columns), squeeze=False, height_ratios=ratios)
    for row, crop, line in zip(rows, crops, panels, strict=True):
        image = np.repeat(row.image[crop][..., None], 3, axis=-1)
        for axes, name in zip(line, columns, strict=True):
            axes.imshow(image if name == "image" else _painted(image, row.maps[name][crop]), vmin=0, vmax=1)
            if name != "image":
                _outline(axes, row.maps[name][crop])
            axes.set_xticks([])
            axes.set_yticks([])
            axes.spines[:].set_visible(False)
        line[0].set_ylabel(row.title, fontsize=9)
    for axes, name in zip(panels[0], columns, strict=True):
        axes.set_title(name, fontsize=10)
    handles = [Patch(facecolor=_rgb(name), label=name) for name in STRUCTURES]
    legend = _legend(figure, handles)
    legend.set_title(credit, prop=FontProperties(size=6.5))
    figure.suptitle(_marked(title, phantom), fontsize=11)
    _save(figure, path)


def _rgb(structure: str) -> tuple[float, float, float]:
    red, green, blue = STRUCTURE_COLOURS[structure]
    return red / 255, green / 255, blue / 255


def _painted(image: np.ndarray, structures: np.ndarray) -> np.ndarray:
    painted = image.copy()
    for value, name in enumerate(STRUCTURES, start=1):
        where = structures == value
        painted[where] = (1 - FILL) * painted[where] + FILL * np.array(_rgb(name))
    return painted


def _outline(axes: Axes, structures: np.ndarray) -> None:
    for value, name in enumerate(STRUCTURES, start=1):
        where = structures == value
        if where.any() and not where.all():
            axes.contour(where.astype(float), levels=[0.5], colors=[_rgb(name)], linewidths=0.9)


def _crop(inside: np.ndarray) -> tuple[slice, slice]:
    rows, columns = np.flatnonzero(inside.any(axis=1)), np.flatnonzero(inside.any(axis=0))
    if not len(rows):
        return slice(None), slice(None)
    return slice(int(rows[0]), int(rows[-1]) + 1), slice(int(columns[0]), int(columns[-1]) + 1)


def _figure(width: float, height: float) -> tuple[Figure, Axes]:
    figure = Figure(figsize=(width, height), layout="constrained")
    axes = figure.subplots()
    _plain(axes)
    return figure, axes


def _plain(axes: Axes) -> None:
    axes.spines[["top", "right"]].set_visible(False)
    axes.grid(axis="y", color="#dddddd", linewidth=0.6)
    axes.set_axisbelow(True)
    axes.tick_params(labelsize=8)


def _title(axes: Axes, text: str, phantom: bool) -> None:
    axes.set_title(_marked(text, phantom), fontsize=11)


def _marked(text: str, phantom: bool) -> str:
    return f"{text}\n(smoke figure from the phantom)" if phantom else text


def _legend(figure: Figure, handles: list) -> Legend:
    return figure.legend(
        handles=handles, loc="outside lower center", ncols=len(handles), frameon=False, fontsize=8
    )


def _save(figure: Figure, path: Path) -> None:
    FigureCanvasAgg(figure)
    with atomic_path(path) as temporary:
        # Without the date and version in the file, equal numbers give equal bytes.
        figure.savefig(temporary, dpi=DPI, format="png", metadata={"Software": None})
