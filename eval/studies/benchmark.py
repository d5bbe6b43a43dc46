"""One model on one set of slices at one resolution: degrade the input, segment, score per patient."""

from collections.abc import Iterable, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from synthspine.eval.metrics.overlap import (
    STRUCTURE_SCHEME,
    PatientTally,
    Score,
    group_structures,
    mean,
    mean_over_patients,
)
from synthspine.eval.studies.degrade import degrade
from synthspine.gen.core.anatomy import label_scheme
from synthspine.train.decoding import likeliest_classes

Batch = tuple[Tensor, Tensor] | tuple[Tensor, Tensor, Sequence[str]]


@torch.inference_mode()
def evaluate_model(
    *,
    model: nn.Module,
    dataloader: Iterable[Batch],
    device: torch.device | str = "cpu",
    resolution_factor: float = 1.0,
    description: str = "",
) -> dict[str, Any]:
    """Dice of a model on slices whose *input* is degraded; the target keeps its full resolution.

    Args:
        model: ``(B, 1, H, W)`` float image in [0, 1] to logits ``(B, K, H, W)``, K one of the label schemes.
        dataloader: batches ``(image (B, 1, H, W) float, label (B, H, W) dense codes, patients of length
            B)``; without patients every slice counts as a patient of its own.
        device: where the model lives and runs.
        resolution_factor: pixel size of the degraded input over the grid's own, at least 1.
        description: a few words that are handed back in the result.

    Returns:
        A dictionary, JSON-able but for nan:
        ``overall_dice``, the mean of the structures' Dice; ``structures`` and ``classes``, name to
        ``{"dice", "n"}``; ``patients``, patient to Dice per structure and ``"overall"``; ``n_patients``,
        ``n_slices``, ``resolution_factor``, ``description``. Dice is aggregated as in
        ``eval.metrics.overlap``.

    Raises:
        ValueError: no batch came, or a factor below 1.
    """
    was_training = model.training
    model.eval()
    structures = PatientTally(STRUCTURE_SCHEME.class_names)
    classes: PatientTally | None = None
    slices = 0
    for batch in dataloader:
        image, label = batch[0].to(device), batch[1].to(device)
        patients = batch[2] if len(batch) == 3 else [str(slices + place) for place in range(len(image))]
        logits = model(degrade(image, resolution_factor))
        scheme = label_scheme(logits.shape[1])
        answer = likeliest_classes(logits, scheme)
        classes = classes or PatientTally(scheme.class_names)
        classes.add(answer, scheme.encode(label), patients)
        structures.add(group_structures(answer, scheme), STRUCTURE_SCHEME.encode(label), patients)
        slices += len(patients)
    model.train(was_training)
    if classes is None:
        raise ValueError(f"no slices to evaluate{f' for {description}' if description else ''}")
    by_patient = structures.per_patient()
    by_structure = mean_over_patients(by_patient)
    return {
        "description": description,
        "resolution_factor": float(resolution_factor),
        "overall_dice": mean([score.dice for score in by_structure.values()]),
        "n_patients": len(by_patient),
        "n_slices": slices,
        "structures": _as_dict(by_structure),
        "classes": _as_dict(mean_over_patients(classes.per_patient())),
        "patients": {
            patient: {**dices, "overall": mean(list(dices.values()))} for patient, dices in by_patient.items()
        },
    }


def _as_dict(scores: dict[str, Score]) -> dict[str, dict[str, float | int]]:
    return {name: {"dice": score.dice, "n": score.n} for name, score in scores.items()}
