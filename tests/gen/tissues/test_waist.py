"""The waist of bodies in slices that graze their sides."""

import pytest
import torch

from synthspine.gen.core.anatomy import CANAL, vertebra_code
from synthspine.gen.core.counter_rng import SampleRandom, sample_keys
from synthspine.gen.geometry.spine_frame import find_spine
from synthspine.gen.tissues.palette import MUSCLE, VESSEL
from synthspine.gen.tissues.waist import VESSELS, WaistConfig, WaistParams, paint_waist

FRONT, BACK = 40, 64
"""Columns of all bodies: as few as those of a slice that grazes them."""
TOPS, ROWS = {3: 4, 2: 36, 1: 68}, 24
MIDDLES = [top + ROWS // 2 for top in TOPS.values()]


def _codes(back=BACK):
    """Three bodies of 24 rows; no canal."""
    codes = torch.zeros(1, 96, 120, dtype=torch.uint8)
    for rank, top in TOPS.items():
        codes[:, top : top + ROWS, FRONT:back] = vertebra_code(rank)
    return codes


def _paint(codes, spacing_mm=(1.0, 1.0), height_mm=8.0, slope=0.0, vessel_mm=0.0):
    numbers = {"height_mm": height_mm, "slope": slope, "vessel_mm": vessel_mm, "vessel": VESSEL}
    params = WaistParams(**{name: torch.tensor([float(value)]) for name, value in numbers.items()})
    around = torch.full_like(codes, MUSCLE)
    frame = find_spine(codes, spacing_mm)
    return paint_waist(codes, codes, around, frame, params, spacing_mm)


def test_surroundings_and_a_vessel_cover_the_middle_of_every_body():
    codes = _codes()
    expected = codes.clone()
    for middle in MIDDLES:
        expected[:, middle - 4 : middle + 4, FRONT:BACK] = MUSCLE
        expected[:, middle - 1 : middle + 1, FRONT:BACK] = VESSEL
    assert torch.equal(_paint(codes, vessel_mm=2.0), expected)


@pytest.mark.parametrize(("back", "rows"), [(BACK, 12), (BACK + 6, 6), (BACK + 12, 0), (BACK + 20, 0)])
def test_the_more_of_the_bodies_a_slice_cuts_the_less_is_covered(back, rows):
    covered = _paint(_codes(back), height_mm=12.0) == MUSCLE
    assert covered.sum() == len(TOPS) * rows * (back - FRONT)


@pytest.mark.parametrize("spacing", [(0.8, 1.0), (1.2, 1.0)])
def test_its_height_is_in_mm(spacing):
    covered = (_paint(_codes(), spacing) == MUSCLE)[0, :, FRONT].sum() * spacing[0]
    assert covered / len(TOPS) == pytest.approx(8, abs=spacing[0])


def test_it_slants_down_to_the_back_through_the_middle_of_the_body():
    covered = _paint(_codes(), slope=0.3)[0, 36:60] == MUSCLE
    centres = [36 + covered[:, column].nonzero().float().mean() for column in (FRONT, 51, BACK - 1)]
    assert centres[1] == pytest.approx(47.5, abs=1.0)
    assert centres[2] - centres[0] == pytest.approx(0.3 * (BACK - 1 - FRONT), abs=1.0)


@pytest.mark.parametrize("rows", [8, 50])
def test_what_is_too_low_or_too_high_for_one_body_stays(rows):
    codes = torch.zeros(1, 96, 120, dtype=torch.uint8)
    codes[:, 20 : 20 + rows, FRONT:BACK] = vertebra_code(2)
    assert torch.equal(_paint(codes), codes)


def test_slices_that_show_the_canal_stay():
    codes = _codes()
    codes[:, :, 74:90] = CANAL
    assert torch.equal(_paint(codes), codes)


def test_posterior_elements_stay():
    codes = _codes()
    codes[:, 36:60, 85:95] = vertebra_code(2)
    painted = _paint(codes)
    assert torch.equal(painted[..., 85:], codes[..., 85:])
    assert (painted[..., FRONT:BACK] == MUSCLE).any()


def test_nothing_drawn_leaves_everything():
    codes = _codes()
    assert torch.equal(_paint(codes, height_mm=0.0, vessel_mm=3.0), codes)
    assert paint_waist(codes, codes, codes, find_spine(codes, (1.0, 1.0)), None, (1.0, 1.0)) is codes


def test_volumes_have_it_in_every_slice_beside_the_canal():
    codes = _codes()[:, None].expand(-1, 3, -1, -1).clone()
    codes[:, 1, :, 74:90] = CANAL
    painted = _paint(codes, (4.0, 1.0, 1.0))
    assert torch.equal(painted[:, 1], codes[:, 1])
    assert torch.equal(painted[:, 0], _paint(_codes())) and torch.equal(painted[:, 2], painted[:, 0])


def test_drawn_waists_have_the_ranges_of_their_configuration():
    drawn = WaistConfig().draw(SampleRandom(sample_keys(3, torch.arange(3000))))
    on = drawn.height_mm > 0
    assert 0.46 < on.float().mean() < 0.54
    assert 3 <= drawn.height_mm[on].min() < 3.2 and 17.8 < drawn.height_mm.max() <= 18
    assert set(drawn.vessel.tolist()) == set(map(float, VESSELS))
    assert -0.4 <= drawn.slope.min() < -0.38 and 3.4 < drawn.vessel_mm.max() <= 3.5
