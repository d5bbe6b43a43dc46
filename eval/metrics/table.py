"""The table of metrics: from the masks of a slice to the name and the digits on the page.

An entry says all that is known of a metric: what it counts in a slice, the value that it makes of the counts
of a patient, its name, unit and direction, and how it is written. Measurement, ``outcome.json``,
``metrics.csv``, tables, notes and the comparison of models read the table. A metric of one's own is
registered before ``evaluate``::

    register(Metric(key="sensitivity", title="sensitivity", count=pixels, value=sensitivity))

Pixels of all slices of a patient are counted together; a value is never averaged over slices.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields
from typing import Any

import numpy as np

from synthspine.eval.metrics.distances import (
    NSD_TOLERANCES_MM,
    BorderDistances,
    Spacing,
    border_distances,
    pooled,
)


@dataclass(frozen=True, kw_only=True, slots=True)
class Masks:
    """A structure or class in one slice, bool ``(H, W)``; pixels without annotation are in neither mask."""

    prediction: np.ndarray
    truth: np.ndarray
    spacing_mm: Spacing


@dataclass(frozen=True, kw_only=True, slots=True)
class Quantity:
    """A number of the report: its name, and how it is written.

    Attributes:
        title: head of its column.
        unit: empty for a share in [0, 1], which is written without the leading zero.
        decimals: digits after the point.
        higher_is_better: which way is better.
        note: one sentence that defines it, for notes and the section on the method.
    """

    title: str
    unit: str = ""
    decimals: int = 3
    higher_is_better: bool = True
    note: str = ""

    def written(self) -> dict[str, Any]:
        """The attributes of a quantity, as ``outcome.json`` holds them."""
        return {each.name: getattr(self, each.name) for each in fields(Quantity)}


@dataclass(frozen=True, kw_only=True, slots=True)
class Metric(Quantity):
    """A metric of structures and classes: one value per patient, of which the report shows means.

    Attributes:
        key: its name in a patient's record and in ``metrics.csv``.
        count: what is kept of a slice. Metrics with the same function share its result.
        value: the value of a patient from the counts of all slices; nan where it is not defined.
    """

    key: str
    count: Callable[[Masks], Any]
    value: Callable[[Sequence[Any]], float]


@dataclass(frozen=True, kw_only=True, slots=True)
class Rate(Quantity):
    """A share of slices, added up over all patients.

    Attributes:
        key: its name in a patient's record.
        count: whether a slice is counted, and whether it is one of the cases.
    """

    key: str
    count: Callable[[Masks], tuple[bool, bool]]


def pixels(masks: Masks) -> tuple[int, int, int]:
    """Pixels in both masks, in the prediction and in the truth."""
    found, actual = masks.prediction, masks.truth
    return int(np.count_nonzero(found & actual)), int(np.count_nonzero(found)), int(np.count_nonzero(actual))


def borders(masks: Masks) -> BorderDistances:
    """Distances between the borders of the two masks."""
    return border_distances(masks.prediction, masks.truth, masks.spacing_mm)


def dice_of(counts: Sequence[tuple[int, int, int]]) -> float:
    """Dice of ``pixels`` of slices; nan where truth and prediction are empty, 0 where one of them is."""
    both, predicted, actual = map(sum, zip(*counts, strict=True))
    return 2 * both / (predicted + actual) if predicted + actual else math.nan


def _missed(masks: Masks) -> tuple[bool, bool]:
    present = bool(masks.truth.any())
    return present and not masks.prediction.any(), present


def _invented(masks: Masks) -> tuple[bool, bool]:
    absent = not masks.truth.any()
    return absent and bool(masks.prediction.any()), absent


def _nsd(tolerance_mm: float) -> Metric:
    return Metric(
        key=f"nsd_{tolerance_mm:g}mm",
        title=f"NSD {tolerance_mm:g} mm",
        note=f"NSD {tolerance_mm:g} mm: share of both borders within {tolerance_mm:g} mm of the other one.",
        count=borders,
        value=lambda parts: pooled(parts).nsd(tolerance_mm),
    )


DICE = Metric(
    key="dice",
    title="Dice",
    note="Dice: twice the common pixels over the sum of the pixels of truth and prediction.",
    count=pixels,
    value=dice_of,
)
_ENTRIES = (
    DICE,
    Metric(
        key="hd95_mm",
        title="HD95, mm",
        unit="mm",
        decimals=1,
        higher_is_better=False,
        note="HD95: the larger one of the two directed 95th percentiles of the distances of the borders.",
        count=borders,
        value=lambda parts: pooled(parts).hd95_mm,
    ),
    Metric(
        key="assd_mm",
        title="ASSD, mm",
        unit="mm",
        decimals=1,
        higher_is_better=False,
        note="ASSD: average symmetric surface distance, the mean of both directions.",
        count=borders,
        value=lambda parts: pooled(parts).assd_mm,
    ),
    *map(_nsd, NSD_TOLERANCES_MM),
)
METRICS: dict[str, Metric] = {entry.key: entry for entry in _ENTRIES}
"""All metrics by key, in the order of the columns; the first one is the primary one of the report."""
RATES: dict[str, Rate] = {
    entry.key: entry
    for entry in (
        Rate(
            key="missed",
            title="missed",
            higher_is_better=False,
            note="Missed: share of the slices with the structure in which no pixel of it was found.",
            count=_missed,
        ),
        Rate(
            key="invented",
            title="invented",
            higher_is_better=False,
            note="Invented: share of the slices without it in which a pixel of it was found.",
            count=_invented,
        ),
    )
}
"""Shares of slices by key."""


def register(metric: Metric) -> Metric:
    """Add a metric to the table; evaluations after it measure and report it.

    The cache knows a metric by its key alone: evaluate with ``fresh=True`` after a change of its functions.

    Raises:
        ValueError: the key is taken or no identifier, the title is empty or another column has it, or
            ``decimals`` is negative.
    """
    taken = {**METRICS, **RATES}
    if not metric.key.isidentifier() or metric.key in taken:
        raise ValueError(f"metric key {metric.key!r} is no identifier or taken; taken are {', '.join(taken)}")
    if not metric.title or metric.title in {each.title for each in taken.values()}:
        raise ValueError(f"metric {metric.key}: the title {metric.title!r} is empty or taken")
    if metric.decimals < 0:
        raise ValueError(f"metric {metric.key}: decimals {metric.decimals} is negative")
    METRICS[metric.key] = metric
    return metric
