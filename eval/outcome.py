"""What an evaluation found: the numbers that tables, figures and words are made from."""

from dataclasses import dataclass, field
from typing import Any

from gen.anatomy import STRUCTURES

CONTRAST_NAMES = {"t1": "T1", "t2": "T2"}
MODEL_NAMES = {"A": "A (synthetic only)", "B": "B (real T1)"}
OVERALL = "overall"
MEASURES = (OVERALL, *STRUCTURES)


@dataclass(frozen=True, kw_only=True, slots=True)
class ModelFacts:
    """Where a model comes from.

    Attributes:
        checkpoint: its file.
        num_classes: classes that it answers.
        parameters: number of weights.
        step: optimiser steps behind them.
        validation_dice: Dice on the set that chose the checkpoint, nan if unknown.
        minutes: minutes of training, None if unknown.
    """

    checkpoint: str
    num_classes: int
    parameters: int
    step: int
    validation_dice: float
    minutes: float | None


@dataclass(frozen=True, kw_only=True, slots=True)
class SetFacts:
    """What a contrast was measured on.

    Attributes:
        folder: the set.
        patients: number of patients.
        slices: number of slices.
        phantom: made from the phantom.
    """

    folder: str
    patients: int
    slices: int
    phantom: bool


@dataclass(frozen=True, kw_only=True, slots=True)
class Outcome:
    """Everything that was measured.

    Attributes:
        factors: resolution factors, ascending.
        spacing_mm: pixel size at factor 1.
        models: facts by model, ``"A"`` and ``"B"``; those that were missing are not in it.
        missing: model to the reason why it was not evaluated.
        sets: facts by contrast, ``"t1"`` and ``"t2"``; those without slices are not in it.
        results: ``evaluate_model``'s results by (model, contrast, factor).
    """

    factors: tuple[float, ...]
    spacing_mm: float
    models: dict[str, ModelFacts]
    missing: dict[str, str]
    sets: dict[str, SetFacts]
    results: dict[tuple[str, str, float], dict[str, Any]] = field(default_factory=dict)

    @property
    def phantom(self) -> bool:
        """Whether any set was made from the phantom."""
        return any(facts.phantom for facts in self.sets.values())

    def dice(self, model: str, contrast: str, factor: float, measure: str = OVERALL) -> float:
        """A mean Dice: of a structure, or ``"overall"``; nan where it is not defined."""
        result = self.results[model, contrast, factor]
        return result["overall_dice"] if measure == OVERALL else result["structures"][measure]["dice"]

    def patients(self, model: str, contrast: str, factor: float, measure: str = OVERALL) -> dict[str, float]:
        """Dice of every patient."""
        by_patient = self.results[model, contrast, factor]["patients"]
        return {patient: dices[measure] for patient, dices in by_patient.items()}
