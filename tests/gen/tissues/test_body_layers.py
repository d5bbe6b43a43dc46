"""Layers of the body along the spine."""

from dataclasses import replace

import pytest
import torch

from synthspine.gen.core.anatomy import CANAL
from synthspine.gen.core.counter_rng import SampleRandom, sample_keys
from synthspine.gen.geometry.spine_frame import NEVER_MM, find_spine
from synthspine.gen.tissues.body_layers import BodyLayersConfig, paint_body_layers
from synthspine.gen.tissues.palette import AIR, FAT, FIRST_COARSE, MUSCLE, MUSCLE_FAT, VESSEL

SPACING = (1.0, 1.0)


def _draw(count, **changes):
    random = SampleRandom(sample_keys(1, torch.arange(count)))
    return BodyLayersConfig(**changes).draw(random)


@pytest.fixture
def straight():
    """A straight canal in columns 118 to 122, uint8 ``(4, 64, 241)``."""
    codes = torch.zeros(4, 64, 241, dtype=torch.uint8)
    codes[:, :, 118:123] = CANAL
    return codes


def _paint(codes, params):
    blank = torch.full_like(codes, FIRST_COARSE)
    return paint_body_layers(blank, params, find_spine(codes, SPACING), SPACING)


def test_even_layers_lie_where_their_distances_say(straight):
    params = _draw(4, probability=1.0, vessel_probability=1.0, uneven_mm=(0.0, 0.0), strand_share=(0.0, 0.0),
                   gap_share=(0.0, 0.0), muscle_mm=(30.2, 30.2), fat_mm=(15.0, 15.0), front_mm=(90.2, 90.2),
                   vessel_near_mm=(44.2, 44.2), vessel_width_mm=(10.0, 10.0))  # fmt: skip
    behind = torch.arange(241) - 120
    expected = torch.full((241,), FIRST_COARSE)
    for code, low, high in (
        (MUSCLE, 6.1, 30.2),
        (FAT, 30.2, 45.2),
        (AIR, 45.2, 200.0),
        (VESSEL, -54.2, -44.2),
        (AIR, -200.0, -90.2),
    ):
        expected[(behind > low) & (behind < high)] = code
    params = replace(params, muscle_mm=params.muscle_mm + torch.tensor([0.1, 0.0]))
    assert (_paint(straight, params) == expected).all()


def test_fat_and_gaps_take_their_share_of_the_muscle(straight):
    shares = {"strand_share": (0.3, 0.3), "gap_share": (0.2, 0.2)}
    params = _draw(200, probability=1.0, strand_mm=(5.0, 5.0), muscle_mm=(100.0, 100.0), **shares)
    painted = _paint(straight[:1].expand(200, -1, -1), params)[:, :, 130:200]
    assert (painted == MUSCLE_FAT).float().mean() == pytest.approx(0.3, abs=0.03)
    assert (painted == FIRST_COARSE).float().mean() == pytest.approx(0.2, abs=0.03)
    assert (painted == MUSCLE).float().mean() == pytest.approx(0.5, abs=0.04)


def test_uneven_borders_wave_by_their_deviation(straight):
    params = _draw(60, probability=1.0, uneven_mm=(5.0, 5.0), fat_mm=(1.0, 1.0), muscle_mm=(60.0, 60.0),
                   front_mm=(70.0, 70.0))  # fmt: skip
    painted = _paint(straight[:1].expand(60, -1, -1), params)
    for half in (painted[:, :, 120:] == AIR, painted[:, :, :120] == AIR):
        assert half.sum(-1).float().std() == pytest.approx(5.0, abs=1.0)


def test_every_layer_can_be_absent(straight):
    none = _draw(4, probability=1.0, vessel_probability=0.0)
    assert (none.vessel_mm == NEVER_MM).all()
    assert not (_paint(straight, none) == VESSEL).any()
    some = _draw(400)
    on = some.front_mm < NEVER_MM
    assert 0.8 < on.float().mean() < 0.9
    assert 0.35 < (some.vessel_mm[:, 0] < NEVER_MM).float().mean() < 0.5
    assert ((some.muscle_mm == NEVER_MM).all(1) == ~on).all()
    codes = straight[:1].expand(400, -1, -1)[:, :4]
    assert (_paint(codes, some)[~on] == FIRST_COARSE).all()


def test_draws_stay_in_their_ranges():
    params = _draw(500, probability=1.0)
    for values, low, high in (
        (params.muscle_mm[:, 1], 25, 60),
        (params.fat_mm, 3, 40),
        (params.front_mm, 70, 190),
        (params.wave_mm, 14, 40),
        (params.strand_mm, 5, 12),
    ):
        assert low <= values.min() < low + 0.05 * (high - low)
        assert high - 0.05 * (high - low) < values.max() <= high


def test_a_field_that_its_grid_cannot_hold_is_refused():
    with pytest.raises(ValueError, match="strand_mm"):
        BodyLayersConfig(strand_mm=(1.0, 5.0))
