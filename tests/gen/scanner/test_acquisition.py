"""Resolution: blur, sampling, interpolation back, with noise in between."""

import json
from dataclasses import replace

import numpy as np
import pytest
import torch
from scipy import stats
from scipy.ndimage import gaussian_filter, gaussian_filter1d

from synthspine.gen.core.counter_rng import sample_keys
from synthspine.gen.core.drawing import Drawing
from synthspine.gen.scanner.acquisition import (
    FWHM,
    REACH,
    ResolutionConfig,
    ResolutionParams,
    acquire,
    acquired_points,
)
from synthspine.gen.scanner.noise import GFactorParams, NoiseParams

SYNTHSEG = ResolutionConfig(
    native_probability=0.05,
    isotropic_probability=0.1,
    single_axis=(1.0, 8.0),
    uniform_in="factor",
    thickness_from="grid_to_spacing",
    sigma_per_thickness=0.75,
    native_sigma=0.5,
)


def _random(count, spacing_mm=(1.0, 1.0)):
    return Drawing(sample_keys(0, torch.arange(count)), spacing_mm=spacing_mm)


def _resolution(factor, sigma, grid_mm=1.0, dims=2):
    """Factors and standard deviations (in grid spacings) per sample, and per axis if they differ."""
    factor, sigma = np.atleast_2d(factor), np.atleast_2d(sigma)
    spacing_mm = torch.from_numpy(np.broadcast_to(factor, (len(factor), dims)) * grid_mm).float()
    sigma_mm = torch.from_numpy(np.broadcast_to(sigma, (len(factor), dims)) * grid_mm).float()
    reach = (REACH * float(sigma_mm.max()),) * dims
    return ResolutionParams(spacing_mm=spacing_mm, thickness_mm=spacing_mm, sigma_mm=sigma_mm, reach_mm=reach)


def _along_rows(signal, factor, sigma, grid_mm=1.0):
    """A line, acquired along the first axis of a picture of two columns."""
    image = torch.as_tensor(signal).float().reshape(1, -1, 1).expand(1, -1, 2)
    params = _resolution([[factor, 1.0]], [[sigma, 0.0]], grid_mm)
    return acquire(image, params, None, (grid_mm, grid_mm))[0, :, 0].double().numpy()


def _noise(level, count):
    return NoiseParams(
        key=_random(count).key("noise_field"),
        level=torch.full((count,), level),
        rician=torch.ones(count),
        g_factor=None,
    )


@pytest.mark.parametrize("count", [161, 501])
@pytest.mark.parametrize("sigma", [0.4, 1.3, 2.0])
def test_resolution_is_gaussian_blur_sampling_and_linear_interpolation(count, sigma):
    """At a factor of 2 the acquired points lie on the grid, where SciPy blurs."""
    signal = np.random.default_rng(0).random(count)
    samples = gaussian_filter1d(signal, sigma, truncate=6)[::2]
    expected = np.interp(np.arange(count), np.arange(0, count, 2), samples)
    result = _along_rows(signal, 2.0, sigma)
    assert np.abs(result - expected)[15:-15].max() < 1e-5


def test_points_between_grid_points_are_read_by_linear_interpolation():
    count, factor, sigma = 200, 2.7, 1.4
    signal = np.random.default_rng(0).random(count)
    blurred = gaussian_filter1d(signal, sigma, truncate=6)
    acquired = int((count - 1) / factor) + 1
    at = (count - 1) / 2 + (np.arange(acquired) - (acquired - 1) / 2) * factor
    expected = np.interp(np.arange(count), at, np.interp(at, np.arange(count), blurred))
    assert np.abs(_along_rows(signal, factor, sigma) - expected)[15:-15].max() < 2e-5


@pytest.mark.parametrize("grid", [(81, 101), (5, 61, 41)])
def test_all_axes_are_acquired_alike_in_2d_and_3d(grid):
    image = np.random.default_rng(1).random(grid)
    factor = np.array([[1.0, 2.0, 3.0][-len(grid) :]])
    sigma = np.array([[0.0, 0.9, 1.4][-len(grid) :]])
    expected = gaussian_filter(image, sigma[0], truncate=6)
    for axis, step in enumerate(factor[0].astype(int)):
        # Symmetric points: an axis of 61 is read at 0, 2, ..., 60, one of 101 by threes from 1 to 100.
        count = grid[axis]
        acquired = (count - 1) // step + 1
        at = (count - 1) / 2 + (np.arange(acquired) - (acquired - 1) / 2) * step
        expected = np.apply_along_axis(
            lambda line: np.interp(np.arange(len(line)), at, np.interp(at, np.arange(len(line)), line)),  # noqa: B023
            axis,
            expected,
        )
    params = _resolution(factor, sigma, dims=len(grid))
    result = acquire(torch.from_numpy(image[None]).float(), params, None, (1.0,) * len(grid))[0].double()
    inner = (Ellipsis, slice(12, -12), slice(12, -12))
    assert np.abs(result.numpy() - expected)[inner].max() < 2e-5


@pytest.mark.parametrize("factor", [1.0, 1.37, 2.0, 3.1, 4.0, 8.0])
def test_resolution_keeps_the_centroid(factor):
    at = np.arange(201)
    for centre in (70.3, 100.0, 121.8):
        result = _along_rows(np.exp(-0.5 * ((at - centre) / 12) ** 2), factor, 0.5 * factor)
        assert abs((result * at).sum() / result.sum() - centre) < 0.01


@pytest.mark.parametrize("factor", [1.0, 1.7, 4.0])
def test_resolution_keeps_constants_and_the_middle_of_ramps(factor):
    assert np.allclose(_along_rows(np.ones(160), factor, 0.45 * factor), 1, atol=1e-6)
    ramp = np.arange(160) / 160
    assert np.allclose(_along_rows(ramp, factor, 0.45 * factor)[20:-20], ramp[20:-20], atol=1e-5)


@pytest.mark.parametrize("spacing", [(1.0, 1.0), (0.7, 0.3125), (4.0, 0.7, 1.3)])
def test_native_resolution_without_blur_is_exactly_the_identity(spacing):
    image = torch.rand(2, *(7, 130, 99)[-len(spacing) :], generator=torch.Generator().manual_seed(0))
    config = ResolutionConfig(native_probability=1.0, native_sigma=0.0, sigma_per_thickness=0.3)
    assert config.draw(_random(2, spacing)) is None
    params = ResolutionParams(
        spacing_mm=torch.tensor(spacing).expand(2, -1),
        thickness_mm=torch.tensor(spacing).expand(2, -1),
        sigma_mm=torch.zeros(2, len(spacing)),
        reach_mm=spacing,
    )
    assert torch.equal(acquire(image, params, None, spacing), image)
    # A division that rounds otherwise must not make it another spacing.
    nearly = replace(params, spacing_mm=params.spacing_mm * (1 + 1e-6))
    assert torch.equal(acquire(image, nearly, None, spacing), image)
    assert acquire(image, None, None, spacing) is image


def test_physical_spacing_and_pixel_spacing_agree():
    signal = np.random.default_rng(0).random(80)
    assert np.allclose(_along_rows(signal, 2.3, 1.0), _along_rows(signal, 2.3, 1.0, grid_mm=0.5), atol=1e-5)


def test_acquired_points_lie_symmetrically_and_none_beyond_the_last_is_read():
    factors = torch.tensor([1.0, 1.3, 2.0, 3.7, 8.0, 300.0])
    points = acquired_points(101, 0.6, 0.6 * factors)
    for i, factor in enumerate(factors.tolist()):
        last = int(points.last[i])
        assert last == int(100 / factor + 1e-4)
        real = points.grid_places[i, : last + 1]
        assert torch.allclose(real + real.flip(0), torch.full_like(real, 100.0), atol=1e-3)
        assert torch.allclose(real.diff(), torch.tensor(factor), atol=1e-3)
        assert points.places[i].min() >= 0 and points.places[i].max() <= last


def test_noise_is_added_at_the_acquired_resolution():
    """Interpolated noise is correlated between neighbours, native noise is not."""
    params = _resolution([[1.0], [4.0]], [[0.0], [0.0]])
    image = acquire(torch.ones(2, 128, 128), params, _noise(0.1, 2), (1.0, 1.0))
    image = image - image.mean((1, 2), keepdim=True)
    correlation = (image[:, 1:] * image[:, :-1]).mean((1, 2)) / image.square().mean((1, 2))
    assert abs(float(correlation[0])) < 0.05
    assert float(correlation[1]) > 0.6


def test_without_a_resolution_noise_is_that_of_the_grid():
    image = torch.rand(2, 30, 40, generator=torch.Generator().manual_seed(0))
    native = _resolution([[1.0], [1.0]], [[0.0], [0.0]])
    g_factor = GFactorParams(
        extra=torch.ones(2), middle=torch.zeros(2, 2), width=torch.tensor([[0.2, 0.9], [0.9, 0.2]])
    )
    noise = replace(_noise(0.1, 2), g_factor=g_factor)
    assert torch.equal(acquire(image, None, noise, (1.0, 1.0)), acquire(image, native, noise, (1.0, 1.0)))


def test_the_kernel_reaches_as_far_as_the_widest_one_that_may_be_drawn():
    for config in (ResolutionConfig(), SYNTHSEG, ResolutionConfig(native_probability=1.0)):
        params = config.draw(_random(3000, (0.8, 0.5)))
        limit = config.widest() * torch.tensor((0.8, 0.5))
        assert bool((params.sigma_mm <= limit * (1 + 1e-5)).all())
        assert np.allclose(params.reach_mm, REACH * limit.numpy())
    assert ResolutionConfig().widest() == pytest.approx(4 * 1.2 / FWHM)
    assert SYNTHSEG.widest() == pytest.approx(6.0)


def test_half_of_the_pictures_are_native_and_mild_losses_are_the_more_frequent():
    params = ResolutionConfig().draw(_random(4000, (1.0, 1.0)))
    factor = params.spacing_mm
    assert factor.min() >= 1 - 1e-6 and factor.max() <= 4 + 1e-5
    native = (factor == 1).all(1)
    assert abs(float(native.float().mean()) - 0.5) < 4 * 0.5 / 4000**0.5
    isotropic = factor[:, 0] == factor[:, 1]
    share = float(isotropic[~native].float().mean())
    assert abs(share - 0.5) < 4 * 0.5 / 2000**0.5
    reciprocal = 1 / factor[~native].amax(1).numpy()
    assert stats.kstest(reciprocal, stats.uniform(0.25, 0.75).cdf).pvalue > 1e-3
    share = (params.thickness_mm / params.spacing_mm)[:, 0].numpy()
    assert stats.kstest(share, stats.uniform(0.6, 0.6).cdf).pvalue > 1e-3
    assert torch.allclose(params.sigma_mm, params.thickness_mm / FWHM)


def test_synthseg_draws_the_published_resolutions():
    """Billot et al. 2023: 5 % native, then 10 % isotropic U(1, 4), else one axis U(1, 8)."""
    params = SYNTHSEG.draw(_random(20000, (1.0, 1.0, 1.0)))
    coarse = params.spacing_mm > 1
    number = coarse.sum(1)
    for axes, share in ((0, 0.05), (3, 0.095), (1, 0.855)):
        assert abs(float((number == axes).float().mean()) - share) < 4 * (share * (1 - share) / 20000) ** 0.5
    for axes, highest in ((3, 4.0), (1, 8.0)):
        factor = params.spacing_mm[number == axes].amax(1).numpy()
        assert stats.kstest(factor, stats.uniform(1, highest - 1).cdf).pvalue > 1e-3
    assert abs(float(coarse[number == 1].float().mean(0).max()) - 1 / 3) < 0.02
    place = ((params.thickness_mm - 1) / (params.spacing_mm - 1))[coarse].numpy()
    assert stats.kstest(place, "uniform").pvalue > 1e-3
    assert torch.allclose(params.sigma_mm[coarse], 0.75 * params.thickness_mm[coarse])
    assert bool((params.sigma_mm[~coarse] == 0.5).all())


@pytest.mark.parametrize("grid", [(1, 2), (1, 1), (33, 150), (1, 40, 30), (3, 5, 2)])
def test_acquisition_of_a_sample_does_not_depend_on_its_batch(grid):
    spacing = (3.0, 1.0, 0.8)[-len(grid) :]
    params = ResolutionConfig().draw(_random(6, spacing))
    noise = _noise(0.05, 6)
    image = torch.rand(6, *grid, generator=torch.Generator().manual_seed(0))
    whole = acquire(image, params, noise, spacing)
    assert whole.shape == image.shape and bool(whole.isfinite().all())
    for i in range(6):
        one = slice(i, i + 1)
        assert torch.equal(acquire(image[one], params[one], noise[one], spacing), whole[one])


def test_drawing_a_resolution_copies_nothing_from_the_host(nothing_from_the_host):
    random = _random(2, (4.0, 1.0, 1.0))
    with nothing_from_the_host:
        assert SYNTHSEG.draw(random).spacing_mm.shape == (2, 3)


def test_resolution_params_return_from_json_bit_for_bit():
    params = SYNTHSEG.draw(_random(3, (0.7, 0.3)))
    back = type(params).from_records(json.loads(json.dumps(params.to_records())))
    assert back.reach_mm == params.reach_mm
    for name in ("spacing_mm", "thickness_mm", "sigma_mm"):
        assert torch.equal(getattr(back, name), getattr(params, name))


def test_gradients_flow_through_acquisition():
    image = torch.rand(2, 40, 40, generator=torch.Generator().manual_seed(0)).requires_grad_()
    params = _resolution([[1.0], [1.9]], [[0.4], [1.0]])
    acquire(image, params, None, (1.0, 1.0)).sum().backward()
    assert bool(image.grad.isfinite().all())
    # Interpolation weights sum to 1, so the sum of all gradients is the number of pixels.
    assert float(image.grad.sum()) == pytest.approx(2 * 40 * 40, rel=1e-4)


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("isotropic", (0.5, 2.0)),
        ("single_axis", (3.0, 2.0)),
        ("uniform_in", "logarithm"),
        ("thickness_from", "thin air"),
        ("native_sigma", -0.5),
        ("thickness_share", (-1.0, 1.0)),
        ("native_probability", 2.0),
    ],
)
def test_an_invalid_value_is_refused_by_name(field, value):
    with pytest.raises(ValueError, match=field):
        ResolutionConfig(**{field: value})
