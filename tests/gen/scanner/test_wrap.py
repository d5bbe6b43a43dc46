"""Wrap-around against numpy.roll."""

import numpy as np
import pytest
import torch

from synthspine.gen.scanner.wrap import WrapParams, wrap_around


@pytest.mark.parametrize("grid", [(40, 30), (2, 40, 30)])
@pytest.mark.parametrize("axis", [-2, -1])
def test_the_far_border_folds_over_and_fades(grid, axis):
    image = np.random.default_rng(0).random((1, *grid), dtype=np.float32)
    count = image.shape[axis]
    first, last = 6, 4
    width = [first / count, last / count]
    width = [*width, 0.0, 0.0] if axis == -2 else [0.0, 0.0, *width]
    params = WrapParams(strength=torch.tensor([0.4]), width=torch.tensor([width]))
    fade = np.zeros(count, dtype=np.float32)
    at_first, at_last = fade.copy(), fade.copy()
    at_first[:first] = 1 - np.arange(first) / first
    at_last[-last:] = 1 - np.arange(last)[::-1] / last
    if axis == -2:
        at_first, at_last = at_first[:, None], at_last[:, None]
    expected = image + 0.4 * (at_first * np.roll(image, first, axis) + at_last * np.roll(image, -last, axis))
    assert np.abs(wrap_around(torch.from_numpy(image), params).numpy() - expected).max() < 1e-6
