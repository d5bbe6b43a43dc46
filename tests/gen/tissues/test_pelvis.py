"""Sacrum and floor."""

import math

import pytest
import torch

from synthspine.gen.core.anatomy import BACKGROUND, CANAL, disc_code, vertebra_code
from synthspine.gen.core.counter_rng import SampleRandom, sample_keys
from synthspine.gen.geometry.spine_frame import BEFORE_CANAL_MM, NEVER_MM, find_spine
from synthspine.gen.tissues.palette import AIR, EPIDURAL_FAT, FAT, FIRST_COARSE, SACRAL_DISC, SACRUM
from synthspine.gen.tissues.pelvis import (
    DISC_HALF,
    END_PLATE,
    SEGMENTS,
    FloorConfig,
    SacrumConfig,
    SacrumParams,
    paint_floor,
    paint_sacrum,
    turn,
)

SPACING = (1.0, 1.0)


def _draw(count, **changes):
    return SacrumConfig(**changes).draw(SampleRandom(sample_keys(1, torch.arange(count))))


def _fixed(angle, scale, *, taper=1.0, disc=1.0, width=0.6, place=0.0, canal=0):
    turns, scales = torch.zeros(1, SEGMENTS), torch.zeros(1, SEGMENTS)
    turns[0, : len(angle)], scales[0, : len(scale)] = torch.tensor(angle), torch.tensor(scale)
    each = torch.ones(1, SEGMENTS)
    return SacrumParams(
        turn_deg=turns,
        scale=scales,
        taper=each * taper,
        disc_thickness=each * disc,
        disc_width=each * width,
        disc_place=each * place,
        canal=torch.tensor([float(canal)]),
    )


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


def test_a_segment_is_the_lowest_vertebra_turned_scaled_stretched_and_tapered(wide):
    """Every pixel against its source, one by one."""
    angle, scale, taper, disc, width, place = 20.0, 0.8, 0.7, 0.9, 0.5, 0.4
    params = _fixed([angle], [scale], taper=taper, disc=disc, width=width, place=place, canal=1)
    painted = _paint(wide, params)[0]
    frame = find_spine(wide, SPACING)
    body, step = frame.body_mm[0].tolist(), frame.step_mm[0].tolist()
    long = math.hypot(*step)
    down, back = (step[0] / long, step[1] / long), (-step[1] / long, step[0] / long)
    cosine, sine = math.cos(math.radians(angle)), math.sin(math.radians(angle))
    way = (scale * (step[0] * cosine - step[1] * sine), scale * (step[0] * sine + step[1] * cosine))
    middle = (body[0] + step[0] + way[0], body[1] + step[1] + way[1])
    expected = torch.full((192, 160), FIRST_COARSE, dtype=torch.uint8)
    tissue = {vertebra_code(1): SACRUM, CANAL: EPIDURAL_FAT}
    for row in range(192):
        for column in range(160):
            y, x = (row - 95.5 - middle[0]) / scale, (column - 79.5 - middle[1]) / scale
            y, x = y * cosine + x * sine, -y * sine + x * cosine
            along = (y * down[0] + x * down[1]) / long
            across = (y * back[0] + x * back[1]) * scale / long
            if abs(along) > 1:
                continue
            there = long * END_PLATE * along, long * across * (1 + (1 / taper - 1) * (along + 1) / 2)
            at_row = round(body[0] + there[0] * down[0] + there[1] * back[0] + 95.5)
            at_column = round(body[1] + there[0] * down[1] + there[1] * back[1] + 79.5)
            if 0 <= at_row < 192 and 0 <= at_column < 160:
                code = tissue.get(int(wide[0, at_row, at_column]), FIRST_COARSE)
                if code == SACRUM and frame.behind_mm[0, at_row, at_column] >= -BEFORE_CANAL_MM:
                    code = FIRST_COARSE
                from_middle = across - place * (taper - width * taper)
                lens = ((along - 1) / (disc * DISC_HALF)) ** 2 + (from_middle / (width * taper)) ** 2 < 1
                expected[row, column] = SACRAL_DISC if lens and code == SACRUM else code
    for code in (SACRUM, SACRAL_DISC, EPIDURAL_FAT):
        assert (expected == code).sum() > 10
    # Rounding at the middle between two pixels may fall either way.
    assert (painted != expected).sum() <= 8


def test_segments_are_fused_bones_that_follow_each_other_downwards(wide):
    painted = _paint(wide, _fixed([0.0, 0.0, 0.0], [0.9, 0.8, 0.7], disc=0.3))[0]
    body = (painted[:, 58:84] == SACRUM).any(1) | (painted[:, 58:84] == SACRAL_DISC).any(1)
    rows = torch.nonzero(body)[:, 0]
    # Body and disc lie 11.5 mm apart in the map, so a segment is twice that long.
    lowest_disc = 10 + 80 - 2.5
    assert rows[0] == pytest.approx(lowest_disc, abs=1.0)
    assert rows[-1] == pytest.approx(lowest_disc + 23 * (0.9 + 0.8 + 0.7), abs=1.5)
    assert len(rows) == rows[-1] - rows[0] + 1
    lines = torch.nonzero((painted == SACRAL_DISC).any(1))[:, 0].tolist()
    ends = [lowest_disc + 23 * length for length in (0.9, 1.7, 2.4)]
    nearest = [min((abs(line - end), end) for end in ends) for line in lines]
    assert {end for _, end in nearest} == set(ends) and max(nearest)[0] <= 2


def test_segments_taper_downwards_each_from_where_the_last_one_ended(wide):
    painted = _paint(wide, _fixed([0.0, 0.0], [1.0, 0.8], taper=0.7))[0]
    bone = (painted[:, 40:84] == SACRUM) | (painted[:, 40:84] == SACRAL_DISC)
    first, second = 10 + 80 - 2.5, 10 + 80 - 2.5 + 23
    for row, end, length, width in ((90, first, 23, 1.0), (108, first, 23, 1.0), (126, second, 18.4, 0.7)):
        share = (row + 0.5 - end) / length
        assert int(bone[row].sum()) == pytest.approx(22 * width / (1 + (1 / 0.7 - 1) * share), abs=1.5)


def test_the_rest_of_a_disc_has_its_size_and_place(wide):
    def lens(**changes):
        return _paint(wide, _fixed([0.0], [1.0], **changes))[0] == SACRAL_DISC

    middle = lens()
    assert lens(disc=0.5).sum() / middle.sum() == pytest.approx(0.5, abs=0.15)
    assert lens(width=0.3).any(0).sum() / middle.any(0).sum() == pytest.approx(0.5, abs=0.1)
    columns = torch.arange(160.0)

    def column(found):
        return float((found.sum(0) * columns).sum() / found.sum())

    assert column(lens(width=0.3, place=-1.0)) < column(middle) - 4 < column(lens(width=0.3, place=1.0)) - 8


def test_the_sacral_canal_lies_behind_the_bone_and_is_there_if_drawn(wide):
    with_canal, without = (_paint(wide, _fixed([10.0], [0.9], canal=on))[0] for on in (1, 0))
    assert not (without == EPIDURAL_FAT).any()
    columns = torch.arange(160.0).expand(192, -1)
    fat = columns[with_canal == EPIDURAL_FAT]
    assert len(fat) > 50 and fat.mean() > columns[with_canal == SACRUM].median()
    assert 0.65 < _draw(2000).canal.float().mean() < 0.75


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
    params = _fixed([25.0, 20.0], [0.9, 0.8], taper=0.8, disc=0.75, canal=1)
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
    assert torch.allclose(shares, torch.tensor(1 / SEGMENTS), atol=0.04)
    ratio = params.scale[count == SEGMENTS]
    ratio = ratio / torch.cat((torch.ones(len(ratio), 1), ratio[:, :-1]), dim=1)
    assert ratio.min() >= 0.7 - 1e-6 and ratio.max() <= 0.95 + 1e-6
    assert params.turn_deg.min() >= 5 and params.turn_deg.max() <= 28


def test_turn_goes_from_down_to_back():
    down = torch.tensor([[1.0, 0.0]])
    assert torch.allclose(turn(down, torch.tensor([90.0])), torch.tensor([[0.0, 1.0]]), atol=1e-6)


def _draw_floor(count, **changes):
    return FloorConfig(**changes).draw(SampleRandom(sample_keys(1, torch.arange(count))))


def test_the_floor_is_a_tilted_line_below_the_lowest_label(bank):
    params = _draw_floor(3, probability=1.0, below_mm=(2.0, 9.0))
    frame = find_spine(bank, (1.0, 1.5))
    painted = paint_floor(torch.full_like(bank, FIRST_COARSE), params, frame, (1.0, 1.5))
    for sample in range(3):
        row = torch.arange(96.0).unsqueeze(1) - 47.5
        column = (torch.arange(80.0) - 39.5) * 1.5
        foot = torch.nonzero((bank[sample] > 0) & (bank[sample] < 60))[:, 0].max() - 47.5
        below = row > foot + params.below_mm[sample] + params.slope[sample] * column
        tissue = FAT if params.fat[sample] else AIR
        assert below.any() and torch.equal(painted[sample], torch.where(below, tissue, FIRST_COARSE).byte())


def test_air_and_fat_and_none_come_in_their_shares():
    params = _draw_floor(1000, probability=0.4, fat_probability=0.25)
    on = params.below_mm < NEVER_MM
    assert 0.35 < on.float().mean() < 0.45
    assert 0.2 < params.fat.mean() < 0.3
    assert params.below_mm[on].min() >= 10 and params.below_mm[on].max() <= 70
    assert params.slope.abs().max() <= 0.2126
