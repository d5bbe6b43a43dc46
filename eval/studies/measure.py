"""Measurement of one model on one set of slices under one condition, in one pass.

Dice, distances, instances, calibration and entropy (``eval.metrics``) come from one prediction, one record
per patient. Pixels without annotation are left out of all.
"""

import math
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
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
from synthspine.eval.metrics.distances import Spacing
from synthspine.eval.metrics.instances import InstanceCounts, count_instances
from synthspine.eval.metrics.statistics import mean
from synthspine.eval.metrics.structures import OVERALL, to_measured
from synthspine.eval.metrics.tally import Tally
from synthspine.eval.results.measurement import Measurement
from synthspine.eval.results.outcome import without_nan
from synthspine.eval.studies.batches import Batch
from synthspine.eval.studies.degrade import degrade
from synthspine.gen.core.anatomy import IGNORE
from synthspine.gen.core.schemes import LabelScheme, label_scheme
from synthspine.train.decoding import likeliest_classes
from synthspine.train.model.checkpoint import TrainedUNet

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
    scheme: LabelScheme | None = None,
    structures: LabelScheme | None = None,
    progress: Callable[[int], Any] | None = None,
) -> dict[str, dict[str, Any]]:
    """Measure a model on slices, patient by patient.

    Args:
        model: ``(B, 1, H, W)`` float image in [0, 1] to logits ``(B, K, H, W)`` of the classes of ``scheme``.
        batches: the slices. Vertebrae are ranked and counted volume by volume.
        device: where the model runs; distances and instances are computed on the CPU.
        spacing_mm: size of a pixel of the slices, or along rows and columns.
        scheme: label scheme of the model; by default that of its checkpoint, else that of the project
            that has K classes. Codes are refined (``gen.geometry.refine``) where the scheme needs it.
        structures: what is scored (``eval.metrics.structures``); by default the structures of ``scheme``.
        progress: called with the number of slices after every batch.

    Returns:
        By patient, sorted; JSON-able, None where a value is not defined::

            {"structures": {name: {metric: value, ..., rate: [slices, cases], ...}},
             "classes": the same by name of the model's own classes,
             "instances": {"truth", "found", "extra", "dice", "rank_right", "hd95_mm", "assd_mm"},
             "ece", "ece_bins": 15 x [pixels, sum of confidences, right pixels],
             "entropy", "structure_entropy", "scan_entropies": structure entropy of every volume,
             "slices"}

        Metrics and rates are those of ``eval.metrics.table``. The counts of ``instances`` are sums over the
        patient's volumes.

    Raises:
        MeasureError: there is no batch; labels and images do not fit; the model returns another shape, or
            numbers that are not finite.
        MetricError: a metric gives no usable value.
        ValueError: no label scheme has the model's number of classes.
    """
    spacing = (spacing_mm, spacing_mm) if isinstance(spacing_mm, int | float) else spacing_mm
    tally: _Tally | None = None
    if scheme is None and isinstance(model, TrainedUNet):
        scheme = model.scheme
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
            scheme = scheme or label_scheme(logits.shape[1])
            if logits.shape[1] != scheme.num_classes:
                raise MeasureError(
                    f"the model returns {logits.shape[1]} classes, but its scheme {scheme.name} has "
                    f"{scheme.num_classes}"
                )
            tally = tally or _Tally(scheme, structures or scheme.by_structure(), spacing)
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
        model: ``(B, 1, H, W)`` float image in [0, 1] to logits ``(B, K, H, W)``; scheme as in ``measure``.
        dataloader: batches ``(image (B, 1, H, W) float, label (B, H, W) dense codes, patients of length
            B)``; without patients every slice counts as a patient of its own.
        device: where the model runs.
        resolution_factor: pixel size of the degraded input over the grid's own, at least 1.
        description: a text that is part of the result.

    Returns:
        A dictionary: ``overall_dice``, the mean of the structures' Dice; ``structures`` and ``classes``, name
        to ``{"dice", "n"}``; ``patients``, patient to Dice per structure and ``"overall"``; ``n_patients``,
        ``n_slices``, ``resolution_factor``, ``description``. Dice is aggregated as in
        ``eval.metrics.tally``; nan where it is not defined.

    Raises:
        ValueError: there is no batch, or the factor is below 1; else as in ``measure``.
    """
    try:
        records = measure(model, _degraded(dataloader, resolution_factor, device), device, spacing_mm=1.0)
    except MeasureError as error:
        raise MeasureError(f"{error}{f' for {description}' if description else ''}") from None
    found = Measurement(study="", model="", set="", value=resolution_factor, patients=records)
    dices = {name: found.values(name) for name in (*found.structures, OVERALL)}
    structures = {name: _mean(dices[name]) for name in found.structures}
    return {
        "description": description,
        "resolution_factor": float(resolution_factor),
        "overall_dice": mean([score["dice"] for score in structures.values()]),
        "n_patients": len(records),
        "n_slices": sum(record["slices"] for record in records.values()),
        "structures": structures,
        "classes": {name: _mean(found.values(name, kind="classes")) for name in found.classes},
        "patients": {
            patient: {name: values.get(patient, math.nan) for name, values in dices.items()}
            for patient in records
        },
    }


def _mean(values: Mapping[str, float]) -> dict[str, float | int]:
    return {"dice": mean(list(values.values())), "n": len(values)}


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


class _Tally:
    """Everything that one pass counts."""

    def __init__(self, scheme: LabelScheme, structures: LabelScheme, spacing_mm: Spacing) -> None:
        self._scheme = scheme
        self._measured = structures
        self._spacing_mm = spacing_mm
        self._structures = Tally(structures.class_names, spacing_mm, homes=structures.class_structures)
        # The classes of a model of structures are the structures: they are counted once.
        own = scheme.classes != structures.classes
        self._classes = (
            Tally(scheme.class_names, spacing_mm, homes=scheme.class_structures) if own else self._structures
        )
        self._bins: dict[str, Tensor] = {}
        self._entropy: dict[str, Tensor] = {}
        self._structure_entropy: dict[str, dict[str, Tensor]] = defaultdict(dict)
        self._maps: dict[str, Volumes] = defaultdict(lambda: defaultdict(list))

    def add(self, logits: Tensor, codes: Tensor, patients: Sequence[str], volumes: Sequence[str]) -> None:
        """Count a batch: logits ``(B, K, H, W)``, dense codes ``(B, H, W)``."""
        probabilities = logits.float().softmax(dim=1)
        prediction = likeliest_classes(logits, self._scheme)
        grouped, truth = to_measured(prediction, self._scheme, self._measured), self._measured.encode(codes)
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
