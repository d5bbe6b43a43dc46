"""Fat pads behind the canal and below its end."""

import json
from dataclasses import replace

import pytest
import torch

from synthspine.gen.core.anatomy import CANAL, IGNORE, disc_code, vertebra_code
from synthspine.gen.core.counter_rng import SampleRandom, sample_keys
from synthspine.gen.geometry.spine_frame import find_spine
from synthspine.gen.intensity.cortex import depths
from synthspine.gen.intensity.hidden_labels import HiddenParams, unless_hidden
from synthspine.gen.tissues.fat import FatPadsConfig, FatPadsParams, paint_fat_pads
from synthspine.gen.tissues.palette import EPIDURAL_FAT, FAT, FIRST_COARSE, OUTSIDE, SACRUM

COUNT = 3000
SPACING = (1.0, 1.0)
ALWAYS = FatPadsConfig(probability=1.0, regular_probability=0.0, front_probability=0.0)
SHAPED = FatPadsConfig(probability=1.0, regular_probability=1.0, front_probability=1.0)
FIRST, END = 20, 180
"""First row of the canal of :func:`_tall`, and the first one below it."""


def _draw(count=3, config=ALWAYS, **params):
    drawn = config.draw(SampleRandom(sample_keys(5, torch.arange(count))))
    return replace(drawn, **{name: torch.full((count,), value) for name, value in params.items()})


def _tall(count):
    """A straight canal of 14 columns that begins and ends inside of the picture."""
    codes = torch.zeros(count, 256, 96, dtype=torch.uint8)
    codes[:, FIRST:END, 40:54] = CANAL
    return codes


def _pads(codes, params, painted=None, spacing=SPACING):
    painted = torch.full_like(codes, FIRST_COARSE) if painted is None else painted
    frame, depth = find_spine(codes, spacing), depths(codes, painted, spacing)
    return paint_fat_pads(painted, codes, depth, frame, params, spacing) == EPIDURAL_FAT


def test_pads_begin_at_the_last_pixel_of_the_canal_and_are_as_thick_as_drawn_at_most():
    codes = _tall(20)
    codes[:, 60:100] = codes[:, 60:100].roll(3, -1)
    codes[:, :, 70:73] = vertebra_code(1)
    pads = _pads(codes, _draw(20, thickness_mm=6.0))[:, :END]
    assert not pads[:, :FIRST].any()
    for rows, border in ((slice(FIRST, 60), 54), (slice(60, 100), 57), (slice(100, END), 54)):
        assert not pads[:, rows, :border].any() and not pads[:, rows, border + 6 :].any()
        width = pads[:, rows].sum(-1)
        assert width.max() == 6
        # No gap between the canal and its pad.
        columns = torch.arange(96) - border
        assert torch.equal(pads[:, rows], (columns >= 0) & (columns < width.unsqueeze(-1)))


def test_pads_lie_behind_their_share_of_the_rows():
    count = 60
    share = torch.linspace(0, 1, count)
    params = replace(_draw(count, thickness_mm=30.0, length_mm=5.0), share=share)
    filled = _pads(_tall(count), params)[:, FIRST:END].any(-1).float().mean(1)
    assert filled[0] < 0.02 and filled[-1] > 0.98
    # A pad thinner than half a pixel is not seen.
    assert -0.06 < float((filled - share).mean()) < 0.02 and (filled - share).abs().mean() < 0.12


def test_regular_pads_fill_the_gaps_between_arches_and_narrow_towards_them():
    codes = _tall(10)
    for row in (60, 90, 120):
        codes[:, row : row + 14, 56:80] = vertebra_code(1)
    shaped = _draw(10, replace(SHAPED, front_probability=0.0), thickness_mm=9.0)
    width = _pads(codes, shaped)[:, 74:90].sum(-1)
    assert (width[:, 7:9] >= 5).all() and (width <= 9).all()
    assert (width[:, [0, 15]] <= 2).all()
    assert (width[:, :8].diff(dim=1) >= -1).all() and (width[:, 8:].diff(dim=1) <= 1).all()


def test_fat_lies_in_front_of_the_canal_below_the_lowest_body():
    codes = _tall(2)
    codes[:, 100:120, 10:32] = vertebra_code(1)
    codes[:, 122:130, 10:32] = disc_code(1)
    front = _pads(codes, _draw(2, SHAPED, front_mm=6.0, thickness_mm=0.0))
    assert not front[:, :109].any() and (front[:, 152:END].sum(-1) == 6).all()
    assert front[:, 152:END, 34:40].all() and abs(int(front[0, 130].sum()) - 3) <= 1
    codes[:, 122:130] = torch.where(codes[:, 122:130] == CANAL, CANAL, 0)
    assert not _pads(codes, _draw(2, SHAPED, front_mm=6.0, thickness_mm=0.0)).any()


def test_a_pad_gets_thicker_and_thinner_over_a_length_as_drawn():
    short, long = (
        _pads(_tall(40), _draw(40, share=0.5, thickness_mm=9.0, length_mm=length))[:, FIRST:END].sum(-1)
        for length in (5.0, 20.0)
    )
    short_steps, long_steps = (width.diff(dim=1).abs().float().mean() for width in (short, long))
    assert short.max() == long.max() == 9 and short_steps > 2 * long_steps > 0


def test_below_the_end_of_the_canal_pads_lie_around_its_course():
    codes = _tall(20)
    pads = _pads(codes, _draw(20, thickness_mm=6.0, share=0.9))[:, END:]
    middle = find_spine(codes, SPACING).behind_mm[:, END:].abs().argmin(-1, keepdim=True)
    distance = (torch.arange(96) - middle).abs()
    assert pads.any((1, 2)).all() and (distance[pads] <= 6).all()
    assert distance[pads].min() == 0 and distance[pads].max() >= 5


def test_a_slice_without_canal_has_no_pads_and_its_neighbours_in_a_volume_do():
    flat = _tall(4)
    beside = torch.zeros_like(flat)
    beside[:, 40:80, 10:30] = vertebra_code(1)
    assert not _pads(beside, _draw(4)).any()
    params, spacing = _draw(4, share=0.8), (4.0, 1.0, 1.0)
    pads = _pads(torch.stack((beside, flat, flat), dim=1), params, spacing=spacing)
    assert not pads[:, 0].any() and pads[:, 1:].any((1, 2, 3)).all()
    # Their thickness changes from slice to slice as it does along the canal.
    assert not torch.equal(pads[:, 1], pads[:, 2])
    assert (pads[:, 1] == pads[:, 2]).float().mean() > 0.9


def test_pads_cover_what_is_painted_but_no_structure_and_nothing_outside(bank):
    codes = bank.clone()
    codes[:, 40:, :] = torch.where(codes[:, 40:, :] == CANAL, CANAL, IGNORE)
    painted = (
        torch.where(torch.arange(96).unsqueeze(1) % 2 == 0, SACRUM, FAT).byte().expand(3, -1, 80).clone()
    )
    painted[:, 60:] = OUTSIDE
    pads = _pads(codes, _draw(share=1.0, thickness_mm=20.0), painted)
    assert (codes[pads] % IGNORE == 0).all() and (codes[pads] == IGNORE).any()
    assert set(painted[pads].unique().tolist()) == {SACRUM, FAT}


def test_a_hidden_canal_has_no_pads():
    params = _draw(3)
    hidden = HiddenParams(hidden=torch.tensor([[0.0, 0, 1], [1, 1, 0], [0, 0, 0]]))
    shown = unless_hidden(params, hidden, "canal", "thickness_mm")
    assert torch.equal(shown.thickness_mm, params.thickness_mm * torch.tensor([0.0, 1, 1]))
    assert not _pads(_tall(3), shown)[0].any()


def test_samples_without_pads_stay_as_they_are(bank):
    assert (
        paint_fat_pads(bank, bank, depths(bank, bank, SPACING), find_spine(bank, SPACING), None, SPACING)
        is bank
    )
    assert FatPadsConfig(probability=0).draw(SampleRandom(sample_keys(1, torch.arange(2)))) is None
    assert FatPadsConfig(thickness_mm=(0.0, 0.0)).draw(SampleRandom(sample_keys(1, torch.arange(2)))) is None
    params = _draw(40, FatPadsConfig(probability=0.5))
    none = params.thickness_mm == 0
    pads = _pads(_tall(40), params)
    assert 0 < none.sum() < 40 and not pads[none].any() and pads[~none].any((1, 2)).all()


def test_draws_keep_to_their_ranges_and_probability():
    config = FatPadsConfig(probability=0.6)
    params = _draw(COUNT, config)
    for values, (low, high), probability in (
        (params.thickness_mm, config.thickness_mm, 0.6),
        (params.share, config.share, 1.0),
        (params.length_mm, config.length_mm, 1.0),
    ):
        on = values != 0
        assert abs(float(on.float().mean()) - probability) < 0.03
        margin = 0.02 * (high - low)
        assert low <= values[on].min() < low + margin and high - margin < values[on].max() <= high


def test_draws_survive_json():
    params = _draw(4)
    again = FatPadsParams.from_records(json.loads(json.dumps(params.to_records())))
    assert again.key.dtype == torch.int32 and again.to_records() == params.to_records()
    assert torch.equal(_pads(_tall(4), again), _pads(_tall(4), params))


@pytest.mark.parametrize("dims", [2, 3])
def test_a_sample_alone_is_the_same_as_in_a_batch(bank, dims):
    codes = bank if dims == 2 else bank.unsqueeze(1).expand(-1, 3, -1, -1).contiguous()
    spacing = (4.0, *SPACING)[-dims:]
    params = _draw(share=0.9)
    whole = _pads(codes, params, spacing=spacing)
    assert whole.any()
    for i in range(3):
        assert torch.equal(_pads(codes[i : i + 1], params[i : i + 1], spacing=spacing), whole[i : i + 1])


@pytest.mark.parametrize("grid", [(1, 2), (7, 1), (3, 5, 9), (1, 33, 31)])
def test_any_grid_will_do_and_nothing_waits_for_the_device(grid):
    spacing = (4.0, 1.0, 0.7)[-len(grid) :]
    for device in ("cpu", "meta"):
        codes = torch.full((2, *grid), CANAL, dtype=torch.uint8, device=device)
        frame, depth, params = find_spine(codes, spacing), depths(codes, codes, spacing), _draw(2, SHAPED)
        painted = paint_fat_pads(codes, codes, depth, frame, params.to(device), spacing)
        assert painted.shape == codes.shape and painted.dtype == torch.uint8
        assert device == "meta" or torch.equal(painted, codes)


@pytest.mark.parametrize(
    "wrong",
    [
        {"probability": 1.2},
        {"share": (-0.1, 0.5)},
        {"share": (0.5, 1.5)},
        {"thickness_mm": (2.0, 40.0)},
        {"length_mm": (2.0, 8.0)},
        {"length_mm": (5.0, 50.0)},
        {"length_mm": (9.0, 6.0)},
    ],
)
def test_what_cannot_be_painted_is_refused_by_name(wrong):
    with pytest.raises(ValueError, match=f"FatPadsConfig.{next(iter(wrong))}"):
        FatPadsConfig(**wrong)
