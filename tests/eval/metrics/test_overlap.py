import math

import pytest
import torch

from synthspine.eval.metrics.overlap import PatientTally, mean_over_patients
from synthspine.gen.core.anatomy import IGNORE
from synthspine.gen.core.schemes import label_scheme
from synthspine.train.decoding import to_structures

NAMES = ("background", "vertebra", "disc")


def maps(*rows):
    return torch.tensor(rows, dtype=torch.uint8)[:, None, :]


def tally(prediction, target, patients):
    counts = PatientTally(NAMES)
    counts.add(prediction, target, patients)
    return counts.per_patient()


def test_slices_of_a_patient_are_counted_together():
    prediction = maps([1, 1, 1, 1], [0, 0, 0, 1])
    target = maps([1, 1, 1, 1], [0, 0, 1, 0])
    assert tally(prediction, target, ["7", "7"])["7"]["vertebra"] == pytest.approx(8 / 10)


def test_mean_is_over_patients_not_slices():
    prediction = maps([1, 0], [1, 0], [0, 0])
    target = maps([1, 0], [1, 0], [0, 1])
    scores = mean_over_patients(tally(prediction, target, ["a", "a", "b"]))
    assert scores["vertebra"].dice == pytest.approx(0.5)
    assert scores["vertebra"].n == 2


def test_class_empty_in_both_leaves_the_patient_out():
    prediction = maps([1, 2], [1, 0])
    target = maps([1, 2], [1, 0])
    scores = mean_over_patients(tally(prediction, target, ["a", "b"]))
    assert (scores["disc"].dice, scores["disc"].n) == (1.0, 1)


@pytest.mark.parametrize(("prediction", "target"), [([0, 2], [0, 0]), ([0, 0], [0, 2])])
def test_class_empty_in_one_counts_zero(prediction, target):
    scores = mean_over_patients(tally(maps(prediction), maps(target), ["a"]))
    assert (scores["disc"].dice, scores["disc"].n) == (0.0, 1)


def test_class_that_no_patient_has_is_nan_with_n_zero():
    scores = mean_over_patients(tally(maps([0, 0]), maps([0, 0]), ["a"]))
    assert math.isnan(scores["disc"].dice)
    assert scores["disc"].n == 0


def test_ignored_pixels_do_not_count():
    scores = tally(maps([1, 1, 2]), maps([1, IGNORE, IGNORE]), ["a"])["a"]
    assert scores["vertebra"] == 1.0
    assert math.isnan(scores["disc"])


def test_batches_do_not_change_the_result():
    generator = torch.Generator().manual_seed(0)
    prediction = torch.randint(0, 3, (6, 5, 5), generator=generator, dtype=torch.uint8)
    target = torch.randint(0, 3, (6, 5, 5), generator=generator, dtype=torch.uint8)
    patients = ["a", "b", "a", "c", "b", "a"]
    split = PatientTally(NAMES)
    split.add(prediction[:4], target[:4], patients[:4])
    split.add(prediction[4:], target[4:], patients[4:])
    assert split.per_patient() == tally(prediction, target, patients)


def test_patients_must_match_the_batch():
    with pytest.raises(ValueError, match="argument 2 is longer than argument 1"):
        tally(maps([1], [1]), maps([1], [1]), ["a"])


def test_fourteen_classes_group_into_structures():
    grouped = to_structures(torch.arange(14), label_scheme("14"))
    assert grouped.tolist() == [0] + [1] * 6 + [2] * 6 + [3]


def test_four_classes_group_into_themselves():
    assert to_structures(torch.arange(4), label_scheme("4")).tolist() == [0, 1, 2, 3]
