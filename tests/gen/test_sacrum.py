"""Unlabelled repeats of the lowest vertebra."""

import math

import pytest
import torch

from gen.anatomy import BACKGROUND, disc_code, vertebra_code
from gen.counter_rng import SampleRandom, sample_keys
from gen.palette import FIRST_COARSE, SACRAL_DISC, SACRUM
from gen.sacrum import SEGMENTS, SacrumConfig, SacrumParams, draw_sacrum, paint_sacrum, turn
from gen.spine_frame import find_spine

SPACING = (1.0, 1.0)


def _draw(count, **changes):
    return draw_sacrum(SacrumConfig(**changes), SampleRandom(sample_keys(1, torch.arange(count))))


def _fixed(angle, scale, disc=1.0):
    turns = torch.zeros(1, SEGMENTS)
    scales = torch.zeros(1, SEGMENTS)
    turns[0, : len(angle)], scales[0, : len(scale)] = torch.tensor(angle), torch.tensor(scale)
    return SacrumParams(turn_deg=turns, scale=scales, disc_thickness=torch.tensor([disc]))


def _paint(codes, params, spacing=SPACING):
    return paint_sacrum(
        torch.full_like(codes, FIRST_COARSE), params, codes, find_spine(codes, spacing), spacing
    )


@pytest.fixture
def wide(bank):
    """The first map in a picture with room below, uint8 ``(1, 192, 160)``."""
    codes = torch.zeros(1, 192, 160, dtype=torch.uint8)
    codes[:, 10:106, 40:120] = bank[:1]
    return codes


def test_a_segment_is_the_lowest_vertebra_and_disc_turned_and_scaled(wide):
    """Every pixel against its source, one by one."""
    angle, scale = 20.0, 0.8
    painted = _paint(wide, _fixed([angle], [scale]))[0]
    frame = find_spine(wide, SPACING)
    body, step = frame.body_mm[0].tolist(), frame.step_mm[0].tolist()
    cosine, sine = math.cos(math.radians(angle)), math.sin(math.radians(angle))
    way = (scale * (step[0] * cosine - step[1] * sine), scale * (step[0] * sine + step[1] * cosine))
    middle = (body[0] + step[0] + way[0], body[1] + step[1] + way[1])
    expected = torch.full((192, 160), FIRST_COARSE, dtype=torch.uint8)
    tissue = {vertebra_code(1): SACRUM, disc_code(1): SACRAL_DISC}
    for row in range(192):
        for column in range(160):
            down, back = (row - 95.5 - middle[0]) / scale, (column - 79.5 - middle[1]) / scale
            at_row = round(body[0] + down * cosine + back * sine + 95.5)
            at_column = round(body[1] - down * sine + back * cosine + 79.5)
            if 0 <= at_row < 192 and 0 <= at_column < 160:
                code = int(wide[0, at_row, at_column])
                expected[row, column] = tissue.get(code, FIRST_COARSE)
    assert (expected != FIRST_COARSE).sum() > 300
    # Rounding at the middle between two pixels may fall either way.
    assert (painted != expected).sum() <= 3


def test_segments_follow_each_other_downwards_and_shrink(wide):
    painted = _paint(wide, _fixed([0.0, 0.0, 0.0], [0.9, 0.8, 0.7]))[0]
    bone = (painted == SACRUM)[:, 58:84].any(1)
    disc = (painted == SACRAL_DISC).any(1)
    starts = torch.nonzero(bone[1:] & ~bone[:-1])[:, 0] + 1
    heights = [int(bone[start:].logical_not().int().argmax()) for start in starts]
    assert len(starts) == 3 and heights[0] > heights[1] > heights[2]
    assert disc.sum() > 6
    # Body and disc lie 11.5 mm apart in the map, so bodies lie 11.5 mm times both their sizes apart.
    middles = torch.tensor([float(start) + height / 2 for start, height in zip(starts, heights, strict=True)])
    lowest_disc = 10 + 80 - 2.5
    expected = torch.tensor([0.9, 0.9 + 0.8, 0.8 + 0.7]).cumsum(0) * 11.5 + lowest_disc
    assert torch.allclose(middles, expected, atol=1.0)


def test_disc_thickness_thins_the_disc_and_leaves_the_bone(wide):
    thick, thin = (_paint(wide, _fixed([10.0], [0.9], disc))[0] for disc in (1.0, 0.5))
    assert 0.35 < (thin == SACRAL_DISC).sum() / (thick == SACRAL_DISC).sum() < 0.65
    # What lies beyond the end plate, the arch too, is squeezed with the disc.
    assert int((thin == SACRUM).sum()) == pytest.approx(int((thick == SACRUM).sum()), rel=0.15)


def test_the_sacrum_turns_backwards_below_the_lowest_disc(wide):
    painted = _paint(wide.expand(30, -1, -1), _draw(30, probability=1.0))
    row, column = torch.meshgrid(torch.arange(192.0), torch.arange(160.0), indexing="ij")
    disc = wide[0] == disc_code(1)
    for sample in painted:
        bone = (sample == SACRUM) | (sample == SACRAL_DISC)
        assert (
            bone.any() and row[bone].mean() > row[disc].mean() and column[bone].mean() > column[disc].mean()
        )


def test_anisotropic_pixels_keep_the_shape_in_millimetres(wide):
    """Rows drawn twice as fine give the same picture, drawn twice as fine."""
    params = _fixed([25.0, 20.0], [0.9, 0.8], 0.75)
    coarse = _paint(wide, params)
    fine = _paint(wide.repeat_interleave(2, 1), params, (0.5, 1.0))
    differ = (coarse.repeat_interleave(2, 1) != fine).sum() / (fine != FIRST_COARSE).sum()
    assert differ < 0.12


def test_without_a_lowest_disc_there_is_no_sacrum(wide):
    for code in (vertebra_code(1), disc_code(1)):
        painted = _paint(torch.where(wide == code, BACKGROUND, wide), _draw(1, probability=1.0))
        assert (painted == FIRST_COARSE).all()


def test_draws_stay_in_their_ranges_and_probabilities():
    params = _draw(2000)
    count = (params.scale > 0).sum(1)
    assert 0.82 < (count > 0).float().mean() < 0.88
    shares = torch.bincount(count[count > 0])[1:] / (count > 0).sum()
    assert torch.allclose(shares, torch.tensor(1 / 3), atol=0.04)
    ratio = params.scale[count == 3]
    ratio = ratio / torch.cat((torch.ones(len(ratio), 1), ratio[:, :-1]), dim=1)
    assert ratio.min() >= 0.7 - 1e-6 and ratio.max() <= 0.95 + 1e-6
    assert params.turn_deg.min() >= 5 and params.turn_deg.max() <= 28


def test_turn_goes_from_down_to_back():
    down = torch.tensor([[1.0, 0.0]])
    assert torch.allclose(turn(down, torch.tensor([math.pi / 2])), torch.tensor([[0.0, 1.0]]), atol=1e-6)
