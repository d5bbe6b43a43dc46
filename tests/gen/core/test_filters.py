"""Separable operators and random fields."""

import numpy as np
import pytest
import torch
from scipy import ndimage, stats

from synthspine.gen.core.counter_rng import sample_keys
from synthspine.gen.core.filters import gaussian_blur, smooth_field


@pytest.mark.parametrize("shape", [(2, 97, 150), (2, 5, 70, 131), (1, 1, 2), (2, 40, 33)])
def test_blur_equals_scipy_away_from_borders(shape):
    image = torch.from_numpy(np.random.default_rng(0).normal(size=shape).astype(np.float32))
    spacing = (3.0, 1.0, 0.5)[-len(shape) + 1 :]
    sigma_mm = torch.tensor([[0.9, 0.8, 0.7][: len(shape) - 1]] * shape[0])
    blurred = gaussian_blur(image, sigma_mm, spacing, reach_mm=6.0)
    for sample in range(shape[0]):
        sigma = [float(s) / g for s, g in zip(sigma_mm[sample], spacing, strict=True)]
        expected = ndimage.gaussian_filter(image[sample].double().numpy(), sigma, truncate=8)
        inner = tuple(slice(12, -12) if n > 30 else slice(None) for n in shape[1:])
        if all(n > 30 for n in shape[1:]):
            assert np.abs(blurred[sample].numpy() - expected)[inner].max() < 1e-5


def test_blur_keeps_constants_up_to_the_border_and_zero_width_changes_nothing():
    image = torch.rand(2, 90, 140, generator=torch.Generator().manual_seed(0))
    wide = torch.tensor([[2.5, 0.4]] * 2)
    assert torch.allclose(
        gaussian_blur(torch.ones_like(image), wide, (1.0, 1.0), 8.0), torch.ones(1), atol=1e-6
    )
    assert torch.equal(gaussian_blur(image, torch.zeros(2, 2), (1.0, 1.0), 8.0), image)


@pytest.mark.parametrize("grid", [(90, 140), (9, 9), (5, 101), (33, 7), (3, 33, 75), (1, 2)])
def test_blur_of_a_sample_does_not_depend_on_its_batch(grid):
    image = torch.rand(5, *grid, generator=torch.Generator().manual_seed(0))
    sigma = torch.rand(5, len(grid), generator=torch.Generator().manual_seed(1)) * 3
    spacing_mm = (4.0, 1.0, 0.7)[-len(grid) :]
    together = gaussian_blur(image, sigma, spacing_mm, 8.0)
    for place in range(5):
        one = slice(place, place + 1)
        assert torch.equal(gaussian_blur(image[one], sigma[one], spacing_mm, 8.0)[0], together[place])


@pytest.mark.parametrize(
    ("count", "spacing", "smallest"), [(320, 1.0, 24.0), (320, 1.0, 1.5), (96, 2.4, 24.0)]
)
@pytest.mark.parametrize("widest", [4, 5])
def test_the_widest_field_has_its_correlation_up_to_the_borders(count, spacing, smallest, widest):
    """The kernel ends with the coarse grid, which costs up to 0.08; 40000 pairs add up to 0.02 of noise."""
    fields, length = 40000, widest * smallest
    field = smooth_field(
        sample_keys(0, torch.arange(fields)),
        "x",
        (count,),
        (spacing,),
        torch.full((fields, 1), length),
        smallest,
        widest=widest,
    )
    for start in (0, count // 4, count // 2):
        for steps in (count // 4, count // 2 - 1):
            measured = np.corrcoef(field[:, start], field[:, start + steps])[0, 1]
            assert abs(measured - np.exp(-((steps * spacing) ** 2) / (4 * length**2))) < 0.1


@pytest.mark.parametrize("correlation_mm", [1.5, 3.0, 6.0])
def test_a_field_has_unit_variance_and_the_asked_correlation(correlation_mm):
    """A kernel of standard deviation s gives the correlation exp(-d^2 / (4 s^2)); 400 independent fields."""
    grid, count = (140, 30), 400
    keys = sample_keys(0, torch.arange(count))
    field = smooth_field(keys, "x", grid, (1.0, 1.0), torch.full((count, 2), correlation_mm), 1.5)
    assert field.shape == (count, *grid)
    for row, column in ((0, 0), (31, 15), (32, 29), (139, 3)):
        assert stats.kstest(field[:, row, column].numpy(), "norm").pvalue > 1e-4
    for row in (28, 70):
        for distance in (2, 4, 9):
            measured = np.corrcoef(field[:, row, 10], field[:, row + distance, 10])[0, 1]
            # 4 standard deviations of a correlation of 400 pairs.
            assert abs(measured - np.exp(-(distance**2) / (4 * correlation_mm**2))) < 4 / np.sqrt(count)


def test_a_field_in_bands_does_not_depend_on_its_batch_and_has_no_seams():
    keys = sample_keys(3, torch.arange(6))
    correlation = torch.linspace(1.5, 6.0, 6).unsqueeze(1).expand(-1, 2)
    field = smooth_field(keys, "x", (200, 256), (1.0, 1.0), correlation, 1.5)
    for place in range(6):
        one = slice(place, place + 1)
        assert torch.equal(
            smooth_field(keys[one], "x", (200, 256), (1.0, 1.0), correlation[one], 1.5)[0], field[place]
        )
    # Neighbours across the border of two blocks differ no more than others do.
    steps = (field[5, 1:] - field[5, :-1]).abs().amax(1)
    assert steps[31::32].max() < 1.5 * steps.median()


def test_axes_before_the_blurred_ones_are_not_mixed_and_far_points_count_for_nothing():
    image = torch.zeros(2, 3, 40, 70)
    image[:, 1, 20, 30] = 1.0
    blurred = gaussian_blur(image, torch.full((2, 2), 2.5), (1.0, 1.0), 6.0)
    assert not blurred[:, [0, 2]].any() and (blurred[:, 1, 14:27, 24:37] > 0).all()
    blurred[:, 1, 14:27, 24:37] = 0
    assert not blurred.any()
    assert torch.equal(
        gaussian_blur(image[:, 1], torch.full((2, 2), 2.5), (1.0, 1.0), 6.0),
        gaussian_blur(image, torch.full((2, 2), 2.5), (1.0, 1.0), 6.0)[:, 1],
    )
