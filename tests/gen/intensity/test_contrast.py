"""Mean intensities of tissues."""

import json
from dataclasses import replace

import pytest
import torch
from scipy import stats

from synthspine.gen.core.anatomy import CANAL, disc_code, vertebra_code
from synthspine.gen.core.counter_rng import SampleRandom, sample_keys
from synthspine.gen.intensity.contrast import (
    RECIPES,
    ContrastConfig,
    ContrastParams,
    code_tables,
    colour,
)
from synthspine.gen.tissues.palette import (
    AIR,
    DISCS,
    FAT,
    IMPLANT,
    OUTSIDE,
    PAINT_CODES,
    REGIONS,
    SACRAL_DISC,
    SACRUM,
    TISSUES,
    VERTEBRAE,
)

COUNT = 4000
STILL = (0.0, 0.0)


def _draw(count=COUNT, first=0, seed=2, **changes):
    keys = sample_keys(seed, torch.arange(first, first + count))
    return ContrastConfig(**changes).draw(SampleRandom(keys))


def _only(recipe, **changes):
    weights = {f"{name}_weight": float(name == recipe) for name in RECIPES}
    return _draw(**weights, **changes)


def _painted(batch, grid, seed=0):
    generator = torch.Generator().manual_seed(seed)
    return torch.randint(0, PAINT_CODES, (batch, *grid), generator=generator).to(torch.uint8)


@pytest.mark.parametrize(("alpha", "weighting"), [((0.0, 0.0), "t1"), ((1.0, 1.0), "t2")])
@pytest.mark.parametrize(
    ("tissue", "code"), [("vertebra", vertebra_code(3)), ("disc", disc_code(2)), ("csf", CANAL)]
)
def test_the_measured_recipe_has_the_measured_means(alpha, weighting, tissue, code):
    mean, spread = getattr(TISSUES[tissue], weighting)
    drawn = _only("measured", alpha=alpha, instance_jitter=STILL).mean[:, code]
    # Clamping at full scale pulls the mean of a bright tissue down a little.
    assert abs(float(drawn.mean()) - mean) < 0.03
    assert abs(float(drawn.std()) - spread) < 0.25 * spread


def test_the_measured_recipe_is_normal_about_the_interpolated_mean():
    drawn = _only("measured", alpha=(0.5, 0.5), instance_jitter=STILL).mean[:, vertebra_code(1)]
    assert stats.kstest(drawn, stats.norm(0.49, 0.10).cdf).pvalue > 1e-3


def test_spread_scales_the_deviation_from_the_measured_means():
    for alpha, weighting in ((0.0, "t1"), (1.0, "t2")):
        drawn = _only("measured", alpha=(alpha, alpha), spread=0.0, instance_jitter=STILL).mean
        for tissue in TISSUES.values():
            expected = torch.full_like(drawn[:, tissue.codes], getattr(tissue, weighting)[0])
            if tissue.codes != IMPLANT:
                torch.testing.assert_close(drawn[:, tissue.codes], expected)


def test_random_contrasts_cover_their_range_uniformly():
    mean = _only("random", random_mean=(0.2, 0.9), instance_jitter=STILL).mean
    for code in (CANAL, vertebra_code(1), disc_code(4), FAT, REGIONS.start + 5):
        assert stats.kstest(mean[:, code], stats.uniform(0.2, 0.7).cdf).pvalue > 1e-3


def test_tissues_are_independent_of_one_another():
    mean = _only("random", instance_jitter=STILL).mean
    codes = [vertebra_code(1), disc_code(1), CANAL, FAT, *range(REGIONS.start, REGIONS.stop)]
    correlation = torch.corrcoef(mean[:, codes].T) - torch.eye(len(codes))
    # 5 standard deviations of a correlation of independent numbers.
    assert correlation.abs().max() < 5 / COUNT**0.5


def test_vertebrae_share_a_mean_up_to_the_jitter_and_so_do_discs():
    for recipe in RECIPES:
        still = _only(recipe, instance_jitter=STILL).mean
        assert (still[:, VERTEBRAE] == still[:, VERTEBRAE.start, None]).all()
        assert (still[:, DISCS] == still[:, DISCS.start, None]).all()
        assert (still[:, vertebra_code(1)] != still[:, disc_code(1)]).any()
    moved = _only("random", random_mean=(0.5, 0.5), instance_jitter=(0.05, 0.05)).mean
    difference = moved[:, vertebra_code(1)] - moved[:, vertebra_code(5)]
    assert abs(float(difference.std()) - 0.05 * 2**0.5) < 0.005
    assert abs(float(moved[:, disc_code(2)].std()) - 0.075) < 0.005
    assert (moved[:, CANAL] == 0.5).all()


def test_recipes_come_in_the_shares_of_their_weights():
    recipe = _draw(random_weight=5.0, measured_weight=4.0, physical_weight=1.0).recipe
    shares = [float((recipe == number).float().mean()) for number in range(3)]
    assert shares == pytest.approx([0.5, 0.4, 0.1], abs=0.03)


@pytest.mark.parametrize("name", RECIPES)
def test_a_recipe_alone_or_without_weight_is_always_or_never_taken(name):
    number = RECIPES.index(name)
    assert (_only(name).recipe == number).all()
    assert (_draw(**{f"{name}_weight": 0.0}).recipe != number).all()


def test_weights_of_other_recipes_do_not_change_what_a_recipe_draws():
    mixed = _draw()
    for number, name in enumerate(RECIPES):
        chosen = mixed.recipe == number
        assert torch.equal(_only(name).mean[chosen], mixed.mean[chosen])


def test_the_position_between_t1_and_t2_is_often_an_end():
    alpha = _only("measured", alpha=(0.2, 0.6), end_probability=0.7).alpha
    low, high = alpha == alpha.min(), alpha == alpha.max()
    assert (float(alpha.min()), float(alpha.max())) == pytest.approx((0.2, 0.6))
    assert float(low.float().mean()) == pytest.approx(0.35, abs=0.03)
    assert float(high.float().mean()) == pytest.approx(0.35, abs=0.03)
    assert stats.kstest(alpha[~(low | high)], stats.uniform(0.2, 0.4).cdf).pvalue > 1e-3


def test_the_position_of_a_physical_contrast_is_that_of_its_protocol():
    params = _draw(alpha=(0.5, 0.5))
    assert params.physical is not None
    chosen = params.recipe == RECIPES.index("physical")
    # T1-weighted protocols have short echoes.
    assert torch.equal(params.alpha[chosen] == 0, params.physical.echo_ms[chosen] < 20)
    assert (params.alpha[~chosen] == 0.5).all()


def test_air_is_dark_with_its_probability_and_an_implant_always():
    mean = _only("random", random_mean=(0.5, 1.0), dark_air_probability=0.3).mean
    assert float((mean[:, AIR] <= 0.05).float().mean()) == pytest.approx(0.3, abs=0.03)
    assert (mean[:, IMPLANT] <= 0.05).all()


def test_tables_are_kept_once_whatever_the_darkness_of_air():
    means = [_only("random", count=3, dark_air=dark_air).mean[:, IMPLANT] for dark_air in (0.1, 0.2)]
    assert torch.equal(2 * means[0], means[1])
    kept = code_tables.cache_info().currsize
    _only("random", count=3, dark_air=0.3)
    assert code_tables.cache_info().currsize == kept


def test_the_sacrum_is_like_the_vertebrae_with_its_probability():
    mean = _only("random", sacrum_alike_probability=0.7, instance_jitter=STILL).mean
    alike = mean[:, SACRUM] == mean[:, VERTEBRAE.start]
    assert float(alike.float().mean()) == pytest.approx(0.7, abs=0.03)
    assert torch.equal(alike, mean[:, SACRAL_DISC] == mean[:, DISCS.start])


def test_what_lies_outside_is_black_and_means_stay_on_the_scale():
    params = _draw()
    assert (params.mean[:, OUTSIDE] == 0).all()
    assert params.mean.shape == (COUNT, PAINT_CODES)
    assert ((params.mean >= 0) & (params.mean <= 1)).all()


@pytest.mark.parametrize("changes", [{}, {"physical_weight": 0.0}])
def test_params_come_back_from_json_bit_for_bit(changes):
    params = _draw(count=5, **changes)
    records = json.loads(json.dumps(params.to_records()))
    back = ContrastParams.from_records(records)
    assert torch.equal(back.mean, params.mean)
    assert torch.equal(back.alpha, params.alpha)
    assert back.to_records() == params.to_records()


@pytest.mark.parametrize("grid", [(7, 9), (1, 2), (3, 8, 5), (1, 6, 6)])
def test_every_pixel_gets_the_mean_of_its_code(grid):
    params, painted = _draw(count=4), _painted(4, grid)
    image = colour(painted, params)
    expected = [mean.numpy()[codes.numpy()] for mean, codes in zip(params.mean, painted, strict=True)]
    assert image.dtype == torch.float32
    for shown, wanted in zip(image, expected, strict=True):
        assert (shown.numpy() == wanted).all()


def test_a_missing_tissue_changes_no_other_tissue():
    params, painted = _draw(count=2), _painted(2, (32, 32))
    without = torch.where(painted == vertebra_code(2), FAT, painted.int()).to(torch.uint8)
    kept = painted != vertebra_code(2)
    assert torch.equal(colour(painted, params)[kept], colour(without, params)[kept])


def test_gradients_flow_from_the_image_to_the_class_means():
    params, painted = _draw(count=2), _painted(2, (16, 16))
    mean = params.mean.clone().requires_grad_()
    colour(painted, replace(params, mean=mean)).sum().backward()
    counts = torch.stack([torch.bincount(codes.flatten().int(), minlength=PAINT_CODES) for codes in painted])
    assert mean.grad is not None
    assert torch.equal(mean.grad, counts.float())


@pytest.mark.parametrize("alpha", [(-0.2, 0.5), (0.5, 1.5)])
def test_alpha_outside_of_t1_to_t2_is_refused_as_extrapolation(alpha):
    with pytest.raises(ValueError, match=r"alpha.*extrapolation"):
        ContrastConfig(alpha=alpha)


@pytest.mark.parametrize(
    ("changes", "name"),
    [
        ({"alpha": (0.8, 0.2)}, "alpha"),
        ({"random_weight": -0.1}, "random_weight"),
        ({"random_weight": 0.0, "measured_weight": 0.0, "physical_weight": 0.0}, "measured_weight"),
        ({"physical_weight": float("nan")}, "physical_weight"),
        ({"random_mean": (0.0, 1.2)}, "random_mean"),
        ({"dark_air_probability": 1.2}, "dark_air_probability"),
        ({"spread": -1.0}, "spread"),
    ],
)
def test_an_invalid_value_is_refused_by_name(changes, name):
    with pytest.raises(ValueError, match=name):
        ContrastConfig(**changes)
