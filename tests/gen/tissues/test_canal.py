"""Cord, nerve roots and the fat around the canal."""

from dataclasses import replace

import pytest
import torch

from synthspine.gen.core.anatomy import BACKGROUND, CANAL, IGNORE, disc_code, vertebra_code
from synthspine.gen.core.counter_rng import SampleRandom, sample_keys
from synthspine.gen.geometry.spine_frame import find_spine
from synthspine.gen.intensity.cortex import depths
from synthspine.gen.tissues.canal import CanalConfig, CanalParams, mingle, paint_canal
from synthspine.gen.tissues.fat import EpiduralFatConfig, EpiduralFatParams, paint_epidural_fat
from synthspine.gen.tissues.palette import (
    CORD,
    EPIDURAL_FAT,
    FAT,
    FIRST_COARSE,
    OUTSIDE,
    PAINT_CODES,
    ROOTS,
    SACRUM,
)

COUNT = 3000
SPACING = (1.0, 1.0)
ALWAYS = CanalConfig(cord_probability=1.0, roots_probability=1.0, sink_mm=(0.0, 0.0), crowded_probability=0.0)
FAT_ALWAYS = EpiduralFatConfig(probability=1.0)


def _random(count=COUNT, seed=5):
    return SampleRandom(sample_keys(seed, torch.arange(count)))


def _tall(count):
    """A straight canal of 24 columns, a lowest vertebra low in front of it; row 219.5 is its middle."""
    codes = torch.zeros(count, 256, 96, dtype=torch.uint8)
    codes[:, :, 48:72] = CANAL
    codes[:, 210:230, 16:40] = vertebra_code(1)
    return codes


def _paint(codes, params, spacing=SPACING):
    depth = depths(codes, codes, spacing)
    return paint_canal(codes, codes, depth, find_spine(codes, spacing), params, spacing)


def _filled(values, count):
    return torch.full((count,), values)


def test_the_cord_ends_at_the_conus_and_narrows_towards_it():
    params = replace(
        replace(ALWAYS, roots_probability=0).draw(_random(2)),
        cord_mm=_filled(4.0, 2),
        cord_offset_mm=torch.tensor([0.0, 2.0]),
        conus_mm=torch.tensor([70.0, 120.0]),
    )
    cord = _paint(_tall(2), params) == CORD
    for sample, conus, offset in ((cord[0], 219.5 - 70, 0), (cord[1], 219.5 - 120, 2)):
        width = sample.sum(1)
        assert not width[int(conus) :].any() and width[int(conus) - 8] > 0
        # Eight wide above the cone, half of it in the middle of the cone.
        assert (width[: int(conus) - 30] == 8).all()
        assert abs(int(width[int(conus) - 15]) - 4) <= 1
        middle = (sample[5] * torch.arange(96)).sum() / width[5]
        assert abs(float(middle) - (59.5 + offset)) <= 0.5


def test_roots_fill_their_share_of_the_back_of_the_canal_below_the_conus():
    count = 40
    share = torch.linspace(0, 1, count)
    params = replace(ALWAYS, cord_probability=0).draw(_random(count))
    params = replace(params, conus_mm=_filled(150.0, count), roots=replace(params.roots, share=share))
    roots = _paint(_tall(count), params) == ROOTS
    first = 219 - 150 - 10
    assert not roots[:, : first - 1].any()
    assert not roots[..., :56].any()
    filled = roots[:, first + 2 :, 57:72].float().mean((1, 2))
    assert filled[0] == 0 and filled[-1] == 1
    assert (filled - share).abs().mean() < 0.06
    assert abs(float((filled - share).mean())) < 0.03


def test_roots_are_long_and_thin_and_follow_the_canal():
    codes = _tall(30)
    slanted = torch.stack([torch.roll(row, i // 10, -1) for i, row in enumerate(codes.unbind(1))], dim=1)
    params = replace(ALWAYS, cord_probability=0).draw(_random(30))
    params = replace(params, conus_mm=_filled(300.0, 30), roots=replace(params.roots, share=_filled(0.5, 30)))
    straight = (_paint(codes, params) == ROOTS)[:, :, 58:72]
    along, across = ((straight.narrow(a, 0, n - 3) == straight.narrow(a, 3, n - 3)).float().mean()
                     for a, n in ((1, 256), (2, 14)))  # fmt: skip
    # Correlation exp(-d^2 / (4 s^2)) at 3 mm: .99 along, .21 across; agreement 1 - acos(r) / pi.
    assert abs(float(along) - 0.95) < 0.03 and abs(float(across) - 0.57) < 0.06
    slant = _paint(slanted, params) == ROOTS
    followed = torch.stack([torch.roll(row, -(i // 10), -1) for i, row in enumerate(slant.unbind(1))], dim=1)
    # Away from the ends, where the course is smoothed over what is not seen.
    agree = (followed[:, 40:200, 60:70] == straight[:, 40:200, 2:12]).float().mean()
    assert agree > 0.85


def test_roots_sink_towards_the_lower_end():
    params = replace(ALWAYS, cord_probability=0, roots_share=(0.9999, 1.0)).draw(_random(1))
    roots = replace(params.roots, sink_mm=_filled(6.0, 1), share=_filled(1.0, 1))
    painted = _paint(_tall(1), replace(params, conus_mm=_filled(120.0, 1), roots=roots))
    width = (painted == ROOTS).sum(-1)[0]
    # The end of the cord is at row 99; 14.5 columns of the canal lie behind the roots' front.
    assert abs(int(width[99]) - 15) <= 1 and abs(int(width[149]) - 12) <= 1
    assert (width[200:] == width[200]).all() and abs(int(width[200]) - 9) <= 1


def test_roots_fill_the_whole_canal_where_a_disc_narrows_it():
    codes = _tall(40)
    codes[:, 170:182, 20:47] = disc_code(2)
    codes[:, 120:132, 20:47] = disc_code(3)
    params = replace(ALWAYS, cord_probability=0).draw(_random(40))
    crowded = torch.linspace(0, 1, 40)
    params = replace(
        params,
        conus_mm=_filled(140.0, 40),
        roots=replace(params.roots, share=_filled(0.0, 40), crowded=crowded),
    )
    roots = (_paint(codes, params) == ROOTS)[..., 48:72]
    assert not roots[0].any() and roots[-1, [122, 130, 172, 180]].all()
    assert not roots[:, :116].any() and not roots[:, 137:165].any() and not roots[:, 187:].any()
    assert abs(float(roots[:, 176].all(-1).float().mean()) - 0.5) < 0.2


def test_cord_roots_and_fluid_meet_in_the_middle_of_their_means():
    mean = torch.rand(3, PAINT_CODES, generator=torch.Generator().manual_seed(1))
    mingled = mingle(mean, replace(ALWAYS.draw(_random(3)), alike=torch.tensor([0.0, 0.5, 1.0])))
    tissue = (mean[:, CORD] + mean[:, ROOTS]) / 2
    middle = (mean[:, CANAL] + tissue) / 2
    for code in (CANAL, CORD, ROOTS):
        assert torch.equal(mingled[0, code], mean[0, code])
        torch.testing.assert_close(mingled[1, code], (mean[1, code] + middle[1]) / 2)
        torch.testing.assert_close(mingled[2, code], middle[2])
    others = [code for code in range(PAINT_CODES) if code not in (CANAL, CORD, ROOTS)]
    assert torch.equal(mingled[:, others], mean[:, others])


def test_only_the_canal_is_filled(bank):
    codes = bank.clone()
    codes[:, :, 70:] = IGNORE
    params = replace(ALWAYS.draw(_random(3)), conus_mm=_filled(10.0, 3))
    painted = _paint(codes, params)
    assert torch.equal(painted[codes != CANAL], codes[codes != CANAL])
    assert set(painted[codes == CANAL].unique().tolist()) == {CANAL, CORD, ROOTS}


def _fat(codes, params, painted=None, spacing=SPACING):
    painted = torch.where(codes == BACKGROUND, FIRST_COARSE, codes) if painted is None else painted
    depth = depths(codes, painted, spacing)
    return paint_epidural_fat(painted, codes, depth, find_spine(codes, spacing), params, spacing)


def test_epidural_fat_fills_its_share_close_outside_the_canal():
    count = 40
    codes = _tall(count)
    share = torch.linspace(0, 1, count)
    params = replace(FAT_ALWAYS.draw(_random(count)), share=share, thickness_mm=_filled(2.0, count))
    fat = _fat(codes, params) == EPIDURAL_FAT
    # Within 2 mm lie the centres of two columns on either side.
    ring = fat[:, :, [46, 47, 72, 73]]
    assert int(ring.sum()) == int(fat.sum())
    filled = ring.float().mean((1, 2))
    assert filled[0] == 0 and filled[-1] == 1
    assert (filled - share).abs().mean() < 0.08 and abs(float((filled - share).mean())) < 0.04


def test_no_epidural_fat_lies_beside_a_disc():
    codes = _tall(4)
    codes[:, 100:112, 20:46] = disc_code(3)
    params = replace(FAT_ALWAYS.draw(_random(4)), share=_filled(1.0, 4), thickness_mm=_filled(2.0, 4))
    fat = (_fat(codes, params) == EPIDURAL_FAT)[:, :, 46:48].all(-1)
    assert not fat[:, 98:114].any() and fat[:, :96].all() and fat[:, 116:].all()


def test_epidural_fat_covers_what_is_painted_but_no_structure_and_nothing_outside(bank):
    codes = bank.clone()
    codes[:, 60:, :] = torch.where(codes[:, 60:, :] == CANAL, CANAL, IGNORE)
    painted = torch.where(codes == BACKGROUND, SACRUM, codes)
    painted[:, 60:, :48] = torch.where(codes[:, 60:, :48] == IGNORE, OUTSIDE, painted[:, 60:, :48])
    painted[:, 60:, 48:] = torch.where(codes[:, 60:, 48:] == IGNORE, FAT, painted[:, 60:, 48:])
    params = replace(FAT_ALWAYS.draw(_random(3)), share=_filled(1.0, 3))
    fat = _fat(codes, params, painted) == EPIDURAL_FAT
    assert (codes[fat] % IGNORE == 0).all() and (painted[fat] != OUTSIDE).all()
    assert {SACRUM, FAT} == set(painted[fat].unique().tolist())


def test_samples_without_a_tissue_stay_as_they_are(bank):
    frame, depth = find_spine(bank, SPACING), depths(bank, bank, SPACING)
    assert paint_canal(bank, bank, depth, frame, None, SPACING) is bank
    assert paint_epidural_fat(bank, bank, depth, frame, None, SPACING) is bank
    never = CanalConfig(cord_probability=1e-9, roots_probability=1e-9, crowded_probability=0.0)
    assert torch.equal(_paint(bank, never.draw(_random(3))), bank)
    assert torch.equal(_fat(bank, EpiduralFatConfig(probability=1e-9).draw(_random(3)), bank), bank)


def test_configurations_without_a_tissue_draw_nothing():
    assert CanalConfig(cord_probability=0, roots_probability=0).draw(_random()) is None
    assert CanalConfig(roots_probability=0).draw(_random()).roots is None
    assert EpiduralFatConfig(probability=0).draw(_random()) is None


def test_draws_keep_to_their_ranges_and_probabilities():
    config, fat_config = CanalConfig(), EpiduralFatConfig()
    canal, fat = config.draw(_random()), fat_config.draw(_random())
    for values, (low, high), probability in (
        (canal.cord_mm, config.cord_mm, 0.7),
        (canal.cord_offset_mm, config.cord_offset_mm, 1.0),
        (canal.conus_mm, config.conus_mm, 1.0),
        (canal.roots.share, config.roots_share, 0.7),
        (canal.roots.sink_mm, config.sink_mm, 1.0),
        (canal.roots.crowded, config.crowded, 0.3),
        (canal.alike, config.alike, 0.7),
        (fat.share, fat_config.share, 0.6),
        (fat.thickness_mm, fat_config.thickness_mm, 1.0),
        (fat.patch_mm, fat_config.patch_mm, 1.0),
    ):
        on = values != 0
        assert abs(float(on.float().mean()) - probability) < 0.03
        margin = 0.02 * (high - low)
        assert low <= values[on].min() < low + margin and high - margin < values[on].max() <= high
    assert (canal.roots.length_mm == 14).all()


def test_draws_survive_json():
    canal, fat = ALWAYS.draw(_random(4)), FAT_ALWAYS.draw(_random(4))
    assert CanalParams.from_records(canal.to_records()).to_records() == canal.to_records()
    again = EpiduralFatParams.from_records(fat.to_records())
    assert again.key.dtype == torch.int32 and torch.equal(again.patch_mm, fat.patch_mm)
    without = CanalConfig(roots_probability=0).draw(_random(4))
    assert CanalParams.from_records(without.to_records()).roots is None


def test_a_sample_alone_is_the_same_as_in_a_batch(bank):
    canal = replace(ALWAYS.draw(_random(3)), conus_mm=_filled(10.0, 3))
    fat = FAT_ALWAYS.draw(_random(3))
    for paint, params in ((_paint, canal), (_fat, fat)):
        whole = paint(bank, params)
        for i in range(3):
            assert torch.equal(paint(bank[i : i + 1], params[i : i + 1]), whole[i : i + 1])


def test_slices_of_a_volume_are_filled_alike():
    codes = _tall(2).unsqueeze(1).expand(-1, 4, -1, -1).contiguous()
    spacing = (4.0, 1.0, 1.0)
    painted = _paint(codes, replace(ALWAYS.draw(_random(2)), conus_mm=_filled(100.0, 2)), spacing)
    cord = painted == CORD
    assert cord.any() and torch.equal(cord[:, 0], cord[:, 3])
    flat = _paint(codes[:, 0], replace(ALWAYS.draw(_random(2)), conus_mm=_filled(100.0, 2)))
    assert torch.equal(flat == CORD, cord[:, 1])
    fat = _fat(codes, FAT_ALWAYS.draw(_random(2)), spacing=spacing)
    assert (fat == EPIDURAL_FAT).any()


@pytest.mark.parametrize("grid", [(1, 2), (7, 1), (3, 5, 9), (1, 33, 31)])
def test_any_grid_will_do_and_nothing_waits_for_the_device(grid):
    spacing = (4.0, 1.0, 0.7)[-len(grid) :]
    canal, fat = ALWAYS.draw(_random(2)), FAT_ALWAYS.draw(_random(2))
    for device in ("cpu", "meta"):
        codes = torch.full((2, *grid), CANAL, dtype=torch.uint8, device=device)
        frame = find_spine(codes, spacing)
        depth = depths(codes, codes, spacing)
        painted = paint_canal(codes, codes, depth, frame, canal.to(device), spacing)
        painted = paint_epidural_fat(painted, codes, depth, frame, fat.to(device), spacing)
        assert painted.shape == codes.shape and painted.dtype == torch.uint8


@pytest.mark.parametrize(
    ("config", "wrong"),
    [
        (CanalConfig, {"root_length_mm": (3.0, 14.0)}),
        (CanalConfig, {"root_width_mm": (0.2, 1.2)}),
        (CanalConfig, {"roots_share": (0.0, 1.2)}),
        (CanalConfig, {"cord_mm": (-1.0, 2.0)}),
        (CanalConfig, {"conus_mm": (170.0, 70.0)}),
        (EpiduralFatConfig, {"thickness_mm": (2.0, 8.0)}),
        (EpiduralFatConfig, {"patch_mm": (1.0, 8.0)}),
        (EpiduralFatConfig, {"probability": -0.1}),
    ],
)
def test_what_cannot_be_painted_is_refused_by_name(config, wrong):
    with pytest.raises(ValueError, match=next(iter(wrong))):
        config(**wrong)
