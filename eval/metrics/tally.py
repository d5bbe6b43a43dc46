"""Metrics of every structure or class of every patient, counted slice by slice.

- A class that is empty in a patient's truth and prediction has no value (nan); where one of the two is empty
  Dice is 0.
- A structure without a pixel in the truth of any patient is not annotated: it and its classes have no values.
- *Structures* are scored against the truth of the structures for every model, on every annotated pixel, ranks
  above 6 included; a model's classes are mapped to them first.
- *Classes* of a model are scored against the target of its own scheme; codes without a class are left out.
"""

import math
from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import numpy as np
from torch import Tensor

from synthspine.eval.metrics.distances import Spacing
from synthspine.eval.metrics.table import DICE, METRICS, RATES, Masks, Metric, Rate
from synthspine.gen.core.anatomy import IGNORE

Record = dict[str, Any]
"""A value for every metric, None where it is not defined; for every rate its slices and their cases."""


class MetricError(ValueError):
    """A metric gives no usable value; the message is one line that names it."""


class Tally:
    """Counts per patient, added batch by batch; background, the first class, is not scored.

    Args:
        class_names: names of the classes, background the first.
        spacing_mm: size of a pixel along rows and columns.
        metrics: what is measured; all of the table by default.
        rates: which shares are counted; all of the table by default.
        homes: number of the structure of every class; classes of a structure that is in no truth have no
            values. By default all classes have.
    """

    def __init__(
        self,
        class_names: Sequence[str],
        spacing_mm: Spacing,
        metrics: Iterable[Metric] | None = None,
        rates: Iterable[Rate] | None = None,
        homes: Sequence[int] | None = None,
    ) -> None:
        self._names = tuple(class_names[1:])
        self._spacing_mm = spacing_mm
        self._metrics = tuple(METRICS.values() if metrics is None else metrics)
        self._rates = tuple(RATES.values() if rates is None else rates)
        self._homes = None if homes is None else np.array(homes)
        self._in_truth = np.zeros(len(class_names), dtype=bool)
        counters = [*(metric.count for metric in self._metrics), *(rate.count for rate in self._rates)]
        self._counters = tuple(dict.fromkeys(counters))
        self._counts: dict[str, list[dict[Callable[[Masks], Any], list[Any]]]] = {}

    def add(self, prediction: Tensor, target: Tensor, patients: Sequence[str]) -> None:
        """Count a batch of classes, uint8 ``(B, H, W)``; the target is 255 where nothing is known."""
        maps = zip(patients, prediction.cpu().numpy(), target.cpu().numpy(), strict=True)
        for patient, predicted, actual in maps:
            counts = self._counts.setdefault(patient, [defaultdict(list) for _ in self._names])
            annotated = actual != IGNORE
            self._in_truth |= np.bincount(actual[annotated], minlength=len(self._in_truth)) > 0
            for value, kept in enumerate(counts, start=1):
                masks = Masks(
                    prediction=(predicted == value) & annotated,
                    truth=actual == value,
                    spacing_mm=self._spacing_mm,
                )
                for counter in self._counters:
                    kept[counter].append(counter(masks))

    def records(self) -> dict[str, dict[str, Record]]:
        """By patient, sorted, and class.

        Raises:
            MetricError: a metric gives something else than a finite number or nan.
        """
        scored = np.ones_like(self._in_truth)
        if self._homes is not None:
            scored = np.isin(self._homes, self._homes[self._in_truth])
        return {
            patient: {
                name: self._record(kept, f"{name} of patient {patient}") if known else self._nothing()
                for name, kept, known in zip(self._names, self._counts[patient], scored[1:], strict=True)
            }
            for patient in sorted(self._counts)
        }

    def dices(self) -> dict[str, dict[str, float]]:
        """Dice by patient and class; nan where it is not defined."""
        return {
            patient: {
                name: math.nan if record[DICE.key] is None else record[DICE.key]
                for name, record in records.items()
            }
            for patient, records in self.records().items()
        }

    def _nothing(self) -> Record:
        empty: Record = {metric.key: None for metric in self._metrics}
        return empty | {rate.key: [0, 0] for rate in self._rates}

    def _record(self, kept: dict[Callable[[Masks], Any], list[Any]], whose: str) -> Record:
        record: Record = {}
        for metric in self._metrics:
            value = float(metric.value(kept[metric.count]))
            if math.isinf(value):
                raise MetricError(f"metric {metric.key} is {value} for {whose}; want a finite number or nan")
            record[metric.key] = None if math.isnan(value) else value
        for rate in self._rates:
            record[rate.key] = [sum(column) for column in zip(*kept[rate.count], strict=True)]
        return record
