import math

import pytest
import torch

from synthspine.eval.metrics.table import DICE, RATES, Metric, pixels
from synthspine.eval.metrics.tally import MetricError, Tally
from synthspine.gen.core.anatomy import IGNORE

NAMES = ("background", "vertebra", "disc")


def maps(*rows):
    return torch.tensor(rows, dtype=torch.uint8)[:, None, :]


def tally(prediction, target, patients, **arguments):
    counts = Tally(NAMES, (1.0, 1.0), **arguments)
    counts.add(prediction, target, patients)
    return counts.records()


def test_slices_of_a_patient_are_counted_together():
    prediction = maps([1, 1, 1, 1], [0, 0, 0, 1])
    target = maps([1, 1, 1, 1], [0, 0, 1, 0])
    assert tally(prediction, target, ["7", "7"])["7"]["vertebra"]["dice"] == 8 / 10


def test_class_empty_in_both_has_no_value():
    record = tally(maps([0, 0]), maps([0, 0]), ["a"])["a"]["disc"]
    assert {record[key] for key in ("dice", "hd95_mm", "assd_mm", "nsd_1mm", "nsd_2mm")} == {None}


@pytest.mark.parametrize(("prediction", "target"), [([0, 2], [0, 0]), ([0, 0], [0, 2])])
def test_class_empty_in_one_counts_zero(prediction, target):
    assert tally(maps(prediction), maps(target), ["a"])["a"]["disc"]["dice"] == 0.0


def test_ignored_pixels_do_not_count():
    record = tally(maps([1, 1, 2]), maps([1, IGNORE, IGNORE]), ["a"])["a"]
    assert record["vertebra"]["dice"] == 1.0
    assert record["disc"]["dice"] is None and record["disc"]["invented"] == [0, 1]


def test_rates_count_slices():
    prediction = maps([1, 0], [0, 0], [0, 2], [1, 0])
    target = maps([1, 0], [0, 1], [0, 0], [0, 0])
    record = tally(prediction, target, ["a"] * 4)["a"]
    assert (record["vertebra"]["missed"], record["vertebra"]["invented"]) == ([1, 2], [1, 2])
    assert (record["disc"]["missed"], record["disc"]["invented"]) == ([0, 0], [1, 4])


def test_a_structure_that_no_truth_shows_is_not_scored():
    prediction, target = maps([1, 2, 3], [1, 2, 3]), maps([1, 1, 0], [1, 0, 0])
    names = ("background", "body", "arch", "sacrum")
    counts = Tally(names, (1.0, 1.0), homes=(0, 1, 1, 2))
    counts.add(prediction, target, ["a", "b"])
    records = counts.records()
    # The arch belongs to a structure that is annotated: where it is predicted, it is wrong.
    assert (records["a"]["arch"]["dice"], records["a"]["arch"]["invented"]) == (0.0, [1, 1])
    assert set(map(str, records["b"]["sacrum"].values())) == {"None", "[0, 0]"}
    counts.add(maps([3, 0, 0]), maps([3, 0, 0]), ["c"])
    assert counts.records()["b"]["sacrum"]["dice"] == 0.0 and counts.records()["c"]["sacrum"]["dice"] == 1.0


def test_batches_do_not_change_the_result():
    generator = torch.Generator().manual_seed(0)
    prediction = torch.randint(0, 3, (6, 5, 5), generator=generator, dtype=torch.uint8)
    target = torch.randint(0, 3, (6, 5, 5), generator=generator, dtype=torch.uint8)
    patients = ["a", "b", "a", "c", "b", "a"]
    split = Tally(NAMES, (1.0, 1.0))
    split.add(prediction[:4], target[:4], patients[:4])
    split.add(prediction[4:], target[4:], patients[4:])
    assert split.records() == tally(prediction, target, patients)
    assert list(split.records()) == ["a", "b", "c"]


def test_metrics_that_count_the_same_share_it():
    calls = []

    def count(masks):
        calls.append(masks)
        return pixels(masks)

    metrics = [
        Metric(key=key, title=key, count=count, value=lambda counts: counts[0][1]) for key in ("one", "two")
    ]
    record = tally(maps([1, 1, 0]), maps([1, 0, 0]), ["a"], metrics=metrics, rates=())["a"]
    assert record == {"vertebra": {"one": 2.0, "two": 2.0}, "disc": {"one": 0.0, "two": 0.0}}
    assert len(calls) == 2


def test_a_value_that_is_not_finite_names_metric_class_and_patient():
    metric = Metric(key="far", title="far", count=pixels, value=lambda counts: math.inf)
    with pytest.raises(MetricError, match="metric far is inf for vertebra of patient 7; want a finite"):
        tally(maps([1, 1]), maps([1, 1]), ["7"], metrics=[DICE, metric], rates=RATES.values())


def test_patients_must_match_the_batch():
    with pytest.raises(ValueError, match="argument 2 is longer than argument 1"):
        tally(maps([1], [1]), maps([1], [1]), ["a"])
