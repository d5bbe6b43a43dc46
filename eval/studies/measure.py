"""Everything that is measured of one model on one set under one condition, in one pass over its slices.

Dice, distances, instances, calibration and entropy come from the same answer of the network, one record per
patient. The rules of each are in ``eval.metrics.overlap``, ``eval.metrics.distances``,
``eval.metrics.instances`` and ``eval.metrics.calibration``; pixels that are not annotated are in none of
them.
"""

from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
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
from synthspine.eval.metrics.class_tally import ClassTally
from synthspine.eval.metrics.distances import Spacing
from synthspine.eval.metrics.instances import InstanceCounts, count_instances
from synthspine.eval.metrics.overlap import STRUCTURE_SCHEME, group_structures
from synthspine.eval.results.outcome import without_nan
from synthspine.gen.core.anatomy import IGNORE, LabelScheme, label_scheme
from synthspine.train.decoding import likeliest_classes

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
                                   "slices_with", "slices_without", "missed_slices",
                                   "invented_slices"}},
             "classes": the same by name of the model's own classes,
             "instances": {"truth", "found", "extra", "dice", "rank_right", "hd95_mm", "assd_mm"},
             "ece", "ece_bins": 15 x [pixels, sum of confidences, right pixels],
             "entropy", "structure_entropy", "scan_entropies": structure entropy of every volume,
             "slices"}

        The counts of ``instances`` are sums over the patient's volumes, and its Dice is the mean over the
        vertebrae of all of them. ``slices_with`` are those whose truth has the structure; of these the
        *missed* ones have no pixel of it in the prediction. Of the others the *invented* ones have one. The
        borders of both stand in HD95 and ASSD with the diagonal of the slice.

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
        self._structures = ClassTally(STRUCTURE_SCHEME.class_names, spacing_mm)
        # A model of the structures has no other classes: they are not counted twice.
        own = scheme != STRUCTURE_SCHEME
        self._classes = ClassTally(scheme.class_names, spacing_mm) if own else self._structures
        self._bins: dict[str, Tensor] = {}
        self._entropy: dict[str, Tensor] = {}
        self._structure_entropy: dict[str, dict[str, Tensor]] = defaultdict(dict)
        self._maps: dict[str, _Volumes] = defaultdict(lambda: defaultdict(list))

    def add(self, logits: Tensor, codes: Tensor, patients: Sequence[str], volumes: Sequence[str]) -> None:
        """Count a batch: logits ``(B, K, H, W)``, dense codes ``(B, H, W)``."""
        probabilities = logits.float().softmax(dim=1)
        answer = likeliest_classes(logits, self._scheme)
        grouped, truth = group_structures(answer, self._scheme), STRUCTURE_SCHEME.encode(codes)
        target = self._scheme.encode(codes)
        self._structures.add(grouped, truth, patients)
        if self._classes is not self._structures:
            self._classes.add(answer, target, patients)
        bins = confidence_bins(probabilities, target).cpu()
        annotated = codes != IGNORE
        entropies = torch.stack(entropy_sums(probabilities, annotated), dim=1).double().cpu()
        found = structure_entropy_sums(probabilities, self._scheme, annotated)
        structure_entropies = torch.stack(found, dim=1).double().cpu()
        maps = zip(answer.cpu().numpy(), codes.cpu().numpy(), strict=True)
        for index, (patient, volume, (classes, dense)) in enumerate(
            zip(patients, volumes, maps, strict=True)
        ):
            self._maps[patient][volume].append((classes, dense))
            self._bins[patient] = self._bins.get(patient, 0) + bins[index]
            self._entropy[patient] = self._entropy.get(patient, 0) + entropies[index]
            scans = self._structure_entropy[patient]
            scans[volume] = scans.get(volume, 0) + structure_entropies[index]

    def records(self) -> dict[str, dict[str, Any]]:
        """The record of every patient."""
        structures, classes = self._structures.records(), self._classes.records()
        records = {}
        for patient, volumes in sorted(self._maps.items()):
            counts = self._instances(volumes)
            bins, scans = self._bins[patient], self._structure_entropy[patient]
            records[patient] = {
                "structures": structures[patient],
                "classes": classes[patient],
                "instances": counts.as_dict(),
                "ece": expected_calibration_error(bins),
                "ece_bins": bins.tolist(),
                "entropy": _mean(self._entropy[patient]),
                "structure_entropy": _mean(torch.stack(list(scans.values())).sum(dim=0)),
                "scan_entropies": [_mean(scan) for scan in scans.values()],
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


def _mean(sum_and_pixels: Tensor) -> float | None:
    """Mean entropy of a sum and its pixels, ``(2,)``; None where there is no pixel."""
    total, pixels = sum_and_pixels.tolist()
    return total / pixels if pixels else None
