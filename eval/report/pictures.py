"""Pictures of slices with truth and predictions: the worst cases of the first model on every contrast.

The slice of median Dice follows the worst ones. Only one slice of each patient is a worst case, because
neighbouring slices fail alike.
"""

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor, nn

from synthspine.eval.metrics.overlap import STRUCTURE_SCHEME
from synthspine.eval.report.tables import format_value
from synthspine.eval.results.cache import Cache
from synthspine.eval.results.outcome import CONTRAST, model_name, set_name
from synthspine.eval.studies.batches import SliceBatches
from synthspine.eval.studies.models import Candidate
from synthspine.eval.studies.options import EvaluationOptions
from synthspine.eval.studies.study import Condition
from synthspine.gen.core.anatomy import BACKGROUND, IGNORE, STRUCTURES
from synthspine.gen.core.schemes import label_scheme
from synthspine.shards.checking.contact_sheet import Tile, write_sheet
from synthspine.shards.checking.overlay import borders, coloured, grey_picture
from synthspine.shards.storage.atomic import file_digest
from synthspine.train.decoding import dice, likeliest_structures, overlap_counts

FOLDER = "overlays"
WORST, MEDIAN = "worst", "median"
CASE_FILE = re.compile(rf"[AB]_\w+_({WORST}_\d\d|{MEDIAN})\.png")
LEAST_ROWS = 400
"""Height to which smaller slices are enlarged, by a whole factor."""
WHITE = 255
Dices = dict[str, float | None]
"""Dice of a slice by structure, and ``"overall"``, their mean; None where it is undefined."""


def case_picture(
    image: np.ndarray,
    truth: np.ndarray,
    predictions: Mapping[str, np.ndarray],
    path: Path,
    *,
    title: str,
    note: str = "",
) -> None:
    """Write a PNG of a slice: alone, with the truth, and with every prediction and the border of the truth.

    Args:
        image: in [0, 1], ``(H, W)``.
        truth: dense codes, uint8 ``(H, W)``; the picture shows the bounding box of the annotated pixels.
        predictions: the same by title.
        path: the file; replaced at once when it is whole.
        title: above the picture.
        note: below the first prediction.
    """
    crop = _bounding_box(truth != IGNORE)
    codes = {"truth": truth, **predictions}
    codes = {
        name: np.where(truth == IGNORE, IGNORE, each)[crop].astype(np.uint8) for name, each in codes.items()
    }
    factor = -(-LEAST_ROWS // len(codes["truth"]))
    codes = {name: each.repeat(factor, axis=0).repeat(factor, axis=1) for name, each in codes.items()}
    size = codes["truth"].shape[::-1]
    grey = np.asarray(Image.fromarray(image[crop].astype(np.float32)).resize(size, Image.Resampling.BICUBIC))
    border = borders(codes["truth"]) & (codes["truth"] != BACKGROUND) & (codes["truth"] != IGNORE)
    pictures = {name: coloured(each, grey) for name, each in codes.items()}
    for name in predictions:
        pictures[name][border] = WHITE
    notes = ["", "its border is white in the predictions", note, *[""] * len(predictions)]
    tiles = [
        Tile(picture=picture, name=name, note=text)
        for (name, picture), text in zip(
            {"image": grey_picture(grey), **pictures}.items(), notes, strict=False
        )
    ]
    write_sheet(tiles, path, title, columns=len(tiles), legend=True)


def draw_cases(
    candidates: Sequence[Candidate],
    chosen: Sequence[Condition],
    sets: Mapping[str, SliceBatches],
    cache: Cache,
    options: EvaluationOptions,
) -> list[dict[str, Any]]:
    """Draw the cases of the first model in the study ``contrast`` with the predictions of all models.

    The pictures go to the folder ``overlays`` of the output. Cases that the cache knows are drawn again only
    if a picture is missing or changed.

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
        if drawn is None or not all(
            (path := folder / each["file"]).is_file() and file_digest(path) == each["sha256"]
            for each in drawn
        ):
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
    """Kind and position of each case: worst slices of up to ``count`` patients, then the median slice.

    Slices without an overall Dice are left out.
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
    truth, *found = (
        STRUCTURE_SCHEME.decode(each)[0].cpu().numpy()
        for each in (STRUCTURE_SCHEME.encode(codes), *(_structures(c.model, image) for c in candidates))
    )
    predictions = {model_name(c.name): each for c, each in zip(candidates, found, strict=True)}
    record = loaded.records[index]
    kind, _, number = case.partition("_")
    described = f"worst case {int(number)}" if kind == WORST else "slice of median Dice"
    phantom = " (phantom)" if loaded.phantom else ""
    title = (
        f"{set_name(condition.place)}{phantom}, {described} of Model {model_name(first)}: "
        f"{record['source']}, slice {record['slice']}, Dice {format_value(dices['overall'])}"
    )
    note = "Dice: " + ", ".join(f"{name} {format_value(dices[name])}" for name in STRUCTURES)
    file = f"{FOLDER}/{first}_{condition.place}_{case}.png"
    case_picture(image[0, 0].cpu().numpy(), truth, predictions, folder / file, title=title, note=note)
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
