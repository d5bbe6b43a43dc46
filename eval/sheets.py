"""Contact sheets of pictures, and the label maps of the phantom that demos start from."""

from pathlib import Path

import numpy as np
import torch
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.layout_engine import ConstrainedLayoutEngine
from PIL import Image

from synthspine.eval.report.figures import DPI
from synthspine.shards.building.options import DEFAULT_DATA_DIR, ShardOptions
from synthspine.shards.building.sets import ensure_sets
from synthspine.shards.readers.phantom import PHANTOM_FOLDER
from synthspine.shards.reading.open import open_set
from synthspine.shards.storage.atomic import atomic_path

PHANTOM = ShardOptions(use_dummy_data=True, shards_dir=str(DEFAULT_DATA_DIR / PHANTOM_FOLDER / "shards"))
STEP = 5
"""Step of grey values and colours in a sheet, a divisor of 255."""
GAP = 0.02
"""Between pictures, inches."""


def phantom_maps(count: int) -> torch.Tensor:
    """Mid-sagittal label maps of as many phantom patients, dense codes, uint8 ``(count, H, W)``."""
    bank = open_set(ensure_sets(("labels",), PHANTOM)["labels"]).read()
    by_patient: dict[str, list[int]] = {}
    for index, record in enumerate(bank.records):
        by_patient.setdefault(str(record["patient"]), []).append(index)
    middles = [indices[len(indices) // 4] for indices in by_patient.values()]
    return torch.from_numpy(bank.labels[middles[:count]])


def contact_sheet(
    rows: list[tuple[str, list[np.ndarray]]], path: Path, title: str, columns: list[str] | None = None
) -> Path:
    """Write a sheet of pictures in [0, 1] of one shape.

    Args:
        rows: name and pictures of every row, as many pictures in each.
        path: where the PNG goes.
        title: over the sheet.
        columns: names of the columns.
    """
    width, height = len(rows[0][1]), len(rows)
    ratio = rows[0][1][0].shape[0] / rows[0][1][0].shape[1]
    figure = Figure(figsize=(1.8 * width + 0.3, 1.8 * ratio * height + 0.5), layout=_tight())
    panels = figure.subplots(height, width, squeeze=False)
    for (name, pictures), line in zip(rows, panels, strict=True):
        for picture, axes in zip(pictures, line, strict=True):
            show(axes, picture)
        line[0].set_ylabel(name)
    for name, axes in zip(columns or [], panels[0], strict=False):
        axes.set_title(name, fontsize=9)
    figure.suptitle(title, fontsize=11)
    return save_sheet(figure, path)


def pair_sheet(
    pairs: list[tuple[str, np.ndarray, np.ndarray]], path: Path, title: str, pairs_per_row: int
) -> Path:
    """Write a sheet of named pairs of pictures in [0, 1] of one shape, side by side."""
    height = -(-len(pairs) // pairs_per_row)
    ratio = pairs[0][1].shape[0] / pairs[0][1].shape[1]
    width_inches, height_inches = 2.5 * pairs_per_row, (1.22 * ratio + 0.24) * height + 0.3
    figure = Figure(figsize=(width_inches, height_inches), layout=_tight())
    cells = figure.subfigures(height, pairs_per_row, squeeze=False, wspace=0.02)
    for (name, off, on), cell in zip(pairs, cells.flat, strict=False):
        for axes, picture in zip(cell.subplots(1, 2), (off, on), strict=True):
            show(axes, picture)
        cell.suptitle(name, fontsize=9)
    figure.suptitle(title, fontsize=11)
    return save_sheet(figure, path)


def show(axes: Axes, picture: np.ndarray) -> None:
    """Show a picture in [0, 1] in grey, or one in colours as it is."""
    axes.imshow(picture, cmap="gray", vmin=0, vmax=1)
    axes.set(xticks=[], yticks=[])


def save_sheet(figure: Figure, path: Path) -> Path:
    """Write a figure as PNG with channels in steps of ``STEP``: grain takes most of the space of a sheet."""
    figure.set_dpi(DPI // 2)
    canvas = FigureCanvasAgg(figure)
    canvas.draw()
    pixels = np.asarray(canvas.buffer_rgba())[..., :3]
    coarse = ((pixels.astype(np.uint16) + STEP // 2) // STEP * STEP).astype(np.uint8)
    grey = bool((coarse == coarse[..., :1]).all())
    with atomic_path(path) as temporary:
        Image.fromarray(coarse[..., 0] if grey else coarse).save(temporary, format="png", optimize=True)
    return path


def _tight() -> ConstrainedLayoutEngine:
    return ConstrainedLayoutEngine(w_pad=GAP, h_pad=GAP, wspace=0.0, hspace=0.0)
