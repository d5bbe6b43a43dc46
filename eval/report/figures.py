"""The look of all figures, and overlays of masks on slices.

Colours are safe for colour-blind readers, and every difference is also told by shape (hatch, marker, line
style), so that a figure survives a grey printer.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.font_manager import FontProperties
from matplotlib.layout_engine import ConstrainedLayoutEngine
from matplotlib.legend import Legend
from matplotlib.lines import Line2D
from matplotlib.patches import Patch

from synthspine.eval.results.findings import MODEL_COLOURS, model_name
from synthspine.gen.core.anatomy import STRUCTURE_COLOURS, STRUCTURES
from synthspine.shards.storage.atomic import atomic_path

DPI = 160
MODEL_MARKERS = {"A": "o", "B": "s"}
MODEL_LINES = {"A": "-", "B": "--"}
EDGE = "#333333"
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
    legend(figure, handles).set_title(credit, prop=FontProperties(size=6.5))
    head(figure, title, phantom)
    save(figure, path)


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


def plain(axes: Axes) -> None:
    """Give a panel the look of the house: two spines, a light grid, small ticks."""
    axes.spines[["top", "right"]].set_visible(False)
    axes.grid(axis="y", color="#dddddd", linewidth=0.6)
    axes.set_axisbelow(True)
    axes.tick_params(labelsize=8)


def head(figure: Figure, text: str, phantom: bool) -> None:
    """Set the title, with a mark where the numbers come from the phantom."""
    figure.suptitle(f"{text}\n(smoke figure from the phantom)" if phantom else text, fontsize=11)


def model_handles(models: Iterable[str]) -> list[Line2D]:
    """What stands in a legend for the models."""
    return [
        Line2D(
            [],
            [],
            color=MODEL_COLOURS[model],
            linestyle=MODEL_LINES[model],
            marker=MODEL_MARKERS[model],
            markeredgecolor=EDGE,
            markeredgewidth=0.6,
            linewidth=1.8,
            label=model_name(model),
        )
        for model in models
    ]


def legend(figure: Figure, handles: Sequence[Artist]) -> Legend:
    """Put a legend under the figure."""
    return figure.legend(
        handles=handles, loc="outside lower center", ncols=len(handles), frameon=False, fontsize=8
    )


def save(figure: Figure, path: Path) -> None:
    """Write a figure as PNG; equal numbers give equal bytes."""
    FigureCanvasAgg(figure)
    with atomic_path(path) as temporary:
        # Without the date and version in the file, equal numbers give equal bytes.
        figure.savefig(temporary, dpi=DPI, format="png", metadata={"Software": None})
