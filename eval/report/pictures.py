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
from torch import Tensor

from synthspine.eval.metrics.statistics import mean
from synthspine.eval.metrics.structures import OVERALL, to_measured
from synthspine.eval.metrics.table import DICE
from synthspine.eval.metrics.tally import Tally
from synthspine.eval.report.tables import format_value
from synthspine.eval.results.cache import Cache
from synthspine.eval.results.outcome import CONTRAST, model_name, set_name, without_nan
from synthspine.eval.studies.batches import SliceBatches
from synthspine.eval.studies.models import Candidate
from synthspine.eval.studies.options import EvaluationOptions
from synthspine.eval.studies.study import Condition
from synthspine.gen.core.anatomy import BACKGROUND, IGNORE
from synthspine.gen.core.schemes import LabelScheme
from synthspine.shards.checking.contact_sheet import Tile, write_sheet
from synthspine.shards.checking.overlay import borders, coloured, grey_picture
from synthspine.shards.storage.atomic import file_digest
from synthspine.train.decoding import likeliest_classes
from synthspine.train.model.checkpoint import TrainedUNet

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
    structures: LabelScheme,
    title: str,
    note: str = "",
) -> None:
    """Write a PNG of a slice: alone, with the truth, and with every prediction and the border of the truth.

    The image is in [0, 1], ``(H, W)``; the truth, and the predictions by title, are classes of
    ``structures``, uint8. Shown is the bounding box of the pixels whose truth is not 255. The note is below
    the first prediction.
    """
    crop = _bounding_box(truth != IGNORE)
    maps = {"truth": truth, **predictions}
    maps = {
        name: np.where(truth == IGNORE, IGNORE, each)[crop].astype(np.uint8) for name, each in maps.items()
    }
    factor = -(-LEAST_ROWS // len(maps["truth"]))
    maps = {name: each.repeat(factor, axis=0).repeat(factor, axis=1) for name, each in maps.items()}
    size = maps["truth"].shape[::-1]
    grey = np.asarray(Image.fromarray(image[crop].astype(np.float32)).resize(size, Image.Resampling.BICUBIC))
    border = borders(maps["truth"]) & (maps["truth"] != BACKGROUND) & (maps["truth"] != IGNORE)
    colours = np.zeros((IGNORE + 1, 3), dtype=np.uint8)
    colours[: structures.num_classes] = structures.colours
    pictures = {name: coloured(each, grey, colours=colours) for name, each in maps.items()}
    for name in predictions:
        pictures[name][border] = WHITE
    notes = ["", "its border is white in the predictions", note, *[""] * len(predictions)]
    tiles = [
        Tile(picture=picture, name=name, note=text)
        for (name, picture), text in zip(
            {"image": grey_picture(grey), **pictures}.items(), notes, strict=False
        )
    ]
    write_sheet(tiles, path, title, columns=len(tiles), legend=structures)


def draw_cases(
    candidates: Sequence[Candidate],
    chosen: Sequence[Condition],
    sets: Mapping[str, SliceBatches],
    cache: Cache,
    options: EvaluationOptions,
    structures: LabelScheme,
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
            "structures": structures.to_dict(),
        }
        drawn = cache.find(key)
        if drawn is None or not all(
            (path := folder / each["file"]).is_file() and file_digest(path) == each["sha256"]
            for each in drawn
        ):
            dices = slice_dices(candidates[0].model, condition, options.batch_size, structures)
            drawn = []
            for number, (kind, place) in enumerate(choose_cases(condition.patients, dices, count), start=1):
                which = f"{kind}_{number:02d}" if kind == WORST else kind
                loaded = sets[condition.place]
                entry = _draw(candidates, structures, loaded, condition, which, place, dices[place], folder)
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
def slice_dices(
    model: TrainedUNet, condition: Condition, batch_size: int, structures: LabelScheme
) -> list[Dices]:
    """Dice of every structure of every slice of a condition, and overall, their mean.

    A structure that no truth shows has no Dice.
    """
    names, spacing = structures.class_names, (1.0, 1.0)  # Dice has no unit
    tally = Tally(names, spacing, metrics=[DICE], rates=[], homes=structures.class_structures)
    slices = 0
    for image, codes, *_ in condition.batches(batch_size):
        numbers = [str(slices + place) for place in range(len(codes))]
        tally.add(_structures(model, image, structures), structures.encode(codes), numbers)
        slices += len(codes)
    dices = tally.dices()
    rows = ({OVERALL: mean(list(dices[str(n)].values())), **dices[str(n)]} for n in range(slices))
    return [without_nan(row) for row in rows]


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
    structures: LabelScheme,
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
        each[0].cpu().numpy()
        for each in (structures.encode(codes), *(_structures(c.model, image, structures) for c in candidates))
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
    known = (
        f"{name} {format_value(dices[name])}" for name in dices if name != OVERALL and dices[name] is not None
    )
    note = "Dice: " + ", ".join(known)
    file = f"{FOLDER}/{first}_{condition.place}_{case}.png"
    picture = image[0, 0].cpu().numpy()
    texts = {"title": title, "note": note}
    case_picture(picture, truth, predictions, folder / file, structures=structures, **texts)
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


def _structures(model: TrainedUNet, image: Tensor, structures: LabelScheme) -> Tensor:
    """Predicted structures, uint8 ``(B, H, W)``, of images ``(B, 1, H, W)``."""
    return to_measured(likeliest_classes(model(image), model.scheme), model.scheme, structures)


def _bounding_box(inside: np.ndarray) -> tuple[slice, ...]:
    """Rows and columns with a pixel inside; all where there is none."""
    found = [np.flatnonzero(inside.any(axis=axis)) for axis in (1, 0)]
    return tuple(slice(int(each[0]), int(each[-1]) + 1) if len(each) else slice(None) for each in found)
