"""The picture of one case: the slice, the truth on it, and the answer of every model against the truth."""

from collections.abc import Mapping
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch
from matplotlib.patheffects import Stroke, withStroke

from synthspine.eval.results.findings import model_name
from synthspine.gen.core.anatomy import STRUCTURE_COLOURS, STRUCTURES
from synthspine.shards.storage.atomic import atomic_path

DPI = 130
PANEL_INCHES = 2.4
FILL = 0.45
TRUTH_COLOUR, HALO_COLOUR = "white", "black"


def case_picture(
    image: np.ndarray,
    truth: np.ndarray,
    answers: Mapping[str, np.ndarray],
    inside: np.ndarray,
    path: Path,
    *,
    title: str,
) -> None:
    """Write a PNG: the slice alone, with the truth, and with every model's answer and the truth's border.

    Args:
        image: in [0, 1], float ``(H, W)``.
        truth: structures (0 none, 1.. in the order of ``STRUCTURES``), uint8 ``(H, W)``.
        answers: the same by model.
        inside: where anything is annotated, bool ``(H, W)``; what lies around is cut off.
        path: where to; replaced at once when it is whole.
        title: over the picture.

    Raises:
        OSError: it cannot be written.
    """
    rows, columns = _frame(inside)
    height, width = rows.stop - rows.start, columns.stop - columns.start
    panels = 2 + len(answers)
    figure = Figure(
        figsize=(PANEL_INCHES * panels, PANEL_INCHES * height / width + 0.75), layout="constrained"
    )
    figure.get_layout_engine().set(w_pad=0.02, h_pad=0.02, wspace=0.01)  # type: ignore[union-attr,call-arg]
    axes = figure.subplots(1, panels)
    maps = {"image": None, "truth": truth} | {model_name(name): answer for name, answer in answers.items()}
    for place, (name, structures) in zip(axes, maps.items(), strict=True):
        filled = None if structures is None else structures[rows, columns]
        place.imshow(_painted(image[rows, columns], filled), interpolation="nearest")
        if filled is not None:
            _outline(place, truth[rows, columns])
        place.set_title(name, fontsize=9)
        place.set_axis_off()
    handles = [Patch(facecolor=_rgb(name), label=name) for name in STRUCTURES]
    border = Line2D([], [], color=TRUTH_COLOUR, linewidth=1.0, label="border of the truth")
    border.set_path_effects([withStroke(linewidth=2.2, foreground=HALO_COLOUR)])
    figure.legend(handles=[*handles, border], loc="outside lower center", ncols=4, frameon=False, fontsize=8)
    figure.suptitle(title, fontsize=9)
    FigureCanvasAgg(figure)
    with atomic_path(path) as temporary:
        # Without the date and version in the file, equal cases give equal bytes.
        figure.savefig(temporary, dpi=DPI, format="png", metadata={"Software": None})


def _frame(inside: np.ndarray) -> tuple[slice, slice]:
    found = [np.flatnonzero(inside.any(axis=axis)) for axis in (1, 0)]
    if not all(len(indices) for indices in found):
        return slice(0, inside.shape[0]), slice(0, inside.shape[1])
    rows, columns = (slice(int(indices[0]), int(indices[-1]) + 1) for indices in found)
    return rows, columns


def _painted(image: np.ndarray, structures: np.ndarray | None) -> np.ndarray:
    painted = np.repeat(np.clip(image, 0, 1)[..., None], 3, axis=-1).astype(np.float64)
    for value, name in enumerate(STRUCTURES, start=1):
        if structures is not None:
            where = structures == value
            painted[where] = (1 - FILL) * painted[where] + FILL * np.array(_rgb(name))
    return painted


def _outline(axes: Axes, structures: np.ndarray) -> None:
    """The borders of the structures, white on black, so that they show on any grey."""
    for value in range(1, len(STRUCTURES) + 1):
        where = structures == value
        if where.any() and not where.all():
            lines = axes.contour(where.astype(float), levels=[0.5], colors=TRUTH_COLOUR, linewidths=0.7)
            lines.set_path_effects([Stroke(linewidth=1.5, foreground=HALO_COLOUR), Stroke(linewidth=0.7)])


def _rgb(structure: str) -> tuple[float, float, float]:
    red, green, blue = STRUCTURE_COLOURS[structure]
    return red / 255, green / 255, blue / 255
