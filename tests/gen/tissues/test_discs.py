"""Nucleus, cleft and degeneration of discs."""

from dataclasses import replace

import pytest
import torch
from scipy import stats

from synthspine.gen.core.anatomy import CANAL, CODES, IGNORE, MAX_RANK, disc_code, vertebra_code
from synthspine.gen.core.counter_rng import sample_keys
from synthspine.gen.core.drawing import Drawing
from synthspine.gen.intensity.contrast import ContrastConfig
from synthspine.gen.intensity.cortex import depths
from synthspine.gen.tissues.discs import (
    DiscConfig,
    DiscParams,
    add_nucleus,
    darken_discs,
    thin_discs,
)
from synthspine.gen.tissues.palette import DISCS, FIRST_COARSE, PAINT_CODES, SACRAL_DISC

SPACING = (1.0, 1.0)
ALL = DiscConfig(cleft_probability=1.0, degenerated_probability=0.5)


def _draw(count, config=ALL, alpha=1.0, fully_random=False, seed=1):
    contrast = ContrastConfig(random_weight=float(fully_random), measured_weight=0.0 if fully_random else 1.0,
                              physical_weight=0.0, alpha=(alpha, alpha))  # fmt: skip
    return config.draw(Drawing(sample_keys(seed, torch.arange(count)), features={"contrast": contrast}))


def _discs(count=1, core=0.0, cleft=0.0, top=0.0, bottom=0.0):
    lost = torch.tensor([top, bottom]).view(1, 2, 1).expand(count, 2, MAX_RANK)
    return DiscParams(
        core=torch.full((count, MAX_RANK), core),
        cleft=torch.full((count,), cleft),
        lost_mm=lost,
        brightness=torch.ones(count, MAX_RANK),
    )


def _column(*runs):
    return torch.tensor([code for code, count in runs for _ in range(count)], dtype=torch.uint8).view(
        1, -1, 1
    )


def _scene(codes):
    painted = torch.where(codes == 0, FIRST_COARSE, codes).to(torch.uint8)
    return painted, depths(codes, painted, SPACING)


def test_the_nucleus_has_the_brightness_of_its_weighting_times_both_healths():
    config = DiscConfig(degenerated_probability=0.0)
    reference = torch.Generator().manual_seed(1)
    health, own = torch.rand(2, 4000, generator=reference)
    for alpha, most in ((0.0, 0.04), (0.5, 0.29), (1.0, 0.54)):
        drawn = _draw(4000, config, alpha).core[:, 3]
        assert stats.ks_2samp(drawn.numpy(), (most * health * own**2).numpy()).pvalue > 1e-3


def test_a_fully_random_nucleus_is_bright_or_dark():
    core = _draw(200, fully_random=True).core
    assert -0.4 <= core.min() < -0.3 and 0.3 < core.max() <= 0.4
    assert core.mean().abs() < 0.01


def test_the_least_healthy_discs_degenerate_with_their_probability():
    params = _draw(400, DiscConfig(degenerated_probability=0.3, health=(1.0, 1.0), lost_mm=(0.5, 2.0)))
    degenerated = params.lost_mm[:, 0] > 0
    assert degenerated.float().mean() == pytest.approx(0.3, abs=0.02)
    assert params.core[degenerated].max() <= params.core[~degenerated].min()
    assert (params.brightness[~degenerated] == 1).all()
    assert params.brightness[degenerated].min() >= 0.5 and params.brightness[degenerated].max() < 1
    assert params.lost_mm[degenerated.unsqueeze(1).expand_as(params.lost_mm)].max() <= 2.0


def test_the_lowest_disc_loses_nothing_to_the_sacrum():
    assert (_draw(50, DiscConfig(degenerated_probability=1.0)).lost_mm[:, 1, 0] == 0).all()


def test_what_has_no_probability_is_left_out():
    assert _draw(2, DiscConfig(nucleus_probability=0.0, degenerated_probability=0.0)) is None
    plain = _draw(2, DiscConfig(cleft_probability=0.0, degenerated_probability=0.0))
    assert plain.core is not None and (plain.cleft, plain.lost_mm, plain.brightness) == (None, None, None)
    assert _draw(2, DiscConfig(nucleus_probability=0.0)).core is None
    assert _draw(2, replace(ALL, nucleus_probability=1e-9)).core.abs().max() == 0


def test_the_cleft_is_there_with_its_probability():
    cleft = _draw(2000, DiscConfig(cleft_probability=0.25)).cleft
    assert (cleft > 0).float().mean() == pytest.approx(0.25, abs=0.04)
    assert cleft[cleft > 0].min() >= 0.2 and cleft.max() <= 0.9


def test_both_borders_of_a_thin_disc_move_into_it_with_the_gaps_before_them():
    upper, disc, lower = vertebra_code(2), disc_code(2), vertebra_code(1)
    codes = _column((upper, 6), (0, 1), (disc, 9), (0, 2), (lower, 6))
    thinned = thin_discs(codes, _discs(top=2.0, bottom=1.0), SPACING)
    assert torch.equal(thinned, _column((upper, 8), (0, 1), (disc, 6), (0, 2), (lower, 7)))


@pytest.mark.parametrize(("spacing", "rows"), [(0.25, 7), (0.5, 4), (0.8, 3), (1.0, 2), (3.0, 1), (5.0, 0)])
def test_the_height_lost_is_rounded_to_rows_of_any_spacing(spacing, rows):
    upper, disc, lower = vertebra_code(2), disc_code(2), vertebra_code(1)
    codes = _column((upper, 12), (disc, 40), (lower, 12))
    thinned = thin_discs(codes, _discs(top=2.0), (spacing, 1.0))
    assert torch.equal(thinned, _column((upper, 12 + rows), (disc, 40 - rows), (lower, 12)))


def test_a_disc_keeps_three_millimetres_and_a_thinner_one_everything():
    upper, disc, lower = vertebra_code(2), disc_code(2), vertebra_code(1)
    for height, left in ((2, 2), (3, 3), (4, 3), (5, 3), (6, 3), (8, 4)):
        thinned = thin_discs(
            _column((upper, 6), (disc, height), (lower, 6)), _discs(top=2.0, bottom=2.0), SPACING
        )
        assert (thinned == disc).sum() == left


def test_nothing_but_discs_and_background_beside_them_gives_way(bank):
    codes = bank.clone()
    codes[:, :, 70:] = IGNORE
    thinned = thin_discs(codes, _discs(3, top=2.0, bottom=2.0), SPACING)
    changed = thinned != codes
    assert changed.any()
    disc = (codes[changed] >= DISCS.start) & (codes[changed] < DISCS.stop)
    assert (disc | (codes[changed] == 0)).all()
    assert (thinned[changed] <= MAX_RANK).all()
    assert torch.equal(thinned == CANAL, codes == CANAL)


def test_healthy_discs_and_no_discs_keep_the_map(bank):
    assert thin_discs(bank, None, SPACING) is bank
    assert thin_discs(bank, replace(_discs(3), lost_mm=None), SPACING) is bank
    assert torch.equal(thin_discs(bank, _discs(3), SPACING), bank)


def test_each_disc_loses_what_it_has_drawn(bank):
    lost = torch.zeros(3, 2, MAX_RANK)
    lost[:, 0, 1] = 2.0
    thinned = thin_discs(bank, replace(_discs(3), lost_mm=lost), SPACING)
    assert not torch.equal(thinned == disc_code(2), bank == disc_code(2))
    assert all(torch.equal(thinned == disc_code(rank), bank == disc_code(rank)) for rank in (1, 3))


def test_the_nucleus_follows_its_formula_in_discs_alone():
    painted = torch.tensor([[disc_code(1), vertebra_code(1), SACRAL_DISC]] * 4, dtype=torch.uint8).unsqueeze(
        0
    )
    depth = torch.tensor([-2.0, 1.0, 2.0, 9.0]).view(1, 1, 4, 1).expand(1, 3, 4, 3)
    image = torch.full((1, 4, 3), 0.1)
    bright = add_nucleus(image, painted, depth, replace(_discs(core=0.5), cleft=None), SPACING)
    expected = image.clone()
    expected[0, :, 0] += 0.5 * torch.tensor([0.0, 0.0, 0.4, 1.0])
    assert torch.allclose(bright, expected)


def test_the_cleft_is_a_dark_line_in_the_middle_of_the_nucleus():
    rows = torch.arange(21.0)
    depth = (20 - (rows - 10).abs()).view(1, 1, 21, 1).expand(1, 3, 21, 2)
    painted = torch.full((1, 21, 2), disc_code(1), dtype=torch.uint8)
    bright = add_nucleus(torch.zeros(1, 21, 2), painted, depth, _discs(core=0.5, cleft=0.8), SPACING)
    expected = 0.5 * (1 - 0.8 * (1 - (rows - 10).abs() / 2).clamp(min=0))
    assert torch.allclose(bright[0, :, 0], expected, atol=1e-6)


def test_degenerated_discs_have_a_lower_mean_and_nothing_else_has():
    mean = torch.rand(1, PAINT_CODES)
    brightness = torch.ones(1, MAX_RANK)
    brightness[0, 4] = 0.6
    darker = darken_discs(mean, replace(_discs(), brightness=brightness))
    expected = mean.clone()
    expected[0, disc_code(5)] *= 0.6
    assert torch.equal(darker, expected)
    assert darken_discs(mean, None) is mean


def test_a_sample_is_the_same_alone_and_in_a_batch(bank):
    params = _draw(3)
    thinned = thin_discs(bank, params, SPACING)
    painted, depth = _scene(thinned)
    image = torch.rand(painted.shape, generator=torch.Generator().manual_seed(1))
    bright = add_nucleus(image, painted, depth, params, SPACING)
    for i in range(3):
        one = slice(i, i + 1)
        assert torch.equal(thin_discs(bank[one], params[one], SPACING), thinned[one])
        assert torch.equal(
            add_nucleus(image[one], painted[one], depth[one], params[one], SPACING), bright[one]
        )


def test_a_volume_is_treated_slice_by_slice(bank):
    params = _draw(1)
    thinned = thin_discs(bank[:, :70].unsqueeze(0), params, (4.0, *SPACING))
    for z in range(3):
        assert torch.equal(thinned[:, z], thin_discs(bank[z : z + 1, :70], params, SPACING))
    painted, depth = _scene(thinned)
    bright = add_nucleus(torch.zeros(painted.shape), painted, depth, params, (4.0, *SPACING))
    flat = add_nucleus(torch.zeros(painted[:, 1].shape), painted[:, 1], depth[:, :, 1], params, SPACING)
    assert torch.equal(bright[:, 1], flat)


@pytest.mark.parametrize("grid", [(1, 2), (2, 1), (5, 3), (1, 1, 2)])
def test_tiny_grids_and_tensors_without_values_pass(grid):
    for device in ("cpu", "meta"):
        params = _draw(2).to(device)
        spacing = (1.0,) * len(grid)
        codes = torch.full((2, *grid), disc_code(2), dtype=torch.uint8, device=device)
        assert thin_discs(codes, params, spacing).shape == codes.shape
        depth = torch.ones(2, 3, *grid, device=device)
        image = torch.ones(2, *grid, device=device)
        assert add_nucleus(image, codes, depth, params, spacing).shape == image.shape
        assert darken_discs(torch.ones(2, CODES, device=device), params).shape == (2, CODES)


def test_params_come_back_from_their_records_bit_for_bit():
    for config in (ALL, DiscConfig(nucleus_probability=0.0), DiscConfig(degenerated_probability=0.0)):
        params = _draw(4, config)
        again = DiscParams.from_records(params.to_records())
        for name in ("core", "cleft", "lost_mm", "brightness"):
            before, after = getattr(params, name), getattr(again, name)
            assert after is None if before is None else torch.equal(before, after)


@pytest.mark.parametrize(
    "wrong", [{"lost_mm": (0.0, 3.0)}, {"darkness": (0.5, 1.5)}, {"cleft": (0.9, 0.2)}, {"nucleus_t2": 2.0}]
)
def test_a_configuration_that_makes_no_sense_is_refused(wrong):
    with pytest.raises(ValueError, match=next(iter(wrong))):
        DiscConfig(**wrong)
