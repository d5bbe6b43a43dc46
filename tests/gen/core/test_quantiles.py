"""Quantiles from integer counts."""

import numpy as np
import pytest
import torch

from synthspine.gen.core.quantiles import LEVELS, quantiles


def _values(*shape):
    return torch.from_numpy(np.random.default_rng(0).gamma(2.0, size=shape)).float()


@pytest.mark.parametrize("shape", [(3, 50, 100), (2, 5, 30, 40)])
def test_quantiles_agree_with_numpy_to_a_level(shape):
    values = _values(*shape)
    counted = torch.rand(shape, generator=torch.Generator().manual_seed(1)) > 0.3
    for mask in (None, counted):
        low, high = quantiles(values, mask, torch.full((shape[0],), 0.02), torch.full((shape[0],), 0.95))
        for i in range(shape[0]):
            width = float(values[i].max() - values[i].min()) / LEVELS
            seen = (values[i] if mask is None else values[i][mask[i]]).numpy()
            expected = np.quantile(seen, [0.02, 0.95])
            assert abs(float(low[i]) - expected[0]) <= width
            assert abs(float(high[i]) - expected[1]) <= width


def test_shares_of_nothing_and_of_everything_are_the_extremes():
    values = _values(2, 40, 40)
    low, high = quantiles(values, None, torch.zeros(2), torch.ones(2))
    assert torch.equal(low.flatten(), values.amin((1, 2)))
    assert torch.allclose(high.flatten(), values.amax((1, 2)), rtol=1e-6)


def test_a_constant_picture_and_one_without_a_pixel_that_counts_have_finite_quantiles():
    nothing = torch.zeros(1, 5, 6, dtype=torch.bool)
    for values, counted in ((torch.full((1, 5, 6), 0.3), None), (_values(1, 5, 6), nothing)):
        low, high = quantiles(values, counted, torch.tensor([0.1]), torch.tensor([0.9]))
        assert bool(low.isfinite().all() and high.isfinite().all())


def test_quantiles_of_a_sample_do_not_depend_on_its_batch():
    values, counted = _values(5, 33, 20), _values(5, 33, 20) > 1
    share = torch.linspace(0.0, 0.1, 5)
    low, high = quantiles(values, counted, share, 1 - share)
    for i in range(5):
        one = slice(i, i + 1)
        alone = quantiles(values[one], counted[one], share[one], 1 - share[one])
        assert torch.equal(alone[0], low[one]) and torch.equal(alone[1], high[one])
