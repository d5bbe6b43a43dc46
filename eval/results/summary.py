"""From the records of the patients to the numbers of a table: means with intervals, rates, counts.

A measurement is a dictionary as JSON gives it back: ``{"study", "model", "set", "value", "patients"}``, the
patients as ``eval.studies.measure.measure`` returns them. Everything here is a function of that dictionary
alone.

- A mean is over patients, with its interval (``eval.metrics.statistics``) and n, the patients in whom it is
  defined.
- *Overall* of a metric is the mean over the structures that are defined in a patient, then over patients.
- *Missed*: of the slices whose truth has a structure or class, the share without one pixel of it in the
  prediction. *Invented*: of the slices whose truth has none of it, the share with a pixel of it.
- Vertebrae are added up over all patients: shares of found ones and of right ranks are of vertebrae; their
  Dice, and the distances of the found ones, are means over patients.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from synthspine.eval.metrics.calibration import BINS, expected_calibration_error
from synthspine.eval.metrics.distances import NSD_TOLERANCES_MM
from synthspine.eval.metrics.overlap import mean
from synthspine.eval.metrics.statistics import bootstrap_mean
from synthspine.gen.core.anatomy import STRUCTURES

OVERALL = "overall"
METRICS = ("dice", "hd95_mm", "assd_mm", *(f"nsd_{tolerance:g}mm" for tolerance in NSD_TOLERANCES_MM))

Measurement = Mapping[str, Any]


def patient_values(
    measurement: Measurement, metric: str = "dice", structure: str = OVERALL
) -> dict[str, float | None]:
    """One metric by patient; None where it is not defined.

    Args:
        measurement: see above.
        metric: one of ``METRICS``.
        structure: one of ``STRUCTURES``, or ``"overall"`` for the mean over those that are defined.

    Raises:
        ValueError: no such metric or structure.
    """
    if metric not in METRICS:
        raise ValueError(f"no metric {metric!r}; there are {', '.join(METRICS)}")
    if structure not in (OVERALL, *STRUCTURES):
        raise ValueError(f"no structure {structure!r}; there are {', '.join((OVERALL, *STRUCTURES))}")
    names = STRUCTURES if structure == OVERALL else (structure,)
    values: dict[str, float | None] = {}
    for patient, record in measurement["patients"].items():
        entries = [record["structures"][name][metric] for name in names]
        known = [entry for entry in entries if entry is not None]
        values[patient] = mean(known) if known else None
    return values


def summarise(measurement: Measurement) -> dict[str, Any]:
    """The table entries of one measurement.

    Returns:
        JSON-able, intervals as ``Interval.as_dict``::

            {"study", "model", "set", "value", "n_patients", "n_slices",
             "overall": {metric: interval},
             "structures": {name: {metric: interval, "missed": rate, "invented": rate}},
             "classes": the same by name of the model's own classes,
             "instances": {"truth", "found", "extra", "rank_right": counts, "found_share",
                           "rank_right_share": share of the truth's vertebrae or None,
                           "dice", "hd95_mm", "assd_mm": intervals},
             "ece": interval, "ece_pooled": ECE of all pixels together or None,
             "ece_bins": sums over the patients, "entropy": interval}

        with ``rate = {"rate": share or None, "count": slices, "n": slices it is a share of}``.
    """
    records: Mapping[str, Any] = measurement["patients"]
    bins = _summed_bins(records)
    return {
        **{key: measurement[key] for key in ("study", "model", "set", "value")},
        "n_patients": len(records),
        "n_slices": sum(record["slices"] for record in records.values()),
        OVERALL: {metric: _interval(patient_values(measurement, metric)) for metric in METRICS},
        "structures": _scored(records, "structures"),
        "classes": _scored(records, "classes"),
        "instances": _instances(records),
        "ece": _interval({patient: record["ece"] for patient, record in records.items()}),
        "ece_pooled": expected_calibration_error(bins) if any(row[0] for row in bins) else None,
        "ece_bins": bins,
        "entropy": _interval({patient: record["entropy"] for patient, record in records.items()}),
    }


def _interval(values: Mapping[str, float | None]) -> dict[str, float | int | None]:
    return bootstrap_mean(values).as_dict()


def _scored(records: Mapping[str, Any], kind: str) -> dict[str, Any]:
    """Means and rates of every structure or class."""
    first: Mapping[str, Any] = next(iter(records.values()), {kind: {}})
    by_name = {
        name: {patient: record[kind][name] for patient, record in records.items()} for name in first[kind]
    }
    return {name: {**_means(entries), **_rates(entries)} for name, entries in by_name.items()}


def _means(entries: Mapping[str, Any], metrics: Sequence[str] = METRICS) -> dict[str, Any]:
    return {
        metric: _interval({patient: entry[metric] for patient, entry in entries.items()})
        for metric in metrics
    }


def _rates(entries: Mapping[str, Any]) -> dict[str, Any]:
    totals = {
        key: sum(entry[key] for entry in entries.values())
        for key in ("slices_with", "slices_without", "missed_slices", "invented_slices")
    }
    return {
        "missed": _rate(totals["missed_slices"], totals["slices_with"]),
        "invented": _rate(totals["invented_slices"], totals["slices_without"]),
    }


def _rate(count: int, n: int) -> dict[str, float | int | None]:
    return {"rate": count / n if n else None, "count": count, "n": n}


def _instances(records: Mapping[str, Any]) -> dict[str, Any]:
    counts = {
        name: sum(record["instances"][name] for record in records.values())
        for name in ("truth", "found", "extra", "rank_right")
    }
    truth = counts["truth"]
    return {
        **counts,
        "found_share": counts["found"] / truth if truth else None,
        "rank_right_share": counts["rank_right"] / truth if truth else None,
        **_means(
            {patient: record["instances"] for patient, record in records.items()},
            ("dice", "hd95_mm", "assd_mm"),
        ),
    }


def _summed_bins(records: Mapping[str, Any]) -> list[list[float]]:
    rows = [record["ece_bins"] for record in records.values()]
    return [[sum(bins[place][column] for bins in rows) for column in range(3)] for place in range(BINS)]
