"""Rician and Gaussian noise, g-factor."""

import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from scipy import stats

from synthspine.gen.core.counter_rng import SampleRandom, sample_keys
from synthspine.gen.scanner.noise import (
    GFactorParams,
    NoiseConfig,
    ZipperParams,
    add_noise,
    add_zipper,
    g_factor_map,
)


def _random(count):
    return SampleRandom(sample_keys(0, torch.arange(count)))


def _noise(level, rician=1.0, count=1):
    drawn = NoiseConfig(g_factor_probability=0.0).draw(_random(count))
    return replace(drawn, level=torch.full((count,), level), rician=torch.full((count,), rician))


def _places(count):
    return (torch.arange(count) - (count - 1) / 2) / count


def _noisy(signal, level, rician=1.0):
    places = _places(1000)
    return add_noise(torch.full((1, 1000, 1000), signal), _noise(level, rician), places, places)


@pytest.mark.parametrize(("signal", "level"), [(0.0, 0.2), (0.1, 0.1), (0.3, 0.1), (1.0, 0.1)])
def test_noise_has_the_moments_of_a_rician_distribution(signal, level):
    """Gudbjartsson and Patz 1995, through SciPy; 5 standard errors of a million values."""
    values = _noisy(signal, level).double().numpy().ravel()
    rice = stats.rice(signal / level, scale=level)
    for order in (1, 2, 3, 4):
        expected, error = rice.moment(order), 5 * (rice.moment(2 * order) / values.size) ** 0.5
        assert abs((values**order).mean() - expected) < error
    assert abs(values.std() - rice.std()) < 5 * rice.std() / (2 * values.size) ** 0.5 * 1.2


def test_the_mean_of_noise_alone_is_that_of_rayleigh():
    assert abs(float(_noisy(0.0, 0.2).mean()) - 0.2 * math.sqrt(math.pi / 2)) < 5e-4


@pytest.mark.parametrize("signal", [0.0, 0.2])
def test_rician_noise_follows_its_distribution(signal):
    values = _noisy(signal, 0.1).numpy().ravel()[::5]
    assert stats.kstest(values, stats.rice(signal / 0.1, scale=0.1).cdf).pvalue > 1e-3


def test_gaussian_noise_follows_its_distribution_and_may_go_below_0():
    values = _noisy(0.1, 0.2, rician=0.0).numpy().ravel()
    assert stats.kstest((values[::5] - 0.1) / 0.2, "norm").pvalue > 1e-3
    assert values.min() < -0.5
    assert abs(stats.kurtosis(values)) < 5 * (24 / values.size) ** 0.5


def test_the_distribution_of_noise_has_no_atom_at_0():
    """About eight of a million normal numbers lie this close."""
    assert int((_noisy(0.0, 1.0, rician=0.0).abs() < 1e-5).sum()) < 30


def test_strong_noise_has_every_phase():
    """Radius and angle share a random number and must be independent nevertheless."""
    magnitude, real = _noisy(0.0, 1.0), _noisy(0.0, 1.0, rician=0.0)
    for least, greatest in ((0.0, 0.1), (1.0, 1.01), (3.4, 9.0)):
        ring = (magnitude > least) & (magnitude < greatest)
        angle = torch.acos((real / magnitude)[ring].clamp(-1, 1)).numpy() / math.pi
        assert stats.kstest(angle, "uniform").pvalue > 1e-3


def test_neighbours_have_independent_noise():
    noise = (_noisy(0.0, 1.0, rician=0.0))[0].double()
    for left, right in ((noise[1:], noise[:-1]), (noise[:, 1:], noise[:, :-1])):
        assert abs(float((left * right).mean())) < 5e-3


@pytest.mark.parametrize("grid", [(24, 31), (3, 24, 31)])
def test_the_g_factor_amplifies_noise_by_its_map(grid):
    rows, columns = _places(24), _places(31)
    flat = _noise(0.1, rician=0.0, count=2)
    bump = GFactorParams(
        extra=torch.tensor([0.0, 1.5]),
        middle=torch.tensor([[0.0, 0.0], [0.1, -0.2]]),
        width=torch.tensor([[0.2, 0.5], [0.15, 0.6]]),
    )
    silence = torch.zeros(2, *grid)
    plain = add_noise(silence, flat, rows, columns)
    raised = add_noise(silence, replace(flat, g_factor=bump), rows, columns)
    y, x = np.meshgrid(rows.numpy(), columns.numpy(), indexing="ij")
    expected = 1 + 1.5 * np.exp(-0.5 * (((y - 0.1) / 0.15) ** 2 + ((x + 0.2) / 0.6) ** 2))
    assert np.allclose(g_factor_map(bump, rows, columns)[1].numpy(), expected, rtol=1e-5)
    assert torch.equal(raised[0], plain[0])
    assert np.allclose((raised[1] / plain[1]).numpy(), np.broadcast_to(expected, grid), rtol=1e-3)


@pytest.mark.parametrize("rician", [0.0, 1.0])
def test_noise_left_out_or_off_is_the_identity(rician):
    image = torch.rand(3, 20, 30, generator=torch.Generator().manual_seed(0)) - 0.2
    rows, columns = _places(20), _places(30)
    assert add_noise(image, None, rows, columns) is image
    assert torch.equal(add_noise(image, _noise(0.0, rician, count=3), rows, columns), image)


def test_a_configuration_without_noise_draws_none():
    assert NoiseConfig(probability=0.0).draw(_random(1)) is None
    assert NoiseConfig(g_factor_probability=0.0).draw(_random(1)).g_factor is None


def test_draws_stay_in_range_and_keep_their_probabilities():
    params = NoiseConfig(rician_probability=0.7).draw(_random(4000))
    on = params.level > 0
    assert abs(float(on.float().mean()) - 0.9) < 4 * (0.09 / 4000) ** 0.5
    assert params.level.max() <= 0.08
    assert abs(float(params.level[on].mean()) - 0.04) < 4 * 0.08 / (12 * 3600) ** 0.5
    assert abs(float(params.rician.mean()) - 0.7) < 4 * (0.21 / 4000) ** 0.5
    g_factor = params.g_factor
    on = g_factor.extra > 0
    assert abs(float(on.float().mean()) - 0.2) < 4 * (0.16 / 4000) ** 0.5
    assert g_factor.extra[on].min() >= 0.2 and g_factor.extra.max() <= 1
    assert g_factor.middle.abs().max() <= 0.2
    # One axis is the phase-encoding one, the other lies across it.
    narrow, broad = g_factor.width.min(1).values, g_factor.width.max(1).values
    assert narrow.min() >= 0.1 and narrow.max() <= 0.3 and broad.min() >= 0.3 - 1e-6 and broad.max() <= 1
    by_row = (g_factor.width[:, 0] <= g_factor.width[:, 1]).float().mean()
    assert abs(float(by_row) - 0.5) < 4 * 0.5 / 4000**0.5


@pytest.mark.parametrize("grid", [(1, 2), (33, 40), (1, 7, 9)])
def test_noise_of_a_sample_does_not_depend_on_its_batch(grid):
    params = NoiseConfig(rician_probability=0.5).draw(_random(6))
    image = torch.rand(6, *grid, generator=torch.Generator().manual_seed(0))
    places = _places(grid[-2]), _places(grid[-1])
    whole = add_noise(image, params, *places)
    for i in range(6):
        assert torch.equal(add_noise(image[i : i + 1], params[i : i + 1], *places), whole[i : i + 1])


def test_gradients_are_finite_even_where_there_is_neither_signal_nor_noise():
    image = torch.zeros(2, 16, 16, requires_grad=True)
    params = replace(_noise(0.0, count=2), level=torch.tensor([0.0, 0.1]))
    add_noise(image, params, _places(16), _places(16)).sum().backward()
    assert bool(image.grad.isfinite().all())
    assert torch.equal(image.grad[0], torch.ones(16, 16))


def test_a_negative_level_is_refused_by_name():
    with pytest.raises(ValueError, match="level"):
        NoiseConfig(level=(-0.1, 0.1))
    with pytest.raises(ValueError, match="g_factor_width"):
        NoiseConfig(g_factor_width=(0.0, 0.1))


def _zipper(along_rows: float) -> ZipperParams:
    return ZipperParams(
        key=sample_keys(0, torch.arange(1)),
        along_rows=torch.tensor([along_rows]),
        strength=torch.tensor([0.5]),
        place=torch.tensor([0.43]),
        width_mm=torch.tensor([1.4]),
    )


@pytest.mark.parametrize("along_rows", [1.0, 0.0])
def test_only_pixels_near_the_line_brighten_by_the_drawn_strength_at_most(along_rows):
    image = torch.rand(1, 200, 200, generator=torch.Generator().manual_seed(0))
    added = (add_zipper(image, _zipper(along_rows), (1.0, 1.0)) - image)[0]
    across = added.amax(0) if along_rows else added.amax(1)
    assert [i for i, value in enumerate(across.tolist()) if value > 1e-6] == [85, 86, 87]
    assert added.min() >= 0
    assert 0.9 * 0.5 * image.max() < added.max() <= 0.5 * image.max()


def test_dashes_differ_along_the_line_and_between_slices():
    image = torch.ones(1, 2, 60, 50)
    zipped = add_zipper(image, _zipper(1.0), (3.0, 1.0, 1.0))[0, :, :, 21]
    assert zipped.unique().numel() == 120
    assert abs(zipped.mean() - 1.25) < 0.06
