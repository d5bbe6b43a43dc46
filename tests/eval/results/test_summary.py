import json

import pytest

from synthspine.eval.metrics.statistics import bootstrap_mean
from synthspine.eval.results.summary import METRICS, patient_values, summarise
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
    return {"study": "contrast", "model": "A", "set": "t2", "value": 0.0, "patients": patients}


@pytest.fixture
def measured():
    return measurement(
        a=record(0.9, 0.8, 0.7),
        b=record(0.7, scored(0.0, missed=2), scored(None, there=0), found=3),
        c=record(0.5, scored(0.6, there=1), scored(0.0, there=0, invented=1)),
    )


def test_means_intervals_and_n(measured):
    summary = summarise(measured)
    assert (summary["n_patients"], summary["n_slices"], summary["model"]) == (3, 6, "A")
    vertebra = summary["structures"]["vertebra"]["dice"]
    assert vertebra == bootstrap_mean({"a": 0.9, "b": 0.7, "c": 0.5}).as_dict()
    canal = summary["structures"]["canal"]
    assert (canal["dice"]["mean"], canal["dice"]["n"]) == (pytest.approx(0.35), 2)
    assert canal["hd95_mm"]["mean"] == pytest.approx(3.5)


def test_overall_is_over_the_structures_that_are_defined(measured):
    assert patient_values(measured) == pytest.approx({"a": 0.8, "b": 0.35, "c": 1.1 / 3})
    assert summarise(measured)["overall"]["dice"]["mean"] == pytest.approx((0.8 + 0.35 + 1.1 / 3) / 3)


def test_a_patient_without_any_structure_is_in_no_mean():
    empty = measurement(a=record(*[scored(None, there=0)] * 3))
    assert patient_values(empty) == {"a": None}
    assert summarise(empty)["overall"]["dice"] == {"mean": None, "low": None, "high": None, "n": 0}


def test_rates_are_of_the_slices_that_can_have_them(measured):
    structures = summarise(measured)["structures"]
    assert structures["disc"]["missed"] == {"rate": pytest.approx(2 / 5), "count": 2, "n": 5}
    assert structures["disc"]["invented"] == {"rate": 0.0, "count": 0, "n": 1}
    assert structures["canal"]["missed"] == {"rate": 0.0, "count": 0, "n": 2}
    assert structures["canal"]["invented"] == {"rate": 0.25, "count": 1, "n": 4}
    assert structures["vertebra"]["invented"] == {"rate": None, "count": 0, "n": 0}


def test_classes_and_instances(measured):
    summary = summarise(measured)
    assert summary["classes"]["L5"] == summary["structures"]["vertebra"]
    assert summary["classes"]["T12"]["dice"] == {"mean": None, "low": None, "high": None, "n": 0}
    assert summary["classes"]["T12"]["missed"] == {"rate": None, "count": 0, "n": 0}
    instances = summary["instances"]
    assert (instances["truth"], instances["found"], instances["extra"], instances["rank_right"]) == (
        18,
        13,
        3,
        12,
    )
    assert (instances["found_share"], instances["rank_right_share"]) == (13 / 18, 12 / 18)
    assert (instances["hd95_mm"]["mean"], instances["assd_mm"]["n"]) == (4.0, 3)


def test_calibration_of_patients_and_of_all_pixels(measured):
    summary = summarise(measured)
    assert summary["ece_bins"][-1] == [300, 270.0, 240]
    assert summary["ece_pooled"] == pytest.approx(0.1)
    assert summary["ece"]["n"] == summary["entropy"]["n"] == 3


def test_is_the_same_from_json(measured):
    assert summarise(json.loads(json.dumps(measured))) == summarise(measured)
    json.dumps(summarise(measured), allow_nan=False)


def test_no_patients_summarise_to_nothing():
    summary = summarise(measurement())
    assert (summary["n_patients"], summary["ece_pooled"], summary["classes"]) == (0, None, {})
    assert summary["instances"]["found_share"] is None


@pytest.mark.parametrize(
    ("metric", "structure", "message"),
    [("iou", "disc", "no metric 'iou'"), ("dice", "rib", "no structure 'rib'")],
)
def test_unknown_names_are_refused(measured, metric, structure, message):
    with pytest.raises(ValueError, match=message):
        patient_values(measured, metric, structure)


def test_metrics_are_those_that_are_measured():
    assert METRICS == ("dice", "hd95_mm", "assd_mm", "nsd_1mm", "nsd_2mm")
