"""Blur of the tissue means."""

import numpy as np
import pytest
import torch
from scipy import ndimage, stats

from synthspine.gen.core.counter_rng import SampleRandom, sample_keys
from synthspine.gen.intensity.partial_volume import (
    PartialVolumeConfig,
    blur_tissues,
)

SPACING_MM = (1.0, 1.0)


def _draw(count=6, first=0, **changes):
    random = SampleRandom(sample_keys(7, torch.arange(first, first + count)))
    return PartialVolumeConfig(**changes).draw(random)


@pytest.mark.parametrize(
    ("grid", "spacing_mm"), [((80, 70), SPACING_MM), ((90, 30), (0.5, 0.8)), ((4, 20, 22), (3.0, 0.7, 1.0))]
)
def test_blur_equals_a_gaussian_filter_of_the_drawn_width(grid, spacing_mm):
    image = torch.rand(6, *grid)
    params = _draw()
    ours = blur_tissues(image, params, spacing_mm)
    inner = (slice(None), *(slice(6, -6) if size > 12 else slice(None) for size in grid))
    for index, sigma_mm in enumerate(params.sigma_mm.tolist()):
        sigma = [sigma_mm / spacing for spacing in spacing_mm]
        expected = image[index].double().numpy()
        for axis, width in enumerate(sigma):
            if width > 0:
                expected = ndimage.gaussian_filter1d(expected, width, axis=axis, truncate=6, mode="nearest")
        difference = np.abs(ours[index].numpy() - expected)[inner[1:]]
        # The kernel ends at 2 mm, where a Gaussian of 0.7 mm has lost 4e-3 of its weight.
        assert difference.max() < 5e-3


def test_constant_areas_stay_what_they_are():
    image = torch.full((6, 75, 9), 0.3)
    torch.testing.assert_close(blur_tissues(image, _draw(), SPACING_MM), image)


def test_draws_match_the_configuration():
    sigma = _draw(count=3000, probability=0.7, sigma_mm=(0.2, 0.5)).sigma_mm
    on = sigma > 0
    assert float(on.float().mean()) == pytest.approx(0.7, abs=0.03)
    assert stats.kstest(sigma[on], stats.uniform(0.2, 0.3).cdf).pvalue > 1e-3


def test_partial_volume_is_left_out_when_it_never_occurs():
    assert _draw(probability=0.0) is None
    assert _draw(sigma_mm=(0.0, 0.0)) is None
    image = torch.rand(2, 4, 5)
    assert blur_tissues(image, None, SPACING_MM) is image


def test_a_sample_without_partial_volume_keeps_its_picture():
    params = _draw(count=20, probability=0.5, sigma_mm=(0.4, 0.7))
    image = torch.rand(20, 70, 12)
    off = params.sigma_mm == 0
    blurred = blur_tissues(image, params, SPACING_MM)
    assert 0 < int(off.sum()) < 20
    torch.testing.assert_close(blurred[off], image[off], rtol=1e-6, atol=1e-7)
    assert ((blurred - image).abs().amax((1, 2))[~off] > 0.01).all()


@pytest.mark.parametrize("grid", [(33, 40), (130, 90), (1, 2), (3, 20, 17), (1, 9, 9)])
def test_a_sample_is_blurred_alike_alone_and_in_a_batch(grid):
    image, spacing_mm = torch.rand(5, *grid), (2.0, 1.0, 0.8)[-len(grid) :]
    batch = blur_tissues(image, _draw(count=5), spacing_mm)
    for i in (0, 3):
        alone = blur_tissues(image[i : i + 1], _draw(count=1, first=i), spacing_mm)
        assert torch.equal(alone[0], batch[i])


@pytest.mark.parametrize("sigma_mm", [(-0.1, 0.2), (0.2, 3.0)])
def test_a_width_that_the_kernel_cannot_hold_is_refused_by_name(sigma_mm):
    with pytest.raises(ValueError, match="sigma_mm"):
        PartialVolumeConfig(sigma_mm=sigma_mm)
