import numpy as np
import pytest

from synthspine.eval.prediction.tables.heights import heights_mm
from synthspine.gen.core.anatomy import CANAL, disc_code, posterior_code, vertebra_code

SPACING = (4.0, 0.7, 0.9)
HEIGHTS = {disc_code(1): 9.0, vertebra_code(1): 26.0, disc_code(2): 11.0, vertebra_code(2): 28.0}


def column(tilt, *, wedge=0.0, slices=7, spacing=SPACING):
    """Discs and bodies of known heights, 34 mm deep, along a line at an angle; the canal behind them."""
    rows, columns = np.mgrid[:260, :200] * np.array(spacing[1:])[:, None, None]
    angle = np.radians(tilt)
    along = (rows - 100) * np.cos(angle) + (columns - 80) * np.sin(angle)
    depth = (columns - 80) * np.cos(angle) - (rows - 100) * np.sin(angle)
    plane = np.zeros(rows.shape, dtype=np.uint8)
    plane[(depth > 20) & (depth < 34) & (abs(along) < 70)] = CANAL
    lower = 40.0
    for code, height in HEIGHTS.items():
        ends = along - lower + wedge * depth, along - (lower - height) - wedge * depth
        plane[(abs(depth) < 17) & (ends[0] <= 0) & (ends[1] > 0)] = code
        lower -= height
    # A spinous process, which is part of its vertebra in most masks.
    plane[(depth > 38) & (depth < 60) & (abs(along - 10) < 6)] = vertebra_code(1)
    plane[(depth > 38) & (depth < 60) & (abs(along + 30) < 6)] = posterior_code(2)
    return np.repeat(plane[None], slices, axis=0)


@pytest.mark.parametrize("tilt", [-20, 0, 7, 35])
def test_heights_are_those_along_the_structures_own_axis(tilt):
    found = heights_mm(column(tilt), SPACING)
    assert found.keys() == HEIGHTS.keys()
    for code, height in HEIGHTS.items():
        assert found[code] == pytest.approx(height, abs=0.5)


def test_a_wedge_has_its_mean_height():
    found = heights_mm(column(10, wedge=0.08), SPACING)
    for code, height in HEIGHTS.items():
        assert found[code] == pytest.approx(height, abs=0.5)


def test_only_the_middle_slices_count():
    codes = column(0, slices=9)
    codes[:3], codes[-3:] = np.roll(codes[:3], 5, axis=1) * (codes[:3] == vertebra_code(1)), 0
    assert heights_mm(codes, SPACING)[vertebra_code(1)] == pytest.approx(26, abs=0.3)


def test_what_the_border_cuts_off_and_what_is_tiny_has_no_height():
    codes = column(0)
    first = int(np.flatnonzero((codes == vertebra_code(2)).any(axis=(0, 2)))[0])
    cut = codes[:, first + 8 :].copy()
    assert vertebra_code(2) not in heights_mm(cut, SPACING)
    # A slice in which it is whole counts.
    cut[3, 0] = 0
    assert vertebra_code(2) in heights_mm(cut, SPACING)
    tiny = np.zeros((3, 60, 60), dtype=np.uint8)
    tiny[1, 30:33, 30:33] = vertebra_code(1)
    assert heights_mm(tiny, SPACING) == {} == heights_mm(np.zeros_like(tiny), SPACING)


def test_one_structure_alone_in_one_slice_is_measured():
    codes = np.where(column(0, slices=1) == vertebra_code(1), 1, 0).astype(np.uint8)
    assert heights_mm(codes, SPACING)[1] == pytest.approx(26, abs=0.3)
