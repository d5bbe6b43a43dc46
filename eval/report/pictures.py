"""Pictures of slices with truth and predictions: the worst cases of the first model on every contrast.

The slice of median Dice follows the worst ones. Only one slice of each patient is a worst case, because
neighbouring slices fail alike.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from matplotlib.figure import Figure
from matplotlib.layout_engine import ConstrainedLayoutEngine
from matplotlib.lines import Line2D
from matplotlib.patches import Patch
from matplotlib.patheffects import Stroke, withStroke
from torch import Tensor, nn

from synthspine.eval.metrics.overlap import STRUCTURE_SCHEME
from synthspine.eval.report.figures import save
from synthspine.eval.report.tables import format_value
from synthspine.eval.results.cache import Cache, is_file_of
from synthspine.eval.results.outcome import CONTRAST, model_name, set_name
from synthspine.eval.studies.batches import SliceBatches
from synthspine.eval.studies.models import Candidate
from synthspine.eval.studies.options import EvaluationOptions
from synthspine.eval.studies.study import Condition
from synthspine.gen.core.anatomy import IGNORE, STRUCTURE_COLOURS, STRUCTURES, label_scheme
from synthspine.shards.storage.atomic import file_digest
from synthspine.train.decoding import likeliest_structures
from synthspine.train.overlap import dice, overlap_counts

FOLDER = "overlays"
WORST, MEDIAN = "worst", "median"
CASE_FILE = re.compile(rf"[AB]_\w+_({WORST}_\d\d|{MEDIAN})\.png")
DPI = 130
PANEL_INCHES = 2.4
FILL = 0.45
"""Opacity of the structures."""
BORDER, HALO = "white", "black"
Dices = dict[str, float | None]
"""Dice of a slice by structure, and ``"overall"``, their mean; None where it is undefined."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Overlay:
    """One row of panels: a slice alone, with the truth, and with each prediction.

    ``maps`` holds structures by column title, 0 none, 1.. in the order of ``STRUCTURES``. The truth is the
    first one; its border is drawn on all of them.
    """

    image: np.ndarray  # float (H, W) in [0, 1]
    inside: np.ndarray  # annotated pixels, bool (H, W); the panels show their bounding box
    maps: Mapping[str, np.ndarray]  # uint8 (H, W)
    title: str = ""  # to the left of the row


def overlay_figure(rows: Sequence[Overlay], path: Path, *, title: str) -> None:
    """Write a PNG of slices with the structures of their maps and the border of the truth.

    Args:
        rows: maps of the same titles in each.
        path: the file; replaced at once when it is whole.
        title: above the picture.

    Raises:
        OSError: it cannot be written.
    """
    crops = [_bounding_box(row.inside) for row in rows]
    heights = [
        row.image[crop].shape[0] / row.image[crop].shape[1] for row, crop in zip(rows, crops, strict=True)
    ]
    columns = 1 + len(rows[0].maps)
    figure = Figure(
        figsize=(PANEL_INCHES * columns, PANEL_INCHES * sum(heights) + 0.75),
        layout=ConstrainedLayoutEngine(w_pad=0.02, h_pad=0.02, wspace=0.01),
    )
    panels = figure.subplots(len(rows), columns, squeeze=False, height_ratios=heights)
    for row, crop, line in zip(rows, crops, panels, strict=True):
        truth = next(iter(row.maps.values()))[crop]
        for axes, structures in zip(line, (None, *row.maps.values()), strict=True):
            filled = None if structures is None else structures[crop]
            axes.imshow(_painted(row.image[crop], filled), interpolation="nearest")
            for value in range(1, len(STRUCTURES) + 1) if filled is not None else ():
                border = (truth == value).astype(float)
                if 0 < border.mean() < 1:
                    lines = axes.contour(border, levels=[0.5], colors=BORDER, linewidths=0.7)
                    lines.set_path_effects([Stroke(linewidth=1.5, foreground=HALO), Stroke(linewidth=0.7)])
            axes.set(xticks=[], yticks=[])
            axes.spines[:].set_visible(False)
        line[0].set_ylabel(row.title, fontsize=9)
    for axes, name in zip(panels[0], ("image", *rows[0].maps), strict=True):
        axes.set_title(name, fontsize=9)
    handles = [Patch(facecolor=_rgb(name), label=name) for name in STRUCTURES]
    border_line = Line2D([], [], color=BORDER, linewidth=1.0, label="border of the truth")
    border_line.set_path_effects([withStroke(linewidth=2.2, foreground=HALO)])
    figure.legend(
        handles=[*handles, border_line], loc="outside lower center", ncols=4, frameon=False, fontsize=8
    )
    figure.suptitle(title, fontsize=9)
    save(figure, path, DPI)


def draw_cases(
    candidates: Sequence[Candidate],
    chosen: Sequence[Condition],
    sets: Mapping[str, SliceBatches],
    cache: Cache,
    options: EvaluationOptions,
) -> list[dict[str, Any]]:
    """Draw the cases of the first model with the predictions of all models.

    Args:
        candidates: the models.
        chosen: the measured conditions; cases come from those of the study ``contrast``.
        sets: the slices by set.
        cache: cases that were drawn before; they are drawn again only if a picture is missing or changed.
        options: output folder, number of worst cases and batch size; the pictures are in its ``overlays``.

    Returns:
        The entries of ``outcome.json``, set by set, the worst first.
    """
    listed: list[dict[str, Any]] = []
    folder, count = options.output_dir, options.overlays
    for condition in chosen:
        if condition.study != CONTRAST or count == 0:
            continue
        key = {
            "what": "overlays",
            "checkpoints": {candidate.name: candidate.facts.sha256 for candidate in candidates},
            "input": condition.recipe,
            "count": count,
            "set": condition.place,
        }
        drawn = cache.find(key)
        if drawn is None or not all(is_file_of(folder / each["file"], each["sha256"]) for each in drawn):
            dices = slice_dices(candidates[0].model, condition, options.batch_size)
            drawn = []
            for number, (kind, place) in enumerate(choose_cases(condition.patients, dices, count), start=1):
                which = f"{kind}_{number:02d}" if kind == WORST else kind
                loaded = sets[condition.place]
                entry = _draw(candidates, loaded, condition, which, place, dices[place], folder)
                file = entry["file"]
                drawn.append({"entry": entry, "file": file, "sha256": file_digest(folder / file)})
            cache.keep(key, drawn)
        listed += [each["entry"] for each in drawn]
    names = {Path(entry["file"]).name for entry in listed}
    for path in (folder / FOLDER).glob("*.png"):
        # A picture of an earlier evaluation must not be taken for one of this.
        if path.name not in names and CASE_FILE.fullmatch(path.name):
            path.unlink()
    return listed


@torch.inference_mode()
def slice_dices(model: nn.Module, condition: Condition, batch_size: int) -> list[Dices]:
    """Dice of every structure of every slice of a condition, and overall, their mean."""
    rows: list[Dices] = []
    for image, codes, *_ in condition.batches(batch_size):
        target = STRUCTURE_SCHEME.encode(codes)
        counts = overlap_counts(_structures(model, image), target, len(STRUCTURES) + 1)
        for values in dice(*counts)[:, 1:].cpu():
            defined = values[~values.isnan()]
            overall = float(defined.mean()) if len(defined) else None
            each = [None if value.isnan() else float(value) for value in values]
            rows.append({"overall": overall, **dict(zip(STRUCTURES, each, strict=True))})
    return rows


def choose_cases(patients: Sequence[str], dices: Sequence[Dices], count: int) -> list[tuple[str, int]]:
    """Kind and position of each case: the worst slice of each patient, the worst first, and the median slice.

    Args:
        patients: the patient of every slice.
        dices: Dice of every slice; those without an overall Dice are left out.
        count: largest number of worst cases.
    """
    known = [(row["overall"], place) for place, row in enumerate(dices) if row["overall"] is not None]
    order = [place for _, place in sorted(known)]
    if not order or count == 0:
        return []
    worst: dict[str, int] = {}
    for place in order:
        worst.setdefault(patients[place], place)
    chosen = [(WORST, place) for place in list(worst.values())[:count]]
    return [*chosen, (MEDIAN, order[len(order) // 2])]


@torch.inference_mode()
def _draw(
    candidates: Sequence[Candidate],
    loaded: SliceBatches,
    condition: Condition,
    case: str,
    place: int,
    dices: Dices,
    folder: Path,
) -> dict[str, Any]:
    """Draw a case, and return its entry of ``outcome.json``."""
    first = candidates[0].name
    index = condition.indices[place]
    image, codes = loaded.at(torch.tensor([index]))
    inside = (codes[0] != IGNORE).cpu().numpy()
    maps = {"truth": STRUCTURE_SCHEME.encode(codes)[0].cpu().numpy() * inside}
    for candidate in candidates:
        found = _structures(candidate.model, image)[0].cpu().numpy()
        maps[model_name(candidate.name)] = found * inside
    record = loaded.records[index]
    kind, _, number = case.partition("_")
    described = f"worst case {int(number)}" if kind == WORST else "slice of median Dice"
    each = ", ".join(f"{name} {format_value(dices[name])}" for name in STRUCTURES)
    title = (
        f"{set_name(condition.place)}{' (phantom)' if loaded.phantom else ''}, {described} of Model "
        f"{model_name(first)}: {record['source']}, slice {record['slice']}\n"
        f"Dice {format_value(dices['overall'])} ({each})"
    )
    file = f"{FOLDER}/{first}_{condition.place}_{case}.png"
    row = Overlay(image=image[0, 0].cpu().numpy(), inside=inside, maps=maps)
    overlay_figure([row], folder / file, title=title)
    return {
        "file": file,
        "case": kind,
        "model": first,
        "set": condition.place,
        "patient": str(record["patient"]),
        "source": record["source"],
        "slice": record["slice"],
        "dice": dict(dices),
    }


def _structures(model: nn.Module, image: Tensor) -> Tensor:
    """Predicted structures, uint8 ``(B, H, W)``, of images ``(B, 1, H, W)``."""
    logits = model(image)
    return likeliest_structures(logits, label_scheme(logits.shape[1]))


def _bounding_box(inside: np.ndarray) -> tuple[slice, ...]:
    """Rows and columns with a pixel inside; all where there is none."""
    found = [np.flatnonzero(inside.any(axis=axis)) for axis in (1, 0)]
    return tuple(slice(int(each[0]), int(each[-1]) + 1) if len(each) else slice(None) for each in found)


def _painted(image: np.ndarray, structures: np.ndarray | None) -> np.ndarray:
    """RGB of an image in [0, 1] with the structures in their colours."""
    painted = np.repeat(np.clip(image, 0, 1)[..., None], 3, axis=-1).astype(np.float64)
    for value, name in enumerate(STRUCTURES, start=1):
        if structures is not None:
            where = structures == value
            painted[where] = (1 - FILL) * painted[where] + FILL * np.array(_rgb(name))
    return painted


def _rgb(structure: str) -> tuple[float, float, float]:
    red, green, blue = STRUCTURE_COLOURS[structure]
    return red / 255, green / 255, blue / 255
