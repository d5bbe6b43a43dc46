"""Dice, distances and slices with and without a class, patient by patient."""

from collections import defaultdict
from collections.abc import Sequence
from typing import Any

import numpy as np
from torch import Tensor

from synthspine.eval.metrics.distances import NSD_TOLERANCES_MM, PatientDistances, Spacing, border_distances
from synthspine.eval.metrics.overlap import PatientTally
from synthspine.gen.core.anatomy import IGNORE


class ClassTally:
    """What is counted of the classes of a scheme, added batch by batch.

    Args:
        class_names: name of every class, background first; background is not scored.
        spacing_mm: size of a pixel along rows and columns.
    """

    def __init__(self, class_names: Sequence[str], spacing_mm: Spacing) -> None:
        self._names = tuple(class_names[1:])
        self._spacing_mm = spacing_mm
        self._dices = PatientTally(class_names)
        self._distances = PatientDistances()
        self._slices: dict[tuple[str, str], np.ndarray] = defaultdict(lambda: np.zeros(4, dtype=np.int64))

    def add(self, prediction: Tensor, target: Tensor, patients: Sequence[str]) -> None:
        """Count a batch.

        Args:
            prediction: classes, uint8 ``(B, H, W)``.
            target: classes, 255 where nothing is known, uint8, the same shape.
            patients: patient of every sample, length B.
        """
        self._dices.add(prediction, target, patients)
        for patient, predicted, actual in zip(
            patients, prediction.cpu().numpy(), target.cpu().numpy(), strict=True
        ):
            annotated = actual != IGNORE
            for value, name in enumerate(self._names, start=1):
                masks = (predicted == value) & annotated, actual == value
                seen, there = (bool(mask.any()) for mask in masks)
                self._slices[patient, name] += (
                    there,
                    not there,
                    there and not seen,
                    seen and not there,
                )
                self._distances.add(patient, name, border_distances(*masks, self._spacing_mm))

    def records(self) -> dict[str, dict[str, dict[str, Any]]]:
        """By patient and class, as in ``eval.studies.measure.measure``; nan where a value is not defined."""
        return {
            patient: {name: self._record(patient, name, dice) for name, dice in dices.items()}
            for patient, dices in self._dices.per_patient().items()
        }

    def _record(self, patient: str, name: str, dice: float) -> dict[str, Any]:
        distances = self._distances.pooled(patient, name)
        there, absent, missed, invented = self._slices[patient, name].tolist()
        return {
            "dice": dice,
            "hd95_mm": distances.hd95_mm,
            "assd_mm": distances.assd_mm,
            **{f"nsd_{tolerance:g}mm": distances.nsd(tolerance) for tolerance in NSD_TOLERANCES_MM},
            "slices_with": there,
            "slices_without": absent,
            "missed_slices": missed,
            "invented_slices": invented,
        }
