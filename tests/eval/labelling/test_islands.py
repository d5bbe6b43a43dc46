import numpy as np
import pytest

from synthspine.eval.labelling.islands import remove_islands

SPACING = (0.5, 2.0)


def test_small_regions_go_and_large_ones_stay():
    structures = np.zeros((1, 20, 20), dtype=np.uint8)
    structures[0, 2:8, 2:8] = 1
    structures[0, 15:17, 15:17] = 1
    cleaned = remove_islands(structures, SPACING, min_area_mm2=5.0)
    assert cleaned[0, 2:8, 2:8].all()
    assert not cleaned[0, 15:17, 15:17].any()


def test_several_large_regions_of_a_structure_all_stay():
    structures = np.zeros((1, 30, 30), dtype=np.uint8)
    structures[0, 2:10, 2:10] = 1
    structures[0, 2:7, 20:25] = 1
    assert np.array_equal(remove_islands(structures, SPACING, min_area_mm2=10.0), structures)


def test_area_is_measured_in_mm2_not_pixels():
    structures = np.zeros((1, 20, 20), dtype=np.uint8)
    structures[0, 2:6, 2:6] = 2
    assert remove_islands(structures, (1.0, 1.0), min_area_mm2=16.0).any()
    assert not remove_islands(structures, (0.5, 0.5), min_area_mm2=16.0).any()


def test_slices_are_cleaned_one_by_one():
    structures = np.zeros((2, 20, 20), dtype=np.uint8)
    structures[0, 2:12, 2:12] = 3
    structures[1, 4:6, 4:6] = 3
    cleaned = remove_islands(structures, SPACING, min_area_mm2=10.0)
    assert cleaned[0].any()
    assert not cleaned[1].any()


def test_pixels_that_touch_at_a_corner_are_one_region():
    structures = np.zeros((1, 10, 10), dtype=np.uint8)
    structures[0, 2:4, 2:4] = structures[0, 4:6, 4:6] = 1
    assert remove_islands(structures, (1.0, 1.0), min_area_mm2=8.0).sum() == 8


def test_neighbouring_structures_do_not_protect_each_other():
    structures = np.zeros((1, 12, 12), dtype=np.uint8)
    structures[0, 1:11, 1:6] = 1
    structures[0, 5, 6] = 2
    assert not (remove_islands(structures, (1.0, 1.0), min_area_mm2=4.0) == 2).any()


def test_input_is_left_alone():
    structures = np.ones((1, 2, 2), dtype=np.uint8)
    remove_islands(structures, (1.0, 1.0), min_area_mm2=100.0)
    assert structures.all()


@pytest.mark.parametrize("area", [-1.0, float("nan")])
def test_negative_area_is_refused(area):
    with pytest.raises(ValueError, match="minimum area"):
        remove_islands(np.zeros((1, 2, 2), dtype=np.uint8), (1.0, 1.0), min_area_mm2=area)
