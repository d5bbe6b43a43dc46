"""What ``outcome.json`` holds: the record of an evaluation, and the view of it that the report reads.

A report is made from the dictionary of ``outcome.json`` alone, without models, images or a GPU.
"""

import json
import math
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any, Final

from synthspine.eval.metrics.statistics import Interval
from synthspine.eval.metrics.structures import OVERALL
from synthspine.eval.metrics.table import Quantity
from synthspine.eval.results.measurement import Measurement
from synthspine.shards.storage.atomic import write_text

FORMAT = 3
"""Format number of ``outcome.json``; another number is refused."""
VALIDATION: Final = "validation"
TEST: Final = "test"
MODEL_NAMES = {"A": "A (synthetic only)", "B": "B (real T1)"}
MODEL_COLOURS = {"A": "#882255", "B": "#88CCEE"}
"""From Tol's "muted" scheme, which is safe for colour-blind readers; the two differ in lightness too."""
SYNTHETIC, T1, T2 = "synthetic", "t1", "t2"
SET_NAMES = {SYNTHETIC: "synthetic", T1: "T1", T2: "T2", "t2_SPACE": "T2 SPACE"}
CONTRAST = "contrast"
IN_PLANE, THROUGH_PLANE = "resolution_in_plane", "resolution_through_plane"
RESOLUTIONS = {IN_PLANE: "In-plane", THROUGH_PLANE: "Through-plane"}
CORRUPTIONS = {
    "corruption_noise": "noise",
    "corruption_bias": "bias field",
    "corruption_motion": "motion",
    "corruption_ghosting": "ghosting",
}
LEVELS = {
    "corruption_noise": "deviation, share of full scale",
    "corruption_bias": "deviation of the logarithm",
    "corruption_motion": "movement, mm",
    "corruption_ghosting": "amplitude, share of the picture",
}
"""Meaning and unit of the level of a corruption (``eval.studies.corrupt``)."""
CONTINUUM, PHYSICAL = "continuum", "physical"
CONTINUA = {CONTINUUM: "measured tissue means", PHYSICAL: "spin-echo physics"}


class OutcomeError(ValueError):
    """An outcome cannot be read; the message is one line with the reason."""


@dataclass(frozen=True, kw_only=True, slots=True)
class ModelFacts:
    """Origin of a model."""

    checkpoint: str  # its file
    sha256: str  # of that file
    scheme: str  # name of its label scheme
    classes: list[str]  # of that scheme, background first
    parameters: int
    step: int  # optimiser steps of its training
    validation_dice: float  # on the set that chose the checkpoint; nan if unknown
    minutes: float | None  # of its training; None if unknown
    spacing_mm: float  # pixel size of its training
    generator_hash: str | None = None  # of the training images; None if they are real or it is unknown


@dataclass(frozen=True, kw_only=True, slots=True)
class SetFacts:
    """A measured set."""

    folder: str
    identity_hash: str  # SHA-256 of everything that determines the set
    label_digest: str  # SHA-256 of its labels
    patients: int
    slices: int
    phantom: bool  # made from the phantom
    spacing_mm: float
    generator_hash: str | None = None  # SHA-256 of the generator's configuration, for rendered maps


@dataclass(frozen=True, kw_only=True, slots=True)
class Outcome:
    """Everything that was measured."""

    command: str  # the command line
    options: dict[str, str]  # every option as text
    versions: dict[str, str]  # of the software
    made: str  # UTC, ISO 8601
    seconds: float  # duration of this run up to the report
    cached: int  # measurements that came from the cache
    part: str  # measured part of the split, "validation" or "test"
    compare: bool  # whether the comparison of A and B was requested
    models: dict[str, ModelFacts]  # the measured models
    missing: dict[str, str]  # model to the reason why it was not measured
    left_out: dict[str, str]  # study or set to the reason why it is not there
    sets: dict[str, SetFacts]  # the measured sets
    structures: dict[str, list[int | str]]  # the measured structures: codes and spans of codes by name
    metrics: dict[str, dict[str, Any]]  # name, unit, direction and digits of every metric by key
    rates: dict[str, dict[str, Any]]  # the same of every rate
    physical: dict[str, str]  # name of the contrast by value of the study "physical"
    dropped: dict[str, str] = field(default_factory=dict)  # study to its values without measurement, and why
    measurements: list[Measurement] = field(default_factory=list)  # study by study
    overlays: list[dict[str, Any]] = field(default_factory=list)  # pictures, the worst case of a set first

    def to_json(self) -> dict[str, Any]:
        """The dictionary of ``outcome.json``: numbers, texts, lists and None."""
        return dict(without_nan({"format": FORMAT, **asdict(self)}))


class Findings:
    """Read-only view of the dictionary of ``outcome.json``.

    Raises:
        OutcomeError: the format is another one, or the outcome holds no measurement.
    """

    def __init__(self, outcome: Mapping[str, Any]) -> None:
        if outcome.get("format") != FORMAT:
            raise OutcomeError(f"outcome: format {outcome.get('format')!r} is not {FORMAT}; measure again")
        self.outcome = outcome
        self.measurements = [Measurement(**entry) for entry in outcome.get("measurements", ())]
        if not self.measurements:
            raise OutcomeError("outcome: it holds no measurement; nothing can be reported")

    @property
    def phantom(self) -> bool:
        """Whether any set was made from the phantom."""
        return any(facts.get("phantom", False) for facts in self.outcome.get("sets", {}).values())

    @property
    def part(self) -> str:
        """The measured part of the split, ``"validation"`` or ``"test"``."""
        return str(self.outcome["part"])

    @cached_property
    def models(self) -> tuple[str, ...]:
        """The measured models."""
        return _in_order(MODEL_NAMES, (m.model for m in self.measurements))

    @property
    def structures(self) -> tuple[str, ...]:
        """Names of the measured structures."""
        return tuple(self.outcome["structures"])

    @property
    def measures(self) -> tuple[str, ...]:
        """The mean over the structures, and the structures."""
        return (OVERALL, *self.structures)

    @cached_property
    def metrics(self) -> dict[str, Quantity]:
        """How every metric is named and written, by key, in the order of the columns."""
        return {key: Quantity(**written) for key, written in self.outcome["metrics"].items()}

    @cached_property
    def rates(self) -> dict[str, Quantity]:
        """The same of every rate."""
        return {key: Quantity(**written) for key, written in self.outcome["rates"].items()}

    @property
    def definitions(self) -> str:
        """What every metric and rate is, in sentences."""
        return " ".join(each.note for each in (*self.metrics.values(), *self.rates.values()) if each.note)

    @cached_property
    def sets(self) -> tuple[str, ...]:
        """All sets that were measured without a change, the rendered one first."""
        return self.places(CONTRAST, SYNTHETIC)

    @cached_property
    def real_sets(self) -> tuple[str, ...]:
        """The sets of slices that were not rendered from label maps."""
        return tuple(place for place in self.sets if place != SYNTHETIC)

    @cached_property
    def compared(self) -> bool:
        """Whether the comparison of A and B was requested and both were measured."""
        return bool(self.outcome.get("compare", True)) and {"A", "B"} <= set(self.models)

    def plain(self, model: str, place: str) -> Measurement | None:
        """The measurement of a set without a change."""
        study = SYNTHETIC if place == SYNTHETIC else CONTRAST
        found = (m for m in self.measurements if (m.study, m.model, m.set) == (study, model, place))
        return next(found, None)

    def on_sets(self, *places: str) -> list[Measurement]:
        """The measurements of these or all sets without a change, set by set, model by model."""
        found = (self.plain(model, place) for place in places or self.sets for model in self.models)
        return [measurement for measurement in found if measurement is not None]

    def counted(self, *studies: str) -> dict[str, int]:
        """Largest number of patients in any measurement of studies, by set."""
        return {
            place: max(len(m.patients) for m in self.measurements if m.set == place and m.study in studies)
            for place in self.places(*studies)
        }

    def curve(self, study: str, model: str, place: str, measure: str = OVERALL) -> dict[float, Interval]:
        """Mean Dice by value of a study, ascending, without values at which no patient has a Dice."""
        wanted = [m for m in self.measurements if (m.study, m.model, m.set) == (study, model, place)]
        points = {float(m.value): m.interval(measure) for m in sorted(wanted, key=lambda m: m.value)}
        return {value: interval for value, interval in points.items() if interval is not None}

    def places(self, *studies: str) -> tuple[str, ...]:
        """The sets of studies."""
        return _in_order(SET_NAMES, (m.set for m in self.measurements if m.study in studies))

    def values(self, study: str) -> tuple[float, ...]:
        """All values of a study, ascending."""
        return tuple(sorted({float(m.value) for m in self.measurements if m.study == study}))

    def value_name(self, study: str, value: float) -> str:
        """Name of a value of a study, for the head of a column."""
        if study == PHYSICAL:
            names = {float(key): name for key, name in self.outcome.get("physical", {}).items()}
            return names.get(value, f"{value:g}")
        if study in RESOLUTIONS:
            return f"{value:g}x"
        return "none" if study in CORRUPTIONS and value == 0 else f"{value:g}"


def set_name(place: str) -> str:
    """Name of a set in text."""
    return SET_NAMES.get(place, place)


def model_name(model: str) -> str:
    """Name of a model in text."""
    return MODEL_NAMES.get(model, model)


def write_outcome(outcome: Mapping[str, Any], folder: Path) -> Path:
    """Write the dictionary of ``Outcome.to_json`` as ``outcome.json``, whole or not at all."""
    path = folder / "outcome.json"
    write_text(path, json.dumps(outcome, indent=1, allow_nan=False) + "\n")
    return path


def without_nan(value: Any) -> Any:
    """The same nested value with ``None`` in place of every nan: what JSON can hold."""
    if isinstance(value, dict):
        return {key: without_nan(entry) for key, entry in value.items()}
    if isinstance(value, list):
        return [without_nan(entry) for entry in value]
    return None if isinstance(value, float) and math.isnan(value) else value


def _in_order(known: Iterable[str], found: Iterable[str]) -> tuple[str, ...]:
    present = set(found)
    names = [name for name in known if name in present]
    return (*names, *sorted(present - set(names)))
