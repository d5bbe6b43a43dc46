"""Scans without a spine, and the scores of whole scans, on drawn volumes."""

import numpy as np
import pytest

from benchmarks.no_spine import drawn_scan, parts
from benchmarks.whole_scans import scores
from synthspine.eval.labelling.roles import VERTEBRA
from synthspine.shards.readers.spider import write_mha


def test_drawn_scans_depend_on_seed_and_index_alone():
    assert np.array_equal(drawn_scan(0, 4).array, drawn_scan(0, 4).array)
    assert not np.array_equal(drawn_scan(0, 4).array, drawn_scan(1, 4).array)


@pytest.mark.parametrize("first, left, right", [(0, 0, 5), (1, 0, 4), (3, 2, 2)])
def test_slices_beside_the_spine_hold_nothing_annotated_and_no_neighbour_of_it(tmp_path, first, left, right):
    image = np.random.default_rng(0).integers(0, 1000, (8, 160, 200)).astype(np.int16)
    mask = np.zeros(image.shape, dtype=np.int16)
    mask[first : first + 2, 60:90, 90:120] = 1
    for kind, array in (("images", image), ("masks", mask)):
        (tmp_path / kind).mkdir()
        write_mha(array, (4.0, 1.0, 1.0), "LPS", tmp_path / kind / "VB_1.mha")
    found = {kind: len(scan.array) for kind, scan in parts(tmp_path)}
    beside = {kind.split("(")[1].rstrip(")"): count for kind, count in found.items() if "beside" in kind}
    assert (beside.get("left", 0), beside.get("right", 0)) == (left, right)
    assert found["in front of the spine"] == 8


@pytest.mark.parametrize("slices", [1, 2, 6])
def test_a_mask_like_the_truth_scores_one_and_what_lies_beside_is_counted(slices):
    truth = np.zeros((slices + 4, 40, 40), dtype=np.int64)
    truth[:slices, 10:20, 10:20], truth[:slices, 25:35, 10:20] = 2, 1
    codes = truth.astype(np.uint8)
    codes[-1, 10:20, 10:20] = 2
    found = scores(codes, [0.1] * len(codes), truth, VERTEBRA, (1.0, 1.0))
    assert found["named"] == [1.0] and set(found["dice"]) == {1.0}
    assert found["beside"] == [pytest.approx(100 / (200 * slices + 100))]
    codes[codes > 0] += 1
    assert scores(codes, [0.1] * len(codes), truth, VERTEBRA, (1.0, 1.0))["named"] == [0.0]
