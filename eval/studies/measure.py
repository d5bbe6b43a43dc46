"""Measurement of one model on one set of slices under one condition, in one pass.

Dice, distances, instances, calibration and entropy (``eval.metrics``) come from one prediction, one record
per patient. Pixels without annotation are left out of all.
"""

import math
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import asdict
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from synthspine.eval.metrics.calibration import (
    confidence_bins,
    entropy_sums,
    expected_calibration_error,
    structure_entropy_sums,
)
from synthspine.eval.metrics.distances import (
    NSD_TOLERANCES_MM,
    BorderDistances,
    Spacing,
    border_distances,
    pooled,
)
from synthspine.eval.metrics.instances import InstanceCounts, count_instances
from synthspine.eval.metrics.overlap import (
    STRUCTURE_SCHEME,
    PatientTally,
    mean,
    mean_over_patients,
)
from synthspine.eval.results.outcome import without_nan
from synthspine.eval.studies.batches import Batch
from synthspine.eval.studies.degrade import degrade
from synthspine.gen.core.anatomy import IGNORE
from synthspine.gen.core.schemes import LabelScheme, label_scheme
from synthspine.train.decoding import likeliest_classes, to_structures

Labelled = tuple[Tensor, Tensor] | tuple[Tensor, Tensor, Sequence[str]]
Volumes = dict[str, list[tuple[np.ndarray, np.ndarray]]]
"""Predicted classes and dense codes, ``(H, W)`` each, of the slices of every volume."""


class MeasureError(ValueError):
    """Nothing can be measured; the message is one line that says why."""


@torch.inference_mode()
def measure(
    model: nn.Module,
    batches: Iterable[Batch],
    device: torch.device | str,
    *,
    spacing_mm: float | Spacing,
    progress: Callable[[int], Any] | None = None,
) -> dict[str, dict[str, Any]]:
    """Measure a model on slices, patient by patient.

    Args:
        model: ``(B, 1, H, W)`` float image in [0, 1] to logits ``(B, K, H, W)``, K one of the label schemes.
        batches: the slices. Vertebrae are ranked and counted volume by volume.
        device: where the model runs; distances and instances are computed on the CPU.
        spacing_mm: size of a pixel of the slices, or along rows and columns.
        progress: called with the number of slices after every batch.

    Returns:
        By patient, sorted; JSON-able, None where a value is not defined::

            {"structures": {name: {"dice", "hd95_mm", "assd_mm", "nsd_1mm", "nsd_2mm",
                                   "slices_with", "slices_without", "missed_slices",
                                   "invented_slices"}},
             "classes": the same by name of the model's own classes,
             "instances": {"truth", "found", "extra", "dice", "rank_right", "hd95_mm", "assd_mm"},
             "ece", "ece_bins": 15 x [pixels, sum of confidences, right pixels],
             "entropy", "structure_entropy", "scan_entropies": structure entropy of every volume,
             "slices"}

        ``slices_with``: slices whose truth has the structure; *missed*: those of them whose prediction has no
        pixel of it; *invented*: false positives, slices whose prediction alone has it. The counts of
        ``instances`` are sums over the patient's volumes.

    Raises:
        MeasureError: there is no batch; labels and images do not fit; the model returns another shape, or
            numbers that are not finite.
        ValueError: no label scheme has the model's number of classes.
    """
    spacing = (spacing_mm, spacing_mm) if isinstance(spacing_mm, int | float) else spacing_mm
    tally: _Tally | None = None
    was_training = model.training
    model.eval()
    try:
        for image, codes, patients, volumes in batches:
            if not len(codes) == len(image) == len(patients) == len(volumes):
                raise MeasureError(
                    f"{len(image)} images, {len(codes)} label maps, {len(patients)} patients and "
                    f"{len(volumes)} volumes in one batch"
                )
            image, codes = image.to(device), codes.to(device)
            logits = model(image)
            _check(logits, codes, patients)
            tally = tally or _Tally(label_scheme(logits.shape[1]), spacing)
            tally.add(logits, codes, patients, volumes)
            if progress is not None:
                progress(len(patients))
    finally:
        model.train(was_training)
    if tally is None:
        raise MeasureError("no slices to measure")
    return tally.records()


def evaluate_model(
    *,
    model: nn.Module,
    dataloader: Iterable[Labelled],
    device: torch.device | str = "cpu",
    resolution_factor: float = 1.0,
    description: str = "",
) -> dict[str, Any]:
    """Dice of a model on slices whose *input* is degraded; the target keeps its full resolution.

    Args:
        model: ``(B, 1, H, W)`` float image in [0, 1] to logits ``(B, K, H, W)``, K one of the label schemes.
        dataloader: batches ``(image (B, 1, H, W) float, label (B, H, W) dense codes, patients of length
            B)``; without patients every slice counts as a patient of its own.
        device: where the model runs.
        resolution_factor: pixel size of the degraded input over the grid's own, at least 1.
        description: a text that is part of the result.

    Returns:
        A dictionary: ``overall_dice``, the mean of the structures' Dice; ``structures`` and ``classes``, name
        to ``{"dice", "n"}``; ``patients``, patient to Dice per structure and ``"overall"``; ``n_patients``,
        ``n_slices``, ``resolution_factor``, ``description``. Dice is aggregated as in
        ``eval.metrics.overlap``; nan where it is not defined.

    Raises:
        ValueError: there is no batch, or the factor is below 1; else as in ``measure``.
    """
    try:
        records = measure(model, _degraded(dataloader, resolution_factor, device), device, spacing_mm=1.0)
    except MeasureError as error:
        raise MeasureError(f"{error}{f' for {description}' if description else ''}") from None
    structures, classes = (_dices(records, kind) for kind in ("structures", "classes"))
    by_structure = mean_over_patients(structures)
    return {
        "description": description,
        "resolution_factor": float(resolution_factor),
        "overall_dice": mean([score.dice for score in by_structure.values()]),
        "n_patients": len(records),
        "n_slices": sum(record["slices"] for record in records.values()),
        "structures": {name: asdict(score) for name, score in by_structure.items()},
        "classes": {name: asdict(score) for name, score in mean_over_patients(classes).items()},
        "patients": {
            patient: {**dices, "overall": mean(list(dices.values()))} for patient, dices in structures.items()
        },
    }


def _dices(records: dict[str, dict[str, Any]], kind: str) -> dict[str, dict[str, float]]:
    """Dice by patient and name; nan where it is not defined."""
    return {
        patient: {
            name: math.nan if entry["dice"] is None else entry["dice"] for name, entry in record[kind].items()
        }
        for patient, record in records.items()
    }


def _degraded(dataloader: Iterable[Labelled], factor: float, device: torch.device | str) -> Iterator[Batch]:
    """Batches of coarser images, in which every slice is a volume, and a patient where none is given."""
    slices = 0
    for image, label, *patients in dataloader:
        numbers = [str(slices + place) for place in range(len(image))]
        slices += len(image)
        image = degrade(image.to(device), factor)
        yield image, label, patients[0] if patients else numbers, numbers


def _check(logits: Tensor, codes: Tensor, patients: Sequence[str]) -> None:
    if logits.ndim != 4 or logits[:, 0].shape != codes.shape:
        raise MeasureError(
            f"the model returns shape {tuple(logits.shape)} for label maps {tuple(codes.shape)}"
        )
    finite = logits.isfinite().flatten(1).all(dim=1)
    if not finite.all():
        worst = patients[int((~finite).nonzero()[0])]
        raise MeasureError(f"the model returns numbers that are not finite on a slice of patient {worst}")


class _ClassTally:
    """Dice, distances and detection by slice of the classes of a scheme, added batch by batch."""

    def __init__(self, class_names: Sequence[str], spacing_mm: Spacing) -> None:
        self._names = tuple(class_names[1:])
        self._spacing_mm = spacing_mm
        self._dices = PatientTally(class_names)
        self._distances: dict[tuple[str, str], list[BorderDistances]] = defaultdict(list)
        self._slices: dict[tuple[str, str], np.ndarray] = defaultdict(lambda: np.zeros(4, dtype=np.int64))

    def add(self, prediction: Tensor, target: Tensor, patients: Sequence[str]) -> None:
        """Count a batch of classes, uint8 ``(B, H, W)``; the target is 255 where nothing is known."""
        self._dices.add(prediction, target, patients)
        maps = zip(patients, prediction.cpu().numpy(), target.cpu().numpy(), strict=True)
        for patient, predicted, actual in maps:
            annotated = actual != IGNORE
            for value, name in enumerate(self._names, start=1):
                masks = (predicted == value) & annotated, actual == value
                found, present = (bool(mask.any()) for mask in masks)
                missed, false_positive = present and not found, found and not present
                self._slices[patient, name] += (present, not present, missed, false_positive)
                self._distances[patient, name].append(border_distances(*masks, self._spacing_mm))

    def records(self) -> dict[str, dict[str, dict[str, Any]]]:
        """By patient and class, as ``measure`` returns them."""
        return {
            patient: {name: self._record(patient, name, dice) for name, dice in dices.items()}
            for patient, dices in self._dices.per_patient().items()
        }

    def _record(self, patient: str, name: str, dice: float) -> dict[str, Any]:
        distances = pooled(self._distances[patient, name])
        present, absent, missed, false_positive = self._slices[patient, name].tolist()
        values = {"dice": dice, "hd95_mm": distances.hd95_mm, "assd_mm": distances.assd_mm}
        values |= {f"nsd_{tolerance:g}mm": distances.nsd(tolerance) for tolerance in NSD_TOLERANCES_MM}
        return {
            **without_nan(values),
            "slices_with": present,
            "slices_without": absent,
            "missed_slices": missed,
            "invented_slices": false_positive,
        }


class _Tally:
    """Everything that one pass counts."""

    def __init__(self, scheme: LabelScheme, spacing_mm: Spacing) -> None:
        self._scheme = scheme
        self._spacing_mm = spacing_mm
        self._structures = _ClassTally(STRUCTURE_SCHEME.class_names, spacing_mm)
        # The classes of a model of structures are the structures: they are counted once.
        own = scheme != STRUCTURE_SCHEME
        self._classes = _ClassTally(scheme.class_names, spacing_mm) if own else self._structures
        self._bins: dict[str, Tensor] = {}
        self._entropy: dict[str, Tensor] = {}
        self._structure_entropy: dict[str, dict[str, Tensor]] = defaultdict(dict)
        self._maps: dict[str, Volumes] = defaultdict(lambda: defaultdict(list))

    def add(self, logits: Tensor, codes: Tensor, patients: Sequence[str], volumes: Sequence[str]) -> None:
        """Count a batch: logits ``(B, K, H, W)``, dense codes ``(B, H, W)``."""
        probabilities = logits.float().softmax(dim=1)
        prediction = likeliest_classes(logits, self._scheme)
        grouped, truth = to_structures(prediction, self._scheme), STRUCTURE_SCHEME.encode(codes)
        target = self._scheme.encode(codes)
        self._structures.add(grouped, truth, patients)
        if self._classes is not self._structures:
            self._classes.add(prediction, target, patients)
        bins = confidence_bins(probabilities, target).cpu()
        annotated = codes != IGNORE
        entropies = torch.stack(entropy_sums(probabilities, annotated), dim=1).double().cpu()
        found = structure_entropy_sums(probabilities, self._scheme, annotated)
        structure_entropies = torch.stack(found, dim=1).double().cpu()
        maps = zip(prediction.cpu().numpy(), codes.cpu().numpy(), strict=True)
        for index, (patient, volume, pair) in enumerate(zip(patients, volumes, maps, strict=True)):
            self._maps[patient][volume].append(pair)
            self._bins[patient] = self._bins.get(patient, 0) + bins[index]
            self._entropy[patient] = self._entropy.get(patient, 0) + entropies[index]
            scans = self._structure_entropy[patient]
            scans[volume] = scans.get(volume, 0) + structure_entropies[index]

    def records(self) -> dict[str, dict[str, Any]]:
        """The record of every patient."""
        structures, classes = self._structures.records(), self._classes.records()
        records = {}
        for patient, volumes in sorted(self._maps.items()):
            bins, scans = self._bins[patient], self._structure_entropy[patient]
            records[patient] = {
                "structures": structures[patient],
                "classes": classes[patient],
                "instances": without_nan(self._instances(volumes).as_dict()),
                "ece": without_nan(expected_calibration_error(bins)),
                "ece_bins": bins.tolist(),
                "entropy": _mean_entropy(self._entropy[patient]),
                "structure_entropy": _mean_entropy(torch.stack(list(scans.values())).sum(dim=0)),
                "scan_entropies": [_mean_entropy(scan) for scan in scans.values()],
                "slices": sum(map(len, volumes.values())),
            }
        return records

    def _instances(self, volumes: Volumes) -> InstanceCounts:
        total = InstanceCounts()
        for slices in volumes.values():
            classes, codes = (np.stack(part) for part in zip(*slices, strict=True))
            total += count_instances(classes, codes, self._scheme, self._spacing_mm)
        return total


def _mean_entropy(sum_and_pixels: Tensor) -> float | None:
    """Mean of a sum and its number of pixels, ``(2,)``; None where there is no pixel."""
    total, pixels = sum_and_pixels.tolist()
    return total / pixels if pixels else None
