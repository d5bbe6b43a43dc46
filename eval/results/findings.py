"""What an ``outcome.json`` holds, ready for tables and figures: measurements found, values with intervals.

An outcome is a plain dictionary; everything that a report says is read from it through :class:`Findings`, so
that a report can be made again without models, images or a GPU.
"""

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Final

from synthspine.eval.metrics.statistics import Interval, Values, bootstrap_mean, defined
from synthspine.eval.results.summary import OVERALL, patient_values, summarise
from synthspine.gen.core.anatomy import STRUCTURES

FORMAT = 2
"""Of ``outcome.json``; one of another number is not read."""
VALIDATION: Final = "validation"
TEST: Final = "test"
MEASURES = (OVERALL, *STRUCTURES)
MODEL_NAMES = {"A": "A (synthetic only)", "B": "B (real T1)"}
MODEL_COLOURS = {"A": "#882255", "B": "#88CCEE"}
"""Of Tol's "muted" scheme: told apart by all kinds of colour vision, and by lightness."""
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
"""What the level of a corruption is (``eval.studies.corrupt``)."""
CONTINUUM, PHYSICAL = "continuum", "physical"
CONTINUA = {CONTINUUM: "measured tissue means", PHYSICAL: "spin-echo physics"}


class OutcomeError(ValueError):
    """An outcome cannot be read; the message is one line that says why."""


@dataclass(frozen=True)
class Measurement:
    """One model on one set under one condition.

    Attributes:
        facts: the entry of ``outcome.json``.
    """

    facts: Mapping[str, Any]

    @property
    def patients(self) -> Mapping[str, Any]:
        """What was measured, by patient."""
        found: Mapping[str, Any] = self.facts["patients"]
        return found

    @cached_property
    def summary(self) -> dict[str, Any]:
        """Table entries (``eval.results.summary``)."""
        return summarise(self.facts)

    def values(self, measure: str, metric: str = "dice") -> dict[str, float]:
        """Metric of a structure, or ``"overall"``, by patient; a patient without it is left out."""
        return defined(patient_values(self.facts, metric, measure))

    def interval(self, measure: str, metric: str = "dice") -> Interval | None:
        """Mean over patients with its interval; None where it is defined in no patient."""
        return interval_of(self.values(measure, metric))

    def scalar(self, key: str) -> dict[str, float]:
        """A number that stands beside the structures (``ece``, ``entropy``, ...), by patient."""
        return defined({patient: facts[key] for patient, facts in self.patients.items()})


@dataclass(frozen=True, slots=True)
class Point:
    """One point of a curve.

    Attributes:
        value: factor, level, alpha or number of the protocol.
        interval: mean over patients with its interval.
    """

    value: float
    interval: Interval


class Findings:
    """Read-only view of an outcome.

    Args:
        outcome: the dictionary of ``outcome.json``.

    Raises:
        OutcomeError: the format is not ours, or nothing was measured.
    """

    def __init__(self, outcome: Mapping[str, Any]) -> None:
        if outcome.get("format") != FORMAT:
            raise OutcomeError(f"outcome: format {outcome.get('format')!r} is not {FORMAT}; measure again")
        self.outcome = outcome
        self._measurements = {
            (entry["study"], entry["model"], entry["set"], float(entry["value"])): Measurement(entry)
            for entry in outcome.get("measurements", ())
        }
        if not self._measurements:
            raise OutcomeError("outcome: it holds no measurement; nothing can be reported")

    @cached_property
    def phantom(self) -> bool:
        """Whether any set was made from the phantom."""
        return any(facts.get("phantom", False) for facts in self.outcome.get("sets", {}).values())

    @cached_property
    def part(self) -> str:
        """Which patients of the split were measured, ``"validation"`` or ``"test"``."""
        return str(self.outcome["part"])

    @cached_property
    def models(self) -> tuple[str, ...]:
        """The models that were measured."""
        return _in_order(MODEL_NAMES, (model for _, model, _, _ in self._measurements))

    @cached_property
    def sets(self) -> tuple[str, ...]:
        """All sets that were measured as they are, the rendered one first."""
        plain = (place for study, _, place, _ in self._measurements if study in (CONTRAST, SYNTHETIC))
        return _in_order(SET_NAMES, plain)

    @cached_property
    def real_sets(self) -> tuple[str, ...]:
        """The sets of slices that were not rendered from label maps here."""
        return tuple(place for place in self.sets if place != SYNTHETIC)

    @cached_property
    def compared(self) -> bool:
        """Whether A is to be compared with B, and both are there."""
        return bool(self.outcome.get("compare", True)) and {"A", "B"} <= set(self.models)

    def plain(self, model: str, place: str) -> Measurement | None:
        """The measurement of a set as it is."""
        study = SYNTHETIC if place == SYNTHETIC else CONTRAST
        found = (m for key, m in self._measurements.items() if key[:3] == (study, model, place))
        return next(found, None)

    def patients(self, model: str, place: str) -> int:
        """Patients of a set as it is; 0 where the model was not measured on it."""
        measurement = self.plain(model, place)
        return 0 if measurement is None else len(measurement.patients)

    def counted(self, *studies: str) -> dict[str, int]:
        """Patients of studies, the most of any measurement, by set."""
        counts: dict[str, int] = {}
        for (study, _, place, _), measurement in self._measurements.items():
            if study in studies:
                counts[place] = max(counts.get(place, 0), len(measurement.patients))
        return {place: counts[place] for place in _in_order(SET_NAMES, counts)}

    def curve(self, study: str, model: str, place: str, measure: str = OVERALL) -> list[Point]:
        """Mean Dice over the values of a study, ascending; what is defined in no patient is left out."""
        found = {key[3]: m for key, m in self._measurements.items() if key[:3] == (study, model, place)}
        points = ((value, found[value].interval(measure)) for value in sorted(found))
        return [Point(value, interval) for value, interval in points if interval is not None]

    def places(self, study: str) -> tuple[str, ...]:
        """The sets that a study was made on."""
        return _in_order(SET_NAMES, (place for name, _, place, _ in self._measurements if name == study))

    def values(self, study: str) -> tuple[float, ...]:
        """All values of a study, ascending."""
        return tuple(sorted({value for name, _, _, value in self._measurements if name == study}))

    def value_name(self, study: str, value: float) -> str:
        """How a value of a study is called at the head of a column."""
        if study == PHYSICAL:
            names = {float(key): name for key, name in self.outcome.get("physical", {}).items()}
            return names.get(value, f"{value:g}")
        if study in RESOLUTIONS:
            return f"{value:g}x"
        return "none" if study in CORRUPTIONS and value == 0 else f"{value:g}"


def set_name(place: str) -> str:
    """How a set is called in text."""
    return SET_NAMES.get(place, place)


def model_name(model: str) -> str:
    """How a model is called in text."""
    return MODEL_NAMES.get(model, model)


def interval_of(values: Values) -> Interval | None:
    """Mean of values by patient with its bootstrap interval; None where there is no value."""
    interval = bootstrap_mean(values)
    return interval if interval.n else None


def as_interval(summary: Mapping[str, Any]) -> Interval | None:
    """An interval of ``eval.results.summary`` as an object; None where no patient is in it."""
    if not summary["n"]:
        return None
    ends = {name: math.nan if summary[name] is None else summary[name] for name in ("mean", "low", "high")}
    return Interval(**ends, n=summary["n"])


def _in_order(known: Iterable[str], found: Iterable[str]) -> tuple[str, ...]:
    present = set(found)
    names = [name for name in known if name in present]
    return (*names, *sorted(present - set(names)))
