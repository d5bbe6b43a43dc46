"""Agreement of neighbouring slices."""

import itertools
import math

import numpy as np
import pytest

from synthspine.eval.segmentation.across_slices import CHANGE_MM, INDEPENDENT_MM, agree_across_slices
from synthspine.gen import label_scheme

FOUR = label_scheme("structures")


def drawn(*shape: int, classes: int = 4) -> np.ndarray:
    """Class probabilities of slices, ``(Z, K, h, w)``."""
    slices, rows, columns = shape
    logits = np.random.default_rng(0).normal(0, 2, (slices, classes, rows, columns)).astype(np.float32)
    weights = np.exp(logits)
    return weights / weights.sum(axis=1, keepdims=True)


def agreed(probabilities: np.ndarray, scheme=FOUR, distance_mm=4.0, shown=None) -> np.ndarray:
    result = probabilities.copy()
    agree_across_slices(
        result, scheme, distance_mm, np.ones(len(result), dtype=bool) if shown is None else shown
    )
    return result


def pixel(*slices: list[float]) -> np.ndarray:
    return np.array(slices, dtype=np.float32)[:, :, None, None]


def test_probabilities_are_those_over_all_paths_of_structures():
    probabilities, distance = drawn(4, 1, 1), 3.0
    kept, news = math.exp(-distance / CHANGE_MM), 1 - math.exp(-distance / INDEPENDENT_MM)
    expected = np.zeros((4, 4))
    for path in itertools.product(range(4), repeat=4):
        weight = math.prod(float(probabilities[z, state, 0, 0]) ** news for z, state in enumerate(path))
        for one, next_ in itertools.pairwise(path):
            weight *= (1 - kept) / 4 + kept * (one == next_)
        for z, state in enumerate(path):
            expected[z, state] += weight
    expected /= expected.sum(axis=1, keepdims=True)
    np.testing.assert_allclose(agreed(probabilities, distance_mm=distance)[:, :, 0, 0], expected, rtol=1e-4)


def test_a_doubtful_slice_takes_what_its_neighbours_are_sure_of():
    sure, doubtful = [0.02, 0.94, 0.02, 0.02], [0.5, 0.4, 0.05, 0.05]
    assert agreed(pixel(sure, doubtful, sure)).argmax(axis=1).ravel().tolist() == [1, 1, 1]
    assert agreed(pixel(doubtful, doubtful)).argmax(axis=1).ravel().tolist() == [0, 0]


@pytest.mark.parametrize("distance_mm, told", [(4.0, 1), (60.0, 0)])
def test_slices_far_apart_tell_nothing_about_each_other(distance_mm, told):
    sure, doubtful = [0.02, 0.94, 0.02, 0.02], [0.5, 0.4, 0.05, 0.05]
    assert agreed(pixel(sure, doubtful, sure), distance_mm=distance_mm).argmax(axis=1)[1] == told


def test_a_slice_that_shows_nothing_tells_nothing():
    nothing = [0.01, 0.97, 0.01, 0.01]
    doubtful = [0.5, 0.4, 0.05, 0.05]
    blank = np.array([False, True, False])
    assert agreed(pixel(nothing, doubtful, nothing), shown=blank).argmax(axis=1)[1] == 0
    assert agreed(pixel(nothing, doubtful, nothing)).argmax(axis=1)[1] == 1


def test_ratios_of_the_ranks_of_a_structure_stay():
    scheme = label_scheme("ranks")
    before = drawn(3, 5, 6, classes=scheme.num_classes)
    after = agreed(before, scheme)
    np.testing.assert_allclose(after[:, 1] / after[:, 2], before[:, 1] / before[:, 2], rtol=1e-4)
    np.testing.assert_allclose(after.sum(axis=1), 1, rtol=1e-4)
    assert np.abs(after - before).max() > 0.1


def test_lines_across_the_slices_are_independent_and_half_precision_is_enough():
    probabilities = drawn(5, 70, 3)
    whole = agreed(probabilities)
    np.testing.assert_array_equal(agreed(probabilities[:, :, 66:68])[:, :, 0], whole[:, :, 66])
    half = probabilities.astype(np.float16)
    half[0, 1, 0, 0] = 0  # underflow
    after = agreed(half)
    assert np.isfinite(after).all()
    np.testing.assert_allclose(after[:, :, 1:], whole[:, :, 1:], atol=0.01)


def test_a_single_slice_stays_as_it_is():
    probabilities = drawn(1, 3, 3)
    np.testing.assert_array_equal(agreed(probabilities), probabilities)
