"""Loops in front of the spine."""

from dataclasses import replace

import pytest
import torch

from synthspine.gen.core.counter_rng import SampleRandom, sample_keys
from synthspine.gen.geometry.spine_frame import NEVER_MM, find_spine
from synthspine.gen.tissues.bowel import BowelConfig, paint_bowel
from synthspine.gen.tissues.palette import AIR, BOWEL_CONTENT, BOWEL_GAS, BOWEL_WALL, FIRST_COARSE

SPACING = (1.0, 1.0)
CODES = (BOWEL_WALL, BOWEL_CONTENT, BOWEL_GAS)


def _draw(count, **changes):
    return BowelConfig(**changes).draw(SampleRandom(sample_keys(1, torch.arange(count))))


@pytest.fixture
def wide(bank):
    """The first map in a picture with room in front and below, uint8 ``(1, 192, 240)``."""
    codes = torch.zeros(1, 192, 240, dtype=torch.uint8)
    codes[:, 20:116, 130:210] = bank[:1]
    return codes


def _paint(codes, params):
    codes = codes.expand(len(params), -1, -1)
    return paint_bowel(torch.full_like(codes, FIRST_COARSE), params, find_spine(codes, SPACING), SPACING)


def _is_loop(painted):
    return (painted == BOWEL_WALL) | (painted == BOWEL_CONTENT) | (painted == BOWEL_GAS)


def test_loops_fill_their_share_of_the_middle_and_hardly_anything_outside(wide):
    params = _draw(80, probability=1.0, head_probability=0.0, foot_mm=(20.0, 20.0), front_mm=(90.0, 90.0),
                   height_mm=(40.0, 40.0), width_mm=(30.0, 30.0), share=(0.7, 0.7))  # fmt: skip
    loop = _is_loop(_paint(wide, params))
    # The lowest row is 99, the canal's middle in column 180.5: the middle of the loops is (119, 90.5).
    assert loop[:, 117:122, 88:94].float().mean() == pytest.approx(0.7, abs=0.1)
    row, column = torch.meshgrid(torch.arange(192.0), torch.arange(240.0), indexing="ij")
    outside = ((row - 119) / 40) ** 2 + ((column - 90.5) / 30) ** 2 > 2
    assert loop[:, outside].float().mean() < 1e-3


def test_gas_takes_its_share_and_lies_in_front_of_the_content(wide):
    params = _draw(60, probability=1.0, gas_share=(0.3, 0.3), wall_mm=(0.0, 0.0))
    painted = _paint(wide, params)
    gas, content = painted == BOWEL_GAS, painted == BOWEL_CONTENT
    assert gas.sum() / (gas | content).sum() == pytest.approx(0.3, abs=0.05)
    behind_gas = gas[..., :-1] & content[..., 1:]
    before_gas = gas[..., 1:] & content[..., :-1]
    assert behind_gas.sum() > 3 * before_gas.sum()


def test_a_wall_parts_the_inside_of_a_loop_from_the_rest(wide):
    painted = _paint(wide, _draw(20, probability=1.0, wall_mm=(3.0, 3.0), loop_mm=(9.0, 11.0)))
    inside = (painted == BOWEL_GAS) | (painted == BOWEL_CONTENT)
    free = painted == FIRST_COARSE
    touching = (inside[:, 1:] & free[:, :-1]) | (inside[:, :-1] & free[:, 1:])
    assert inside.any() and touching.sum() < 0.01 * inside.sum()


def test_loops_at_the_head_end_come_when_asked_for(wide):
    both = _draw(40, probability=1.0, head_probability=1.0, head_mm=(0.0, 20.0), height_mm=(25.0, 40.0))
    foot = replace(both, middle_mm=torch.stack((torch.full((40,), NEVER_MM), both.middle_mm[:, 1]), 1))
    with_head, without = _is_loop(_paint(wide, both)), _is_loop(_paint(wide, foot))
    assert with_head[:, :40].sum() > 5 * without[:, :40].sum()
    assert torch.equal(with_head[:, 150:], without[:, 150:])


def test_no_loop_lies_outside_the_body_or_behind_the_canal(wide):
    params = _draw(40, probability=1.0)
    codes = wide.expand(40, -1, -1)
    frame = find_spine(codes, SPACING)
    body = torch.full_like(codes, FIRST_COARSE)
    body[:, :, :90] = AIR
    painted = paint_bowel(body, params, frame, SPACING)
    assert (painted[:, :, :90] == AIR).all() and _is_loop(painted).any()
    assert _is_loop(painted)[frame.behind_mm > 5].float().mean() < 1e-3


def test_draws_stay_in_their_ranges_and_probabilities():
    params = _draw(1000)
    head, foot = (params.middle_mm < NEVER_MM).unbind(1)
    assert 0.45 < foot.float().mean() < 0.55
    assert 0.15 < head.float().mean() < 0.25 and not (head & ~foot).any()
    for values, low, high in (
        (params.middle_mm[foot, 1], -40, 45),
        (params.front_mm, 55, 110),
        (params.loop_mm, 5, 11),
        (params.gas_share, 0, 0.35),
    ):
        assert low <= values.min() < low + 0.05 * (high - low)
        assert high - 0.05 * (high - low) < values.max() <= high


def test_loops_that_would_fill_the_picture_are_refused():
    with pytest.raises(ValueError, match="share"):
        BowelConfig(share=(0.5, 1.0))
