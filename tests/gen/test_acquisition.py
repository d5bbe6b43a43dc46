"""Resolution and noise."""

import numpy as np
import pytest
import torch
from scipy.ndimage import gaussian_filter1d

from gen import draw, preset
from gen.acquisition import acquire, axis_operators, rician
from gen.separable import apply_along


def _operator(count, factor, sigma, grid_mm=1.0):
    sampler, interpolator = axis_operators(
        count, grid_mm, torch.tensor([factor * grid_mm]), torch.tensor([sigma])
    )
    return (interpolator @ sampler)[0]


@pytest.mark.parametrize("factor", [1.0, 1.37, 2.0, 3.1, 4.0])
def test_the_resolution_operator_does_not_move_a_centroid(factor):
    count = 201
    at = torch.arange(count, dtype=torch.float32)
    for centre in (70.3, 100.0, 121.8):
        blob = torch.exp(-0.5 * ((at - centre) / 12) ** 2)
        result = _operator(count, factor, 0.5 * factor) @ blob
        assert abs(float((result * at).sum() / result.sum()) - centre) < 0.01


@pytest.mark.parametrize("factor", [1.0, 1.7, 4.0])
def test_the_resolution_operator_keeps_constants_and_the_middle_of_ramps(factor):
    operator = _operator(160, factor, 0.45 * factor)
    assert torch.allclose(operator @ torch.ones(160), torch.ones(160), atol=1e-5)
    ramp = torch.arange(160, dtype=torch.float32)
    assert torch.allclose((operator @ ramp)[20:-20], ramp[20:-20], atol=1e-3)


def test_the_resolution_operator_is_gaussian_blur_sampling_and_linear_interpolation():
    """At a factor of 2 the acquired points lie on the grid, where SciPy blurs."""
    count, factor, sigma = 161, 2.0, 1.3
    signal = np.random.default_rng(0).normal(size=count)
    samples = gaussian_filter1d(signal, sigma, truncate=6)[:: int(factor)]
    expected = np.interp(np.arange(count), np.arange(0, count, factor), samples)
    result = (_operator(count, factor, sigma).double() @ torch.from_numpy(signal)).numpy()
    assert np.abs(result - expected)[10:-10].max() < 1e-5


def test_native_resolution_without_blur_is_the_identity():
    assert torch.allclose(_operator(64, 1.0, 1e-4), torch.eye(64), atol=1e-6)


def test_physical_spacing_and_pixel_spacing_agree():
    assert torch.allclose(_operator(80, 2.0, 1.0), _operator(80, 2.0, 0.5, grid_mm=0.5), atol=1e-5)


def test_acquired_spacings_lie_in_the_range_and_some_are_native():
    params = draw(preset("spine"), 0, torch.arange(2000), maps=1).acquisition
    factor = params.spacing_mm
    assert factor.min() >= 1 - 1e-6 and factor.max() <= 4 + 1e-5
    # Half the samples are native; 4 standard deviations of a binomial share of 2000.
    assert abs(float((factor == 1).all(1).float().mean()) - 0.5) < 4 * 0.5 / 2000**0.5


def test_noise_has_the_moments_of_a_rician_distribution():
    params = draw(preset("spine"), 0, torch.arange(1), maps=1)
    for mean, level in ((0.0, 0.2), (1.0, 0.1)):
        artefacts = type(params.artefacts)(
            **{
                name: getattr(params.artefacts, name)
                for name in params.artefacts.__slots__
                if name != "noise"
            },
            noise=torch.tensor([level]),
        )
        noisy = rician(torch.full((1, 400, 400), mean), artefacts)
        second = mean**2 + 2 * level**2
        assert abs(float(noisy.square().mean()) - second) < 0.01 * second
        if mean == 0:
            assert abs(float(noisy.mean()) - level * np.sqrt(np.pi / 2)) < 0.01 * level


def test_noise_is_born_at_the_acquired_resolution():
    """Interpolated noise is correlated between neighbours, native noise is not."""
    params = draw(preset("spine"), 0, torch.arange(2), maps=1)
    acquisition = type(params.acquisition)(
        spacing_mm=torch.tensor([[1.0, 1.0], [4.0, 4.0]]), sigma_mm=torch.full((2, 2), 0.2)
    )
    artefacts = type(params.artefacts)(
        **{name: getattr(params.artefacts, name) for name in params.artefacts.__slots__ if name != "noise"},
        noise=torch.tensor([0.1, 0.1]),
    )
    image = acquire(torch.ones(2, 128, 128), acquisition, artefacts, (1.0, 1.0))
    image = image - image.mean((1, 2), keepdim=True)
    correlation = (image[:, 1:] * image[:, :-1]).mean((1, 2)) / image.square().mean((1, 2))
    assert abs(float(correlation[0])) < 0.05
    assert float(correlation[1]) > 0.6


def test_an_operator_along_an_axis_equals_a_matrix_product_of_numpy():
    rng = np.random.default_rng(1)
    values, matrix = rng.normal(size=(2, 3, 4, 5)), rng.normal(size=(2, 6, 4))
    result = apply_along(torch.from_numpy(values), torch.from_numpy(matrix), axis=1)
    assert np.allclose(result.numpy(), np.einsum("bij,bzjw->bziw", matrix, values))
