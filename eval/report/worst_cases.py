"""Pictures of the slices on which Model A fails most, beside the one of median Dice, for every contrast."""

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch

from synthspine.eval.metrics.overlap import STRUCTURE_SCHEME
from synthspine.eval.report.case_picture import case_picture
from synthspine.eval.report.samples import (
    MEDIAN,
    WORST,
    Case,
    choose_cases,
    entry,
    slice_dices,
    structures_of,
)
from synthspine.eval.results.cache import Cache, is_file_of
from synthspine.eval.results.findings import CONTRAST, model_name, set_name
from synthspine.eval.studies.batches import SliceBatches
from synthspine.eval.studies.models import Candidate
from synthspine.eval.studies.study import Condition
from synthspine.gen.core.anatomy import IGNORE, STRUCTURES
from synthspine.shards.storage.atomic import file_digest

FOLDER = "overlays"
CASE_FILE = re.compile(rf"[AB]_\w+_({WORST}_\d\d|{MEDIAN})\.png")


def draw_cases(
    candidates: Sequence[Candidate],
    chosen: Sequence[Condition],
    sets: Mapping[str, SliceBatches],
    cache: Cache,
    folder: Path,
    *,
    count: int,
    batch_size: int,
) -> list[dict[str, Any]]:
    """Draw the cases of the first model (A where it is there), and list them.

    Args:
        candidates: the models; all are drawn.
        chosen: the conditions that are measured; cases come from those of the study ``contrast``.
        sets: the slices.
        cache: what was drawn before is drawn again only if a picture is gone.
        folder: where ``outcome.json`` goes; the pictures lie in its ``overlays``.
        count: most worst cases of one set.
        batch_size: slices that are segmented at once.

    Returns:
        The entries of ``outcome.json``, set by set, the worst first.
    """
    first = candidates[0]
    listed: list[dict[str, Any]] = []
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
            loaded = sets[condition.place]
            cases = choose_cases(condition, slice_dices(first.model, condition, batch_size), count)
            drawn = []
            for number, case in enumerate(cases, start=1):
                listing = _draw(candidates, case, number, condition.place, loaded, folder)
                drawn.append({"entry": listing, **_picture(folder, listing["file"])})
            cache.keep(key, drawn)
        listed += [each["entry"] for each in drawn]
    _clear_others(folder / FOLDER, {Path(each["file"]).name for each in listed})
    return listed


def _picture(folder: Path, file: str) -> dict[str, str]:
    return {"file": file, "sha256": file_digest(folder / file)}


def _clear_others(folder: Path, names: set[str]) -> None:
    """Remove the pictures of an earlier evaluation: nobody should take them for this one's."""
    for path in folder.glob("*.png"):
        if path.name not in names and CASE_FILE.fullmatch(path.name):
            path.unlink()


@torch.inference_mode()
def _draw(
    candidates: Sequence[Candidate], case: Case, number: int, place: str, loaded: SliceBatches, folder: Path
) -> dict[str, Any]:
    first = candidates[0]
    image, codes = loaded.at(torch.tensor([case.index]))
    inside = (codes[0] != IGNORE).cpu().numpy()
    answers: dict[str, np.ndarray] = {}
    for candidate in candidates:
        answer = structures_of(candidate.model, image)[0].cpu().numpy()
        answers[candidate.name] = answer * inside
    truth = STRUCTURE_SCHEME.encode(codes)[0].cpu().numpy()
    record = loaded.records[case.index]
    each = ", ".join(f"{name} {_number(case.dice[name])}" for name in STRUCTURES)
    kind = f"worst case {number}" if case.kind == WORST else "slice of median Dice"
    smoke = " (phantom)" if loaded.phantom else ""
    title = (
        f"{set_name(place)}{smoke}, {kind} of Model {model_name(first.name)}: "
        f"{record['source']}, slice {record['slice']}\nDice {_number(case.dice['overall'])} ({each})"
    )
    which = f"{case.kind}_{number:02d}" if case.kind == WORST else case.kind
    file = f"{FOLDER}/{first.name}_{place}_{which}.png"
    case_picture(image[0, 0].cpu().numpy(), truth * inside, answers, inside, folder / file, title=title)
    return entry(case, file, first.name, place, record)


def _number(value: float | None) -> str:
    return "n/a" if value is None else f"{value:.2f}"
