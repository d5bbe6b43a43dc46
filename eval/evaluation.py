"""The whole evaluation: models and sets in, metrics, figures and the report out."""

import csv
import json
import sys
from collections.abc import Callable
from pathlib import Path

import torch
from tqdm import tqdm

from eval.batches import SliceBatches
from eval.benchmark import evaluate_model
from eval.options import EvaluationOptions
from eval.outcome import CONTRAST_NAMES, ModelFacts, Outcome, SetFacts
from eval.report import write_report
from eval.samples import median_overlays
from gen.device import pick_device
from shards.sets import ensure_sets
from train.checkpoint import CheckpointError, TrainedUNet, load_model
from train.options import FILE_STEMS, ModelName

SETS = {"t1": "real_t1_val", "t2": "real_t2_val"}
Say = Callable[[str], None]


class EvaluationError(ValueError):
    """Nothing can be evaluated; the message is one line that says why."""


def evaluate(options: EvaluationOptions, say: Say = print) -> list[Path]:
    """Measure the models that are there, on the sets of the validation patients; write everything.

    Args:
        options: which models, on what, where to.
        say: takes one line for every thing that is worth telling.

    Returns:
        The files that were written.

    Raises:
        EvaluationError: none of the models is there, or there is no slice to measure them on.
        CheckpointError: a checkpoint is damaged, or has another number of classes than was asked for.
        ShardError, SpiderError: the sets cannot be built or read.
    """
    device = pick_device(options.shards.device)
    models, missing = _load_models(options, device, say)
    batches = _load_sets(options, say)
    spacing_mm = next(iter(batches.values())).spacing_mm
    outcome = Outcome(
        factors=options.factors,
        spacing_mm=spacing_mm,
        models={name: _model_facts(options, name, model) for name, model in models.items()},
        missing=missing,
        sets={contrast: _set_facts(loaded) for contrast, loaded in batches.items()},
    )
    for name, model in models.items():
        _refuse_seen_patients(outcome.models[name].checkpoint, model, batches)
        if model.checkpoint.spacing_mm != spacing_mm:
            raise EvaluationError(
                f"{outcome.models[name].checkpoint}: trained at {model.checkpoint.spacing_mm:g} mm, "
                f"but the sets have {spacing_mm:g} mm"
            )
    _measure(outcome, models, batches, device)
    overlays = median_overlays(outcome, models, batches, device)
    return write_report(outcome, overlays, options.output_dir, compare=options.model == "compare")


def _refuse_seen_patients(file: str, model: TrainedUNet, batches: dict[str, SliceBatches]) -> None:
    """A model is measured on patients that it has not seen, neither their images nor their label maps."""
    learned = set(json.loads(model.checkpoint.config).get("train_patients", []))
    seen = sorted(learned & {patient for loaded in batches.values() for patient in loaded.patients})
    if seen:
        raise EvaluationError(
            f"{file}: was trained on patient {', '.join(seen)}, who would be measured; use its own split"
        )


def _load_models(
    options: EvaluationOptions, device: torch.device, say: Say
) -> tuple[dict[ModelName, TrainedUNet], dict[str, str]]:
    models: dict[ModelName, TrainedUNet] = {}
    missing: dict[str, str] = {}
    for name in options.models:
        path = _checkpoint_file(options, name)
        if not path.is_file():
            missing[name] = f"{path} is not there; python train/main.py --model {name} trains it"
            say(f"model {name} is left out: {missing[name]}")
            continue
        model = load_model(path, device)
        if options.num_classes not in (None, model.num_classes):
            raise CheckpointError(
                f"{path}: has {model.num_classes} classes, but --num-classes is {options.num_classes}"
            )
        # A third faster on a CPU (116 against 163 ms a slice, measured).
        models[name] = model.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    if not models:
        raise EvaluationError(f"no model to evaluate in {options.model_dir}; run make train first")
    return models, missing


def _load_sets(options: EvaluationOptions, say: Say) -> dict[str, SliceBatches]:
    folders = ensure_sets(SETS.values(), options.shards)
    batches = {contrast: SliceBatches(folders[name], options.batch_size) for contrast, name in SETS.items()}
    for contrast, loaded in batches.items():
        if not loaded.slices:
            say(f"{loaded.place} holds no slices: {CONTRAST_NAMES[contrast]} is left out")
    filled = {contrast: loaded for contrast, loaded in batches.items() if loaded.slices}
    if not filled:
        raise EvaluationError(
            f"{options.shards.data_dir}: no image of a validation patient in {options.shards.split_file}"
        )
    return filled


def _measure(
    outcome: Outcome,
    models: dict[ModelName, TrainedUNet],
    batches: dict[str, SliceBatches],
    device: torch.device,
) -> None:
    jobs = [(name, contrast, factor) for name in models for contrast in batches for factor in outcome.factors]
    slices = sum(batches[contrast].slices for _, contrast, _ in jobs)
    with tqdm(total=slices, desc="evaluate", unit="slice", file=sys.stderr) as bar:
        for name, contrast, factor in jobs:
            bar.set_postfix_str(f"{name} {CONTRAST_NAMES[contrast]} {factor:g}x")
            outcome.results[name, contrast, factor] = evaluate_model(
                model=models[name],
                dataloader=batches[contrast],
                device=device,
                resolution_factor=factor,
                description=f"Model {name} on {CONTRAST_NAMES[contrast]}",
            )
            bar.update(batches[contrast].slices)


def _set_facts(loaded: SliceBatches) -> SetFacts:
    return SetFacts(
        folder=str(loaded.place),
        patients=len(set(loaded.patients)),
        slices=loaded.slices,
        phantom=loaded.phantom,
    )


def _model_facts(options: EvaluationOptions, name: ModelName, model: TrainedUNet) -> ModelFacts:
    checkpoint = model.checkpoint
    return ModelFacts(
        checkpoint=str(_checkpoint_file(options, name)),
        num_classes=model.num_classes,
        parameters=model.count_parameters(),
        step=checkpoint.step,
        validation_dice=checkpoint.validation_dice,
        minutes=_minutes(_model_file(options, name, "log.csv")),
    )


def _checkpoint_file(options: EvaluationOptions, name: ModelName) -> Path:
    return _model_file(options, name, "best.pth")


def _model_file(options: EvaluationOptions, name: ModelName, ending: str) -> Path:
    return options.model_dir / f"{FILE_STEMS[name]}_{ending}"


def _minutes(log: Path) -> float | None:
    """Minutes of the whole training by its log; None where there is no log."""
    if not log.is_file():
        return None
    with log.open(newline="", encoding="utf-8") as stream:
        minutes = [row["minutes"] for row in csv.DictReader(stream) if row.get("minutes")]
    return float(minutes[-1]) if minutes else None
