"""The models to be measured, their origin, and checks that they may be measured on a set."""

import csv
import json
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

import torch

from synthspine.eval.results.outcome import ModelFacts
from synthspine.eval.studies.options import EvaluationOptions
from synthspine.shards.storage.atomic import file_digest
from synthspine.train.config import FILE_STEMS, ModelName
from synthspine.train.model.checkpoint import CheckpointError, TrainedUNet, load_model


class EvaluationError(ValueError):
    """Nothing can be evaluated; the message is one line with the reason."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Candidate:
    """A model to be measured."""

    name: ModelName
    model: TrainedUNet  # on its device, in evaluation mode
    facts: ModelFacts

    def check_set(self, patients: Iterable[str], spacing_mm: float) -> None:
        """Check that the model may be measured on a set.

        Raises:
            EvaluationError: it was trained on images or label maps of a patient, or at another pixel size.
        """
        learned = set(json.loads(self.model.checkpoint.config).get("train_patients", []))
        seen = sorted(learned & set(patients))
        if seen:
            raise EvaluationError(
                f"{self.facts.checkpoint}: was trained on patient {', '.join(seen)}, who would be measured; "
                "use its own split"
            )
        if self.facts.spacing_mm != spacing_mm:
            raise EvaluationError(
                f"{self.facts.checkpoint}: trained at {self.facts.spacing_mm:g} mm, "
                f"but the sets have {spacing_mm:g} mm"
            )


def load_candidates(
    options: EvaluationOptions, device: torch.device, log: Callable[[str], None]
) -> tuple[list[Candidate], dict[str, str]]:
    """The requested models that exist, and for each missing one the reason.

    Raises:
        EvaluationError: none exists.
        CheckpointError: a checkpoint is damaged, or has another number of classes than the options.
    """
    candidates: list[Candidate] = []
    missing: dict[str, str] = {}
    for name in options.models:
        path = options.model_dir / f"{FILE_STEMS[name]}_best.pth"
        if not path.is_file():
            missing[name] = f"{path} is not there; synthspine train --model {name} trains it"
            log(f"model {name} is left out: {missing[name]}")
            continue
        model = load_model(path, device)
        if options.num_classes not in (None, model.num_classes):
            raise CheckpointError(
                f"{path}: has {model.num_classes} classes, but --num-classes is {options.num_classes}"
            )
        # Faster on a CPU.
        model = model.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        candidates.append(Candidate(name=name, model=model, facts=model_facts(path, model)))
    if not candidates:
        raise EvaluationError(f"no model to evaluate in {options.model_dir}; run make train first")
    return candidates, missing


def model_facts(path: Path, model: TrainedUNet) -> ModelFacts:
    """Origin of the model of a checkpoint."""
    checkpoint = model.checkpoint
    generator = json.loads(checkpoint.config).get("generator")
    return ModelFacts(
        checkpoint=str(path),
        sha256=file_digest(path),
        scheme=model.scheme.name,
        classes=list(model.scheme.class_names),
        parameters=model.count_parameters(),
        step=checkpoint.step,
        validation_dice=checkpoint.validation_dice,
        minutes=_minutes(path.with_name(path.name.replace("_best.pth", "_log.csv"))),
        spacing_mm=checkpoint.spacing_mm,
        generator_hash=str(generator) if generator and checkpoint.model == "A" else None,
    )


def _minutes(log: Path) -> float | None:
    """Minutes of the whole training from its log; None where there is no log, or a damaged one."""
    if not log.is_file():
        return None
    try:
        with log.open(newline="", encoding="utf-8") as stream:
            minutes = [row["minutes"] for row in csv.DictReader(stream) if row.get("minutes")]
        return float(minutes[-1]) if minutes else None
    except (OSError, ValueError, csv.Error):
        return None
