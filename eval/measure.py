"""Everything that is measured of one model on one set under one condition, in one pass over its slices.

Dice, distances, instances, calibration and entropy come from the same answer of the network, one record per
patient. The rules of each are in ``eval.metrics``, ``eval.distances``, ``eval.instances`` and
``eval.calibration``; pixels that are not annotated are in none of them.
"""

from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from eval.benchmark import without_nan
from eval.calibration import confidence_bins, entropy_sums, expected_calibration_error
from eval.distances import NSD_TOLERANCES_MM, PatientDistances, Spacing, border_distances
from eval.instances import InstanceCounts, count_instances
from eval.metrics import STRUCTURE_SCHEME, PatientTally, group_structures
from gen.anatomy import IGNORE, STRUCTURES, LabelScheme, label_scheme

Change = Callable[[Tensor], Tensor]
Progress = Callable[[int], Any]
_Volumes = dict[str, list[tuple[np.ndarray, np.ndarray]]]
"""Answers and dense codes, ``(H, W)`` each, of the slices of every volume."""


class MeasureError(ValueError):
    """Nothing can be measured; the message is one line that says why."""


@torch.inference_mode()
def measure(
    model: nn.Module,
    batches: Iterable[tuple[Tensor, Tensor, Sequence[str], Sequence[str]]],
    device: torch.device | str,
    *,
    change: Change | None = None,
    spacing_mm: float | Spacing,
    progress: Progress | None = None,
) -> dict[str, dict[str, Any]]:
    """Measure a model on slices, patient by patient.

    Args:
        model: ``(B, 1, H, W)`` float image in [0, 1] to logits ``(B, K, H, W)``, K one of the label schemes.
        batches: ``(image (B, 1, H, W) float, dense codes (B, H, W) uint8, patients, volumes)``, the last two
            of length B: whose each slice is, and the volume that it belongs to. Vertebrae are ranked and
            counted volume by volume: two series of a patient are two volumes, a render is one of its own.
        device: where the model lives and runs; distances and instances are always counted on the CPU.
        change: degrades the image before the model sees it, keeping its shape; the truth stays as it is.
        spacing_mm: size of a pixel of the slices, or along rows and columns.
        progress: called with the number of slices after every batch.

    Returns:
        By patient, sorted; JSON-able, None where a value is not defined::

            {"structures": {name: {"dice", "hd95_mm", "assd_mm", "nsd_1mm", "nsd_2mm",
                                   "in_truth", "in_prediction", "one_sided_slices"}},
             "classes": {name: dice},
             "instances": {"truth", "found", "extra", "dice", "rank_right"},
             "ece", "ece_bins": 15 x [pixels, sum of confidences, right pixels],
             "entropy", "slices"}

        The counts of ``instances`` are sums over the patient's volumes, and its Dice is the mean over the
        vertebrae of all of them. ``one_sided_slices`` are the slices in which only truth or only prediction
        has the structure: their borders stand in HD95 and ASSD with the diagonal of the slice.

    Raises:
        MeasureError: no batch came; labels and images do not fit; the model answers other shapes, or
            numbers that are not finite.
        ValueError: the model has a number of classes without a label scheme.
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
            logits = model(image if change is None else change(image))
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


def _check(logits: Tensor, codes: Tensor, patients: Sequence[str]) -> None:
    if logits.ndim != 4 or logits[:, 0].shape != codes.shape:
        raise MeasureError(f"the model answers {tuple(logits.shape)} to label maps {tuple(codes.shape)}")
    finite = logits.isfinite().flatten(1).all(dim=1)
    if not finite.all():
        worst = patients[int((~finite).nonzero()[0])]
        raise MeasureError(f"the model answers numbers that are not finite on a slice of patient {worst}")


class _Tally:
    """What is gathered of one pass."""

    def __init__(self, scheme: LabelScheme, spacing_mm: Spacing) -> None:
        self._scheme = scheme
        self._spacing_mm = spacing_mm
        self._structures = PatientTally(STRUCTURE_SCHEME.class_names)
        self._classes = PatientTally(scheme.class_names)
        self._distances = PatientDistances()
        self._one_sided: dict[tuple[str, str], int] = defaultdict(int)
        self._bins: dict[str, Tensor] = {}
        self._entropy: dict[str, Tensor] = {}
        self._maps: dict[str, _Volumes] = defaultdict(lambda: defaultdict(list))

    def add(self, logits: Tensor, codes: Tensor, patients: Sequence[str], volumes: Sequence[str]) -> None:
        """Count a batch: logits ``(B, K, H, W)``, dense codes ``(B, H, W)``."""
        probabilities = logits.float().softmax(dim=1)
        answer = logits.argmax(dim=1).to(torch.uint8)
        grouped, truth = group_structures(answer, self._scheme), STRUCTURE_SCHEME.encode(codes)
        target = self._scheme.encode(codes)
        self._classes.add(answer, target, patients)
        self._structures.add(grouped, truth, patients)
        bins = confidence_bins(probabilities, target).cpu()
        entropies = torch.stack(entropy_sums(probabilities, codes != IGNORE), dim=1).double().cpu()
        maps = zip(*(part.cpu().numpy() for part in (answer, codes, grouped, truth)), strict=True)
        for index, (patient, (classes, dense, predicted, actual)) in enumerate(
            zip(patients, maps, strict=True)
        ):
            self._maps[patient][volumes[index]].append((classes, dense))
            self._bins[patient] = self._bins.get(patient, 0) + bins[index]
            self._entropy[patient] = self._entropy.get(patient, 0) + entropies[index]
            self._add_distances(patient, predicted, actual)

    def _add_distances(self, patient: str, predicted: np.ndarray, actual: np.ndarray) -> None:
        annotated = actual != IGNORE
        for value, name in enumerate(STRUCTURES, start=1):
            masks = (predicted == value) & annotated, actual == value
            self._one_sided[patient, name] += int(masks[0].any() != masks[1].any())
            self._distances.add(patient, name, border_distances(*masks, self._spacing_mm))

    def records(self) -> dict[str, dict[str, Any]]:
        """The record of every patient."""
        dices, present = self._structures.per_patient(), self._structures.present()
        classes = self._classes.per_patient()
        records = {}
        for patient, volumes in sorted(self._maps.items()):
            counts = self._instances(volumes)
            bins, (entropy, pixels) = self._bins[patient], self._entropy[patient].tolist()
            records[patient] = {
                "structures": {
                    name: self._structure(patient, name, dices[patient][name], present[patient][name])
                    for name in STRUCTURES
                },
                "classes": classes[patient],
                "instances": counts.as_dict(),
                "ece": expected_calibration_error(bins),
                "ece_bins": bins.tolist(),
                "entropy": entropy / pixels if pixels else None,
                "slices": sum(map(len, volumes.values())),
            }
        cleaned: dict[str, dict[str, Any]] = without_nan(records)
        return cleaned

    def _instances(self, volumes: _Volumes) -> InstanceCounts:
        """The vertebrae of a patient, volume by volume."""
        total = InstanceCounts()
        for slices in volumes.values():
            answers, codes = (np.stack(part) for part in zip(*slices, strict=True))
            total += count_instances(answers, codes, self._scheme, self._spacing_mm)
        return total

    def _structure(self, patient: str, name: str, dice: float, present: tuple[bool, bool]) -> dict[str, Any]:
        distances = self._distances.pooled(patient, name)
        return {
            "dice": dice,
            "hd95_mm": distances.hd95_mm,
            "assd_mm": distances.assd_mm,
            **{f"nsd_{tolerance:g}mm": distances.nsd(tolerance) for tolerance in NSD_TOLERANCES_MM},
            "in_truth": present[0],
            "in_prediction": present[1],
            "one_sided_slices": self._one_sided[patient, name],
        }
