"""The slices that the overlays show: where a model fails most, and one of ordinary quality beside them."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from synthspine.eval.metrics.overlap import STRUCTURE_SCHEME
from synthspine.eval.studies.study import Condition
from synthspine.gen.core.anatomy import STRUCTURES, label_scheme
from synthspine.train.decoding import dice, likeliest_structures, overlap_counts

WORST, MEDIAN = "worst", "median"


@dataclass(frozen=True, kw_only=True, slots=True)
class Case:
    """One slice and how well it was segmented.

    Attributes:
        kind: ``WORST`` or ``MEDIAN``.
        index: the slice, as the set counts.
        dice: by structure and ``"overall"`` (the mean of those that are defined); None where undefined.
    """

    kind: str
    index: int
    dice: dict[str, float | None]


@torch.inference_mode()
def slice_dices(model: nn.Module, condition: Condition, batch_size: int) -> list[dict[str, float | None]]:
    """Dice of every slice of a condition: of every structure, and overall, their mean."""
    rows: list[dict[str, float | None]] = []
    for image, codes, *_ in condition.batches(batch_size):
        target = STRUCTURE_SCHEME.encode(codes)
        counts = overlap_counts(structures_of(model, image), target, len(STRUCTURES) + 1)
        for values in dice(*counts)[:, 1:].cpu():
            defined = values[~values.isnan()]
            overall = float(defined.mean()) if len(defined) else None
            each = [None if value.isnan() else float(value) for value in values]
            rows.append({"overall": overall, **dict(zip(STRUCTURES, each, strict=True))})
    return rows


@torch.inference_mode()
def structures_of(model: nn.Module, image: Tensor) -> Tensor:
    """What a model answers, as structures: uint8 ``(B, H, W)``, for images ``(B, 1, H, W)``."""
    logits = model(image)
    return likeliest_structures(logits, label_scheme(logits.shape[1]))


def choose_cases(condition: Condition, dices: Sequence[dict[str, float | None]], count: int) -> list[Case]:
    """The worst slice of each patient, the worst first, at most ``count``; then the slice of median Dice.

    One of each patient, because neighbouring slices fail alike. Slices without any structure in truth and
    answer are no cases.
    """
    places = [place for place, row in enumerate(dices) if row["overall"] is not None]
    order = sorted(places, key=lambda place: (dices[place]["overall"], place))
    if not order or count == 0:
        return []
    worst: dict[str, int] = {}
    for place in order:
        worst.setdefault(condition.patients[place], place)
    chosen = [(WORST, place) for place in list(worst.values())[:count]] + [(MEDIAN, order[len(order) // 2])]
    return [
        Case(kind=kind, index=condition.indices[place], dice=dict(dices[place])) for kind, place in chosen
    ]


def entry(case: Case, file: str, model: str, place: str, record: dict[str, Any]) -> dict[str, Any]:
    """A case as ``outcome.json`` lists it.

    Args:
        case: the slice.
        file: its picture, relative to the folder of ``outcome.json``.
        model: the model that it was chosen by.
        place: the set.
        record: of the slice.
    """
    return {
        "file": file,
        "case": case.kind,
        "model": model,
        "set": place,
        "patient": str(record["patient"]),
        "source": record["source"],
        "slice": record["slice"],
        "dice": case.dice,
    }
