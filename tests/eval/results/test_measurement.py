import json
from dataclasses import asdict
from functools import partial

import pytest

from synthspine.eval.metrics.statistics import bootstrap_mean
from synthspine.eval.metrics.table import METRICS
from synthspine.eval.results.measurement import Measurement, Share
from synthspine.gen.core.anatomy import STRUCTURES

BINS = 15


def scored(dice, *, there=2, missed=0, invented=0, slices=2):
    """A structure or class of a patient; ``there``: slices that have it."""
    return {
        **dict.fromkeys(METRICS, None if dice is None else 10 * dice),
        "dice": dice,
        "missed": [missed, there],
        "invented": [invented, slices - there],
    }


def record(vertebra, disc, canal, *, found=5):
    """A patient with these structures, each a Dice (None where not defined) or an entry."""
    entries = [each if isinstance(each, dict) else scored(each) for each in (vertebra, disc, canal)]
    bins = [[0, 0.0, 0]] * (BINS - 1) + [[100, 90.0, 80]]
    distances = {"hd95_mm": 4.0 if found else None, "assd_mm": 1.0 if found else None}
    return {
        "structures": dict(zip(STRUCTURES, entries, strict=True)),
        "classes": {"L5": entries[0], "T12": scored(None, there=0)},
        "instances": {"truth": 6, "found": found, "extra": 1, "dice": 0.7, "rank_right": 4, **distances},
        "ece": 0.1,
        "ece_bins": bins,
        "entropy": 0.2,
        "slices": 2,
    }


def measurement(**patients):
    return Measurement(study="contrast", model="A", set="t2", value=0.0, patients=patients)


@pytest.fixture
def measured():
    return measurement(
        a=record(0.9, 0.8, 0.7),
        b=record(0.7, scored(0.0, missed=2), scored(None, there=0), found=3),
        c=record(0.5, scored(0.6, there=1), scored(0.0, there=0, invented=1)),
    )


def test_means_intervals_and_n(measured):
    assert measured.interval("vertebra") == bootstrap_mean({"a": 0.9, "b": 0.7, "c": 0.5})
    canal = measured.interval("canal")
    assert (canal.mean, canal.n) == (pytest.approx(0.35), 2)
    assert measured.interval("canal", "hd95_mm").mean == pytest.approx(3.5)


def test_overall_is_over_the_structures_that_are_defined(measured):
    assert measured.values() == pytest.approx({"a": 0.8, "b": 0.35, "c": 1.1 / 3})
    assert measured.interval().mean == pytest.approx((0.8 + 0.35 + 1.1 / 3) / 3)


def test_a_patient_without_any_structure_is_in_no_mean():
    empty = measurement(a=record(*[scored(None, there=0)] * 3))
    assert empty.values() == {}
    assert empty.interval() is None


def test_rates_are_of_the_slices_that_can_have_them(measured):
    missed, invented = (partial(measured.rate, rate=rate) for rate in ("missed", "invented"))
    assert (missed("disc"), invented("disc")) == (Share(2, 5), Share(0, 1))
    assert (missed("canal"), invented("canal")) == (Share(0, 2), Share(1, 4))
    assert invented("vertebra") == Share(0, 0)


def test_classes_and_vertebrae(measured):
    assert measured.classes == ("L5", "T12")
    assert measured.values("L5", kind="classes") == measured.values("vertebra")
    assert measured.interval("T12", kind="classes") is None
    assert measured.rate("T12", "missed", "classes") == Share(0, 0)
    counts = [measured.vertebrae(count) for count in ("found", "rank_right", "extra")]
    assert counts == [Share(13, 18), Share(12, 18), Share(3, 18)]
    assert (measured.vertebrae_interval("hd95_mm").mean, measured.vertebrae_interval("assd_mm").n) == (4.0, 3)


def test_calibration_of_all_pixels(measured):
    found = measured.reliability
    assert list(found.counts) == [0] * (BINS - 1) + [300]
    assert (found.ece, found.confidence, found.accuracy) == pytest.approx((0.1, 0.9, 0.8))
    assert (found.confidences[-1], found.accuracies[-1]) == pytest.approx((0.9, 0.8))
    assert measured.scalar("ece") == {"a": 0.1, "b": 0.1, "c": 0.1}


def test_rank_correlation_of_entropy_and_dice(measured):
    assert measured.rank_correlation() is None
    for entropy, patient in zip((0.1, 0.3, 0.2), "abc", strict=True):
        measured.patients[patient]["entropy"] = entropy
    assert measured.rank_correlation() == pytest.approx(-1.0)
    del measured.patients["c"]
    assert measured.rank_correlation() is None


def test_flagged_scans_are_those_above_the_limit(measured):
    for scans, patient in zip(([0.3499, 0.3501], [0.5], [None]), "abc", strict=True):
        measured.patients[patient]["scan_entropies"] = scans
    assert measured.flagged_scans == Share(2, 3)


def test_is_the_same_from_json(measured):
    again = Measurement(**json.loads(json.dumps(asdict(measured), allow_nan=False)))
    assert again == measured


def test_no_patients_give_nothing():
    empty = measurement()
    assert (empty.interval(), empty.reliability, empty.classes) == (None, None, ())
    assert empty.vertebrae("found") == Share(0, 0)
