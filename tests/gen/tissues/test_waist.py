"""The waist of bodies in slices that graze their sides."""

import pytest
import torch

from synthspine.gen.core.anatomy import CANAL, disc_code, vertebra_code
from synthspine.gen.core.counter_rng import SampleRandom, sample_keys
from synthspine.gen.geometry.spine_frame import find_spine
from synthspine.gen.tissues.palette import FAT, MUSCLE, VESSEL
from synthspine.gen.tissues.waist import VESSELS, WaistConfig, WaistParams, paint_waist

BODY, FRONT, BACK = slice(36, 60), 40, 70
"""Rows of the middle body, and columns of all of them."""


def _codes():
    """Three bodies of 24 rows and the discs between them, in columns 40 to 69; no canal."""
    codes = torch.zeros(1, 96, 120, dtype=torch.uint8)
    for rank, top in ((3, 4), (2, 36), (1, 68)):
        codes[:, top : top + 24, FRONT:BACK] = vertebra_code(rank)
    for rank, top in ((3, 29), (2, 61)):
        codes[:, top : top + 6, FRONT:BACK] = disc_code(rank)
    return codes


def _paint(codes, spacing_mm=(1.0, 1.0), height_mm=8.0, slope=0.0, vessel_mm=0.0):
    numbers = {"height_mm": height_mm, "slope": slope, "vessel_mm": vessel_mm, "vessel": VESSEL}
    params = WaistParams(**{name: torch.tensor([float(value)]) for name, value in numbers.items()})
    around = torch.full_like(codes, MUSCLE)
    frame = find_spine(codes, spacing_mm)
    return paint_waist(codes, codes, around, frame, params, spacing_mm)


def test_surroundings_and_a_vessel_cover_the_middle_of_the_body_between_two_discs():
    codes = _codes()
    painted = _paint(codes, vessel_mm=2.0)
    expected = codes.clone()
    expected[:, 44:52, FRONT:BACK] = MUSCLE
    expected[:, 47:49, FRONT:BACK] = VESSEL
    # The bodies at the ends have one disc alone: where their middles lie is not known.
    assert torch.equal(painted, expected)


@pytest.mark.parametrize("spacing", [(1.0, 1.0), (0.8, 1.0), (1.2, 1.0)])
def test_its_height_is_in_mm(spacing):
    covered = (_paint(_codes(), spacing) == MUSCLE)[0, :, FRONT].sum() * spacing[0]
    assert covered == pytest.approx(8, abs=spacing[0])


def test_it_slants_down_to_the_back():
    covered = _paint(_codes(), slope=0.2)[0] == MUSCLE
    front, back = (covered[:, column].nonzero().float().mean() for column in (FRONT, BACK - 1))
    assert back - front == pytest.approx(0.2 * (BACK - 1 - FRONT), abs=1.0)


def test_slices_that_show_the_canal_stay_and_so_does_what_is_no_body():
    codes = _codes()
    codes[:, :, 74:90] = CANAL
    assert torch.equal(_paint(codes), codes)
    behind = _codes()
    behind[:, BODY, 90:100] = vertebra_code(2)
    assert torch.equal(_paint(behind)[..., 90:], behind[..., 90:])
    assert not (_paint(_codes()) == FAT).any()


def test_nothing_drawn_leaves_everything():
    codes = _codes()
    assert torch.equal(_paint(codes, height_mm=0.0, vessel_mm=3.0), codes)
    assert paint_waist(codes, codes, codes, find_spine(codes, (1.0, 1.0)), None, (1.0, 1.0)) is codes


def test_volumes_have_it_in_every_slice_beside_the_canal():
    codes = _codes()[:, None].expand(-1, 3, -1, -1).clone()
    codes[:, 1, :, 74:90] = CANAL
    painted = _paint(codes, (4.0, 1.0, 1.0))
    assert torch.equal(painted[:, 1], codes[:, 1])
    assert all((painted[:, index] == MUSCLE).sum() == 8 * (BACK - FRONT) for index in (0, 2))


def test_drawn_waists_have_the_ranges_of_their_configuration():
    drawn = WaistConfig(probability=0.5).draw(SampleRandom(sample_keys(3, torch.arange(3000))))
    on = drawn.height_mm > 0
    assert 0.46 < on.float().mean() < 0.54
    assert 3 <= drawn.height_mm[on].min() < 3.2 and 15.8 < drawn.height_mm.max() <= 16
    assert set(drawn.vessel.tolist()) == set(map(float, VESSELS))
    assert -0.4 <= drawn.slope.min() < -0.38 and 3.4 < drawn.vessel_mm.max() <= 3.5
