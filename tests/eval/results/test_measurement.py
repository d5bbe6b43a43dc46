import json
from dataclasses import asdict

import pytest

from synthspine.eval.metrics.statistics import bootstrap_mean
from synthspine.eval.results.measurement import METRICS, Measurement, Share
from synthspine.gen.core.anatomy import STRUCTURES

BINS = 15


def scored(dice, *, there=2, missed=0, invented=0, slices=2):
    """A structure or class of a patient; ``there``: slices that have it."""
    return {
        **dict.fromkeys(METRICS, None if dice is None else 10 * dice),
        "dice": dice,
        "slices_with": there,
        "slices_without": slices - there,
        "missed_slices": missed,
        "invented_slices": invented,
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
    vertebra = measured.scores("structures", "vertebra")
    assert vertebra.means["dice"] == bootstrap_mean({"a": 0.9, "b": 0.7, "c": 0.5})
    assert vertebra.means["dice"] == measured.interval("vertebra")
    canal = measured.scores("structures", "canal")
    assert (canal.means["dice"].mean, canal.n) == (pytest.approx(0.35), 2)
    assert canal.means["hd95_mm"].mean == pytest.approx(3.5)


def test_overall_is_over_the_structures_that_are_defined(measured):
    assert measured.values() == pytest.approx({"a": 0.8, "b": 0.35, "c": 1.1 / 3})
    assert measured.interval().mean == pytest.approx((0.8 + 0.35 + 1.1 / 3) / 3)


def test_a_patient_without_any_structure_is_in_no_mean():
    empty = measurement(a=record(*[scored(None, there=0)] * 3))
    assert empty.values() == {}
    assert empty.interval() is None


def test_rates_are_of_the_slices_that_can_have_them(measured):
    disc, canal, vertebra = (measured.scores("structures", name) for name in ("disc", "canal", "vertebra"))
    assert (disc.missed, disc.invented) == (Share(2, 5), Share(0, 1))
    assert (canal.missed, canal.invented) == (Share(0, 2), Share(1, 4))
    assert vertebra.invented == Share(0, 0)


def test_classes_and_vertebrae(measured):
    assert measured.classes == ("L5", "T12")
    assert measured.scores("classes", "L5") == measured.scores("structures", "vertebra")
    absent = measured.scores("classes", "T12")
    assert (absent.means["dice"], absent.n, absent.missed) == (None, 0, Share(0, 0))
    vertebrae = measured.vertebrae
    assert (vertebrae.found, vertebrae.rank_right, vertebrae.extra) == (Share(13, 18), Share(12, 18), 3)
    assert (vertebrae.means["hd95_mm"].mean, vertebrae.means["assd_mm"].n) == (4.0, 3)


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
    assert again.vertebrae == measured.vertebrae


def test_no_patients_give_nothing():
    empty = measurement()
    assert (empty.interval(), empty.reliability, empty.classes) == (None, None, ())
    assert empty.vertebrae.found == Share(0, 0)


def test_metrics_are_those_that_are_measured():
    assert tuple(METRICS) == ("dice", "hd95_mm", "assd_mm", "nsd_1mm", "nsd_2mm")
    assert set(record(0.9, 0.8, 0.7)["structures"]) == set(STRUCTURES)
