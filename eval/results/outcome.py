"""What an evaluation found, as ``outcome.json`` holds it: the report is made from it alone."""

import json
import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from synthspine.eval.results.findings import FORMAT
from synthspine.shards.storage.atomic import write_text

OUTCOME_FILE = "outcome.json"


@dataclass(frozen=True, kw_only=True, slots=True)
class ModelFacts:
    """Where a model comes from.

    Attributes:
        checkpoint: its file.
        sha256: SHA-256 of that file.
        num_classes: classes that it answers.
        parameters: number of weights.
        step: optimiser steps behind them.
        validation_dice: Dice on the set that chose the checkpoint, nan if unknown.
        minutes: minutes of training, None if unknown.
        spacing_mm: pixel size that it was trained at.
        generator_hash: SHA-256 of the configuration of the generator that a model of synthetic images was
            trained with; None for one of real images, or where the checkpoint does not say.
    """

    checkpoint: str
    sha256: str
    num_classes: int
    parameters: int
    step: int
    validation_dice: float
    minutes: float | None
    spacing_mm: float
    generator_hash: str | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class SetFacts:
    """What was measured on.

    Attributes:
        folder: the set.
        identity_hash: SHA-256 of everything that determines it.
        label_digest: SHA-256 of its labels.
        patients: number of patients.
        slices: number of slices.
        phantom: made from the phantom.
        spacing_mm: pixel size.
        generator_hash: SHA-256 of the generator's configuration, for rendered maps.
    """

    folder: str
    identity_hash: str
    label_digest: str
    patients: int
    slices: int
    phantom: bool
    spacing_mm: float
    generator_hash: str | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class Measurement:
    """One model on one set under one condition.

    Attributes:
        study: an entry of ``eval.studies.options.STUDIES``.
        model: ``"A"`` or ``"B"``.
        set: a key of ``eval.results.findings.SET_NAMES``.
        value: factor, level, alpha or number of the protocol; 1 (resolution) or 0 where nothing is changed.
        patients: what ``eval.studies.measure`` found, by patient; None in place of nan.
    """

    study: str
    model: str
    set: str
    value: float
    patients: dict[str, Any]


@dataclass(frozen=True, kw_only=True, slots=True)
class Outcome:
    """Everything that was measured.

    Attributes:
        command: the command line.
        options: what was chosen, as text by name.
        versions: versions of the software.
        made: when, UTC, ISO 8601.
        seconds: how long this run took until the report; what came from the cache took none of it.
        cached: measurements that came from the cache.
        part: which patients of the split were measured, ``"validation"`` or ``"test"``.
        compare: whether the comparison of A and B was asked for.
        models: facts by model; those that were missing are not in it.
        missing: model to the reason why it was not evaluated.
        left_out: study or set to the reason why it is not there.
        dropped: study to the values of it that could not be measured on some set, and why.
        sets: facts by set; those without slices are not in it.
        physical: name of the contrast by value of the study ``physical``.
        aggregation: how the numbers were counted.
        measurements: study by study.
        overlays: pictures beside the file, set by set, the worst first.
    """

    command: str
    options: dict[str, str]
    versions: dict[str, str]
    made: str
    seconds: float
    cached: int
    part: str
    compare: bool
    models: dict[str, ModelFacts]
    missing: dict[str, str]
    left_out: dict[str, str]
    sets: dict[str, SetFacts]
    physical: dict[str, str]
    aggregation: str
    dropped: dict[str, str] = field(default_factory=dict)
    measurements: list[Measurement] = field(default_factory=list)
    overlays: list[dict[str, Any]] = field(default_factory=list)

    def to_json(self) -> dict[str, Any]:
        """The dictionary of ``outcome.json``: numbers, texts, lists and None."""
        plain: dict[str, Any] = without_nan({"format": FORMAT, **asdict(self)})
        return plain


def write_outcome(told: Mapping[str, Any], folder: Path) -> Path:
    """Write ``outcome.json``, whole or not at all.

    Args:
        told: what ``Outcome.to_json`` gives.
        folder: where to.

    Raises:
        OSError: it cannot be written.
    """
    path = folder / OUTCOME_FILE
    write_text(path, json.dumps(told, indent=1, allow_nan=False) + "\n")
    return path


def without_nan(value: Any) -> Any:
    """The same nested value with ``None`` in place of every nan: what JSON can hold."""
    if isinstance(value, dict):
        return {key: without_nan(entry) for key, entry in value.items()}
    if isinstance(value, list):
        return [without_nan(entry) for entry in value]
    return None if isinstance(value, float) and math.isnan(value) else value
