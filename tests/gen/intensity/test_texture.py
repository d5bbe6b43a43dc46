"""Grain inside the tissues."""

import json
from dataclasses import replace

import pytest
import torch
from scipy import stats

from synthspine.gen.core.anatomy import CANAL, vertebra_code
from synthspine.gen.core.counter_rng import SampleRandom, sample_keys
from synthspine.gen.intensity.contrast import code_tables
from synthspine.gen.intensity.texture import TextureConfig, TextureParams, add_texture
from synthspine.gen.tissues.palette import AIR, FAT, MUSCLE, OUTSIDE, PAINT_CODES

SPACING_MM = (1.0, 1.0)


def _draw(count=8, first=0, **changes):
    random = SampleRandom(sample_keys(6, torch.arange(first, first + count)))
    return TextureConfig(**changes).draw(random)


def _grain(params, grid=(64, 64), spacing_mm=SPACING_MM, code=MUSCLE):
    """The grain of a picture of one tissue."""
    painted = torch.full((len(params), *grid), code, dtype=torch.uint8)
    return add_texture(torch.zeros(painted.shape), painted, params, spacing_mm)


def _painted(batch, grid):
    generator = torch.Generator().manual_seed(1)
    return torch.randint(0, PAINT_CODES, (batch, *grid), generator=generator).to(torch.uint8)


def test_the_grain_has_the_drawn_variance_wherever_it_is():
    params = _draw(count=300, strength=(0.1, 0.1))
    assert params.white is not None and params.coarse is not None
    expected = params.white[:, MUSCLE].square() + params.coarse[:, MUSCLE].square()
    torch.testing.assert_close(expected, torch.full((300,), 0.01))
    measured = _grain(params, grid=(24, 20)).var(0)
    # Over the samples: every pixel has the variance, those of the border too. 5 standard deviations.
    assert (measured / 0.01 - 1).abs().max() < 5 * (2 / 300) ** 0.5
    assert abs(float(measured.mean()) / 0.01 - 1) < 0.05


def test_white_grain_is_normal_and_uncorrelated():
    params = _draw(count=2, strength=(0.1, 0.1), correlated=(0.0, 0.0), marrow=(0.0, 0.0))
    assert params.coarse is None
    grain = _grain(params, grid=(100, 100))
    assert stats.kstest(grain.flatten() / 0.1, "norm").pvalue > 1e-3
    lagged = (grain[:, 1:] * grain[:, :-1]).mean() / 0.01
    assert abs(float(lagged)) < 0.03


@pytest.mark.parametrize("correlation_mm", [2.0, 5.0])
def test_correlated_grain_has_the_correlation_length(correlation_mm):
    params = _draw(count=40, strength=(0.1, 0.1), correlated=(1.0, 1.0),
                   correlation_mm=(correlation_mm, correlation_mm))  # fmt: skip
    assert params.white is None
    grain = _grain(params, grid=(128, 60), spacing_mm=(0.5, 1.0)) / 0.1
    for axis, lag, lag_mm in ((1, 6, 3.0), (2, 3, 3.0)):
        size = grain.shape[axis] - lag
        product = (grain.narrow(axis, 0, size) * grain.narrow(axis, lag, size)).mean()
        # Noise smoothed by a Gaussian of width s correlates as exp(-lag² / 4 s²).
        expected = torch.exp(torch.tensor(-(lag_mm**2) / (4 * correlation_mm**2)))
        assert float(product) == pytest.approx(float(expected), abs=0.08)


def test_strengths_and_shares_match_the_configuration():
    config = TextureConfig()
    params = _draw(count=3000)
    assert params.white is not None and params.coarse is not None
    strength = torch.sqrt(params.white.square() + params.coarse.square())
    for code in (MUSCLE, CANAL, vertebra_code(3)):
        assert stats.kstest(strength[:, code], stats.uniform(0, config.strength[1]).cdf).pvalue > 1e-3
    share = params.coarse[:, FAT].square() / strength[:, FAT].square()
    low, high = config.correlated
    assert stats.kstest(share, stats.uniform(low, high - low).cdf).pvalue > 1e-3
    low, high = config.correlation_mm
    assert stats.kstest(params.correlation_mm, stats.uniform(low, high - low).cdf).pvalue > 1e-3


def test_air_has_little_grain_and_outside_none():
    params = _draw(count=500, strength=(0.1, 0.1))
    assert params.white is not None and params.coarse is not None
    strength = torch.sqrt(params.white.square() + params.coarse.square())
    torch.testing.assert_close(strength[:, AIR], torch.full((500,), 0.02))
    assert (strength[:, OUTSIDE] == 0).all()


def test_tables_are_kept_once_whatever_the_factor_of_air():
    _draw(count=2, air_factor=0.3)
    kept = code_tables.cache_info().currsize
    _draw(count=2, air_factor=0.4)
    assert code_tables.cache_info().currsize == kept


def test_marrow_is_coarser_than_other_tissues():
    params = _draw(count=50, strength=(0.1, 0.1), correlated=(0.5, 0.5), marrow=(0.5, 0.5))
    assert params.coarse is not None
    share = params.coarse.square() / 0.01
    torch.testing.assert_close(share[:, MUSCLE], torch.full((50,), 0.5))
    torch.testing.assert_close(share[:, vertebra_code(2)], torch.full((50,), 0.75))


def test_texture_is_left_out_without_cost_when_it_never_occurs():
    assert _draw(probability=0.0) is None
    assert _draw(strength=(0.0, 0.0)) is None
    image = torch.rand(2, 4, 5)
    assert add_texture(image, _painted(2, (4, 5)), None, SPACING_MM) is image


def test_a_sample_without_texture_keeps_its_picture():
    params = _draw(count=400, probability=0.6)
    assert params.white is not None
    off = params.white[:, MUSCLE] == 0
    assert float(off.float().mean()) == pytest.approx(0.4, abs=0.08)
    grain = _grain(params, grid=(5, 6))
    assert (grain[off] == 0).all()
    assert (grain[~off].abs().amax((1, 2)) > 0).all()


@pytest.mark.parametrize(
    ("grid", "spacing_mm"),
    [((40, 33), SPACING_MM), ((130, 90), (0.7, 0.9)), ((1, 2), SPACING_MM), ((3, 20, 17), (4.0, 1.0, 0.6))],
)
def test_a_sample_gets_the_same_grain_alone_and_in_a_batch(grid, spacing_mm):
    painted, image = _painted(5, grid), torch.rand(5, *grid)
    batch = add_texture(image, painted, _draw(count=5), spacing_mm)
    assert batch.shape == image.shape
    for i in (0, 3):
        alone = add_texture(image[i : i + 1], painted[i : i + 1], _draw(count=1, first=i), spacing_mm)
        assert torch.equal(alone[0], batch[i])


def test_a_missing_tissue_changes_the_grain_of_no_other():
    params, painted = _draw(count=2), _painted(2, (20, 20))
    without = torch.where(painted == CANAL, FAT, painted.int()).to(torch.uint8)
    image, kept = torch.zeros(2, 20, 20), painted != CANAL
    first, second = (add_texture(image, codes, params, SPACING_MM) for codes in (painted, without))
    assert torch.equal(first[kept], second[kept])


def test_the_input_is_left_as_it_was():
    image = torch.zeros(2, 6, 6)
    add_texture(image, _painted(2, (6, 6)), _draw(count=2), SPACING_MM)
    assert (image == 0).all()


@pytest.mark.parametrize(
    "changes", [{}, {"correlated": (1.0, 1.0)}, {"correlated": (0.0, 0.0), "marrow": (0.0, 0.0)}]
)
def test_params_come_back_from_json_bit_for_bit(changes):
    params = _draw(count=3, **changes)
    back = TextureParams.from_records(json.loads(json.dumps(params.to_records())))
    assert torch.equal(_grain(back), _grain(params))


def test_gradients_flow_through_the_grain():
    image = torch.zeros(2, 6, 6, requires_grad=True)
    add_texture(image, _painted(2, (6, 6)), _draw(count=2), SPACING_MM).sum().backward()
    assert image.grad is not None and (image.grad == 1).all()


def test_other_strengths_scale_the_same_grain():
    params = _draw(count=2)
    assert params.white is not None and params.coarse is not None
    double = replace(params, white=2 * params.white, coarse=2 * params.coarse)
    torch.testing.assert_close(_grain(double), 2 * _grain(params))


@pytest.mark.parametrize(
    ("changes", "name"),
    [
        ({"strength": (-0.1, 0.1)}, "strength"),
        ({"correlated": (0.5, 1.1)}, "correlated"),
        ({"correlation_mm": (0.5, 3.0)}, "correlation_mm"),
        ({"correlation_mm": (2.0, 60.0)}, "correlation_mm"),
        ({"probability": -0.5}, "probability"),
    ],
)
def test_an_invalid_range_is_refused_by_name(changes, name):
    with pytest.raises(ValueError, match=name):
        TextureConfig(**changes)
