"""The end of the picture below the spine."""

import torch

from synthspine.gen.core.counter_rng import SampleRandom, sample_keys
from synthspine.gen.geometry.spine_frame import find_spine
from synthspine.gen.tissues.floor import NEVER_MM, FloorConfig, draw_floor, paint_floor
from synthspine.gen.tissues.palette import AIR, FAT, FIRST_COARSE


def _draw(count, **changes):
    return draw_floor(FloorConfig(**changes), SampleRandom(sample_keys(1, torch.arange(count))))


def test_the_floor_is_a_tilted_line_below_the_lowest_label(bank):
    params = _draw(3, probability=1.0, below_mm=(2.0, 9.0))
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
    params = _draw(1000, probability=0.4, fat_probability=0.25)
    on = params.below_mm < NEVER_MM
    assert 0.35 < on.float().mean() < 0.45
    assert 0.2 < params.fat.mean() < 0.3
    assert params.below_mm[on].min() >= 10 and params.below_mm[on].max() <= 70
    assert params.slope.abs().max() <= 0.2126
