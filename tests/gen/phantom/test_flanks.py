import numpy as np
import pytest

from synthspine.gen.phantom.anatomy import Points
from synthspine.gen.phantom.paint import paint
from synthspine.gen.phantom.patient import phantom_patient
from synthspine.gen.phantom.series import phantom_mask, scan_grid
from synthspine.gen.phantom.soft import HIGH_MM, LOW_MM, draw_back, draw_soft_tissue
from synthspine.gen.phantom.tissues import KIDNEY_CORTEX, KIDNEY_MEDULLA, MARROW, code


@pytest.fixture(scope="module")
def grids():
    anatomies = [phantom_patient(5, patient) for patient in range(60)]
    return [scan_grid(anatomy, draw_back(anatomy), "t1")[0] for anatomy in anatomies]


@pytest.fixture(scope="module")
def sides():
    """Tissue and labels of sagittal planes 48 and 60 mm beside the middle, both sides, and their axes."""
    anatomy = phantom_patient(0, 3)
    points = Points(x=np.array([-60.0, -48, 48, 60]), y=np.arange(-240.0, 80, 2), z=np.arange(-150.0, 110, 2))
    return *paint(anatomy, draw_soft_tissue(anatomy), points), points


def test_scans_are_as_wide_as_the_annotated_ones_of_spider(grids):
    width = np.array([grid.shape[0] * grid.spacing_mm[0] for grid in grids])
    # 29 masks of SPIDER: 56 to 132 mm, 86 mm on average.
    assert 54 < width.min() < 66 and 115 < width.max() < 134 and 80 < width.mean() < 93


def test_the_random_structure_reaches_to_the_outermost_slices(grids):
    assert all(LOW_MM[0] < grid.axis(0)[0] and grid.axis(0)[-1] < HIGH_MM[0] for grid in grids)


def test_outer_slices_of_wide_scans_show_nothing_and_those_further_in_only_transverse_processes(grids):
    patient = int(np.argmax([grid.shape[0] * grid.spacing_mm[0] for grid in grids]))
    mask = phantom_mask(5, patient, "t1").mask
    labelled = (mask > 0).sum((1, 2))
    assert (labelled[[0, -1]] == 0).all() and (labelled == 0).sum() >= 4
    few = (labelled > 0) & (labelled < 0.04 * labelled.max())
    assert few.sum() >= 4
    assert (mask[few] < 26).all()


def test_the_flanks_hold_kidneys_muscles_and_iliac_bones_and_no_label(sides):
    tissue, label, points = sides
    assert not label.any()
    for plane in tissue:
        assert (plane == KIDNEY_CORTEX).sum() * 4 > 400
        assert (plane == KIDNEY_MEDULLA).sum() * 4 > 100
        assert (plane == code("muscle")).sum() * 4 > 6000
        bone = np.argwhere(plane == MARROW)
        pelvis = bone[points.y[bone[:, 0]] > -40]
        assert len(pelvis) * 4 > 500
        rows = points.y[np.argwhere(plane == KIDNEY_CORTEX)[:, 0]]
        assert rows.max() < points.y[pelvis[:, 0]].min() + 20


def test_the_right_kidney_lies_lower_than_the_left_on_average():
    left, right, _ = np.mean([phantom_patient(1, p).surroundings.kidneys for p in range(60)], axis=0)
    assert 8 < left - right < 20


def test_ribs_stand_beside_thoracic_vertebrae_alone():
    anatomy = phantom_patient(0, 3)
    soft = draw_soft_tissue(anatomy)
    for rank, expected in ((7, True), (6, True), (5, False), (3, False)):
        x, y, z = anatomy.vertebrae[rank - 1].centre + 52 * anatomy.vertebrae[rank - 1].axes[0]
        points = Points(x=np.array([x]), y=y + np.arange(-4.0, 22), z=z + np.arange(0.0, 45))
        assert (paint(anatomy, soft, points)[0] == MARROW).any() == expected
