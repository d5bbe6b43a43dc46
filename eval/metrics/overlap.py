"""Dice per patient, then the mean over patients.

- Pixels of all slices of one patient are counted together, class by class; Dice is computed from these sums,
  never averaged over batches or slices.
- A class that is empty in a patient's truth and prediction excludes the patient from the mean of the class;
  where one of the two is empty the patient counts with Dice 0. ``n`` is the number of patients in a mean.
- *Structures* (vertebra, disc, canal) are scored against the four-class target for every model, on every
  annotated pixel, ranks above 6 included: predictions of 14 classes are grouped first.
- *Classes* of a 14-class model are scored against the 14-class target, which leaves out ranks above 6.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from synthspine.gen.core.schemes import label_scheme
from synthspine.train.decoding import dice, overlap_counts

STRUCTURE_SCHEME = label_scheme("4")


@dataclass(frozen=True, kw_only=True, slots=True)
class Score:
    """Mean Dice over patients, nan where no patient counts, and the number of patients in the mean."""

    dice: float
    n: int


class PatientTally:
    """Counts of overlap per patient, added batch by batch; background, the first class, is not scored."""

    def __init__(self, class_names: Sequence[str]) -> None:
        self._names = tuple(class_names)
        self._counts: dict[str, Tensor] = {}

    def add(self, prediction: Tensor, target: Tensor, patients: Sequence[str]) -> None:
        """Count a batch of classes, ``(B, H, W)``; the target is uint8, 255 where nothing is known."""
        counts = torch.stack(overlap_counts(prediction, target, len(self._names)), dim=1).cpu()
        for patient, count in zip(patients, counts, strict=True):
            self._counts[patient] = self._counts.get(patient, 0) + count

    def per_patient(self) -> dict[str, dict[str, float]]:
        """Dice of every class but background by patient, sorted; nan where truth and prediction are empty."""
        return {
            patient: dict(zip(self._names[1:], dice(*self._counts[patient])[1:].tolist(), strict=True))
            for patient in sorted(self._counts)
        }


def mean_over_patients(per_patient: Mapping[str, Mapping[str, float]]) -> dict[str, Score]:
    """Mean of every class over the patients in which it is defined (not nan)."""
    names = list(next(iter(per_patient.values()))) if per_patient else []
    scores = {}
    for name in names:
        values = [dices[name] for dices in per_patient.values() if not math.isnan(dices[name])]
        scores[name] = Score(dice=mean(values), n=len(values))
    return scores


def mean(values: Sequence[float]) -> float:
    """Mean of the values that are not nan; nan where there is none."""
    known = [value for value in values if not math.isnan(value)]
    return math.fsum(known) / len(known) if known else math.nan
