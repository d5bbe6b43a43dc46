"""Folds keep patients apart and test patients out; borrowed masks are told from own ones."""

import os
from pathlib import Path

import numpy as np
import pytest

from benchmarks.reality_patients import Fold, choose_folds, fold_numbers, make_folds, own_masks
from synthspine.shards.readers.folder import find_series
from synthspine.shards.readers.spider import read_mask
from synthspine.shards.readers.split import Split, load_or_make_split

ROOT = Path(__file__).parents[2]
SPLIT = Split(
    train=frozenset(map(str, range(20))),
    validation=frozenset(map(str, range(20, 28))),
    test=frozenset({"90", "91"}),
)
WITH_IMAGES = frozenset(map(str, range(4, 28))) | {"90"}


@pytest.mark.parametrize("count", [2, 4, 5])
def test_folds_measure_every_patient_once_and_no_test_patient_ever(count):
    folds = make_folds(SPLIT, WITH_IMAGES, count)
    measured = [patient for fold in folds for patient in fold.validation]
    assert sorted(measured) == sorted(WITH_IMAGES - SPLIT.test)
    for fold in folds:
        assert not fold.train & fold.validation
        assert fold.train | fold.validation == SPLIT.train | SPLIT.validation
        assert not (fold.train | fold.validation) & SPLIT.test
    sizes = [len(fold.validation) for fold in folds]
    assert max(sizes) - min(sizes) <= 1


def test_folds_are_the_same_every_time_and_do_not_follow_the_split():
    moved = Split(train=SPLIT.validation, validation=SPLIT.train, test=SPLIT.test)
    assert make_folds(SPLIT, WITH_IMAGES, 4) == make_folds(moved, WITH_IMAGES, 4)


def test_the_fixed_fold_is_the_split_file():
    (fold,) = choose_folds("fixed", SPLIT, WITH_IMAGES, 4)
    assert (fold.train, fold.validation) == (SPLIT.train, SPLIT.validation)


def test_folds_are_chosen_by_number():
    folds = make_folds(SPLIT, WITH_IMAGES, 4)
    assert choose_folds("all", SPLIT, WITH_IMAGES, 4) == folds
    assert choose_folds("3, 0", SPLIT, WITH_IMAGES, 4) == [folds[3], folds[0]]


@pytest.mark.parametrize("text", ["4", "-1", "fixd", ""])
def test_a_fold_that_is_not_there_is_refused(text):
    with pytest.raises(ValueError, match="--fold"):
        choose_folds(text, SPLIT, WITH_IMAGES, 4)


@pytest.mark.parametrize(("text", "numbers"), [("fixed", []), ("all", [0, 1, 2]), ("2, 0", [2, 0])])
def test_numbers_of_folds_are_known_without_patients(text, numbers):
    assert fold_numbers(text, 3) == numbers


@pytest.mark.parametrize("count", [1, 25])
def test_an_impossible_number_of_folds_is_refused(count):
    with pytest.raises(ValueError, match="2 to 24 are possible"):
        make_folds(SPLIT, WITH_IMAGES, count)


def test_a_patient_on_both_sides_is_refused():
    with pytest.raises(ValueError, match="patient 2 is on both sides"):
        Fold(name="odd", train=frozenset({"1", "2"}), validation=frozenset({"2"}))


def test_a_mask_is_borrowed_where_the_series_was_not_annotated(folder):
    everything = {f"{patient}_{contrast}" for patient in range(1, 7) for contrast in ("t1", "t2")}
    assert own_masks(folder / "pairs", folder / "labels") == everything - {"4_t2"}
    assert own_masks(folder / "pairs", None) == everything


@pytest.mark.skipif("SPIDER_MINI" not in os.environ, reason="SPIDER_MINI names no folder with real series")
class TestSpiderMini:
    root = Path(os.environ.get("SPIDER_MINI", ""))

    def test_22_of_38_pairs_have_their_own_mask(self):
        pairs = {series.stem: series for series in find_series(self.root / "pairs")}
        own = own_masks(self.root / "pairs", self.root / "labels")
        assert (len(pairs), len(own)) == (38, 22)
        # A borrowed mask is, pixel by pixel, that of the patient's other contrast, where that is a pair too.
        compared = 0
        for stem in pairs.keys() - own:
            patient, contrast = stem.split("_")
            other = pairs.get(f"{patient}_{'t2' if contrast == 't1' else 't1'}")
            if other is not None:
                assert other.stem in own
                mine, theirs = read_mask(pairs[stem].mask), read_mask(other.mask)
                assert np.array_equal(mine.array, theirs.array)
                compared += 1
        assert compared == 15

    def test_folds_leave_out_the_test_patients_of_the_split_file(self):
        split = load_or_make_split(ROOT / "benchmarks" / "spider_mini_split.json", ())
        with_images = frozenset(series.patient for series in find_series(self.root / "pairs"))
        folds = make_folds(split, with_images, 4)
        assert sum(len(fold.validation) for fold in folds) == len(with_images - split.test) == 18
        assert not any((fold.train | fold.validation) & split.test for fold in folds)
