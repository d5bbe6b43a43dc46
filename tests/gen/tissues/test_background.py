"""Random regions."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from scipy.special import ndtr

from synthspine.gen.core.counter_rng import SampleRandom, sample_keys
from synthspine.gen.core.filters import smooth_field
from synthspine.gen.tissues.background import (
    FINEST_COARSE_MM,
    FINEST_FINE_MM,
    FINEST_MEDIUM_MM,
    BackgroundConfig,
    paint_background,
)
from synthspine.gen.tissues.palette import COARSE_REGIONS, FIRST_COARSE, FIRST_FINE, FIRST_MEDIUM, MUSCLE

SPACING = (1.0, 1.0)


def _draw(count, **changes):
    random = SampleRandom(sample_keys(1, torch.arange(count)))
    return BackgroundConfig(**changes).draw(random)


def _paint(params, grid=(96, 80)):
    codes = torch.zeros(len(params), *grid, dtype=torch.uint8)
    return paint_background(codes, params, SPACING)


def test_regions_equal_levels_of_the_fields_distribution():
    params = _draw(3)
    levels = []
    for name, size, finest in (
        ("coarse", params.coarse_mm, FINEST_COARSE_MM),
        ("medium", params.medium_mm, FINEST_MEDIUM_MM),
        ("fine", params.fine_mm, FINEST_FINE_MM),
    ):
        field = smooth_field(params.key, name, (96, 80), SPACING, size[:, None].expand(-1, 2), finest)
        levels.append(ndtr(field.double().numpy()))
    expected = FIRST_COARSE + np.floor(levels[0] * COARSE_REGIONS).astype(int)
    for level, share, first in (
        (levels[1], params.medium_share, FIRST_MEDIUM),
        (levels[2], params.fine_share, FIRST_FINE),
    ):
        tail = np.minimum(level, 1 - level) / (share.double().numpy()[:, None, None] / 2)
        expected = np.where(tail < 1, first + (tail < 0.4) + 2 * (level > 0.5), expected)
    # A few pixels lie on a level to within the precision of float32.
    assert (_paint(params).numpy() != expected).mean() < 1e-4


def test_spots_cover_the_share_that_was_drawn():
    params = _draw(40, medium_share=(0.3, 0.3), fine_share=(0.2, 0.2))
    painted = _paint(params)
    fine = (painted >= FIRST_FINE).float().mean()
    medium = ((painted >= FIRST_MEDIUM) & (painted < FIRST_FINE)).float().mean()
    assert fine == pytest.approx(0.2, abs=0.02) and medium == pytest.approx(0.3 * 0.8, abs=0.03)
    assert (painted < MUSCLE).all()


def test_coarse_regions_are_equally_probable():
    painted = _paint(_draw(200, medium_share=(0.0, 0.0), fine_share=(0.0, 0.0)))
    shares = torch.bincount(painted.flatten().int())[FIRST_COARSE:] / painted.numel()
    assert len(shares) == COARSE_REGIONS
    assert torch.allclose(shares, torch.tensor(1 / COARSE_REGIONS), atol=0.03)


def test_spots_that_no_sample_has_are_left_out():
    params = _draw(4, medium_share=(0.0, 0.0), fine_share=(0.0, 0.0))
    assert params.medium_mm is None and params.fine_share is None
    even = replace(_draw(4), medium_share=torch.zeros(4), fine_share=torch.zeros(4))
    assert torch.equal(_paint(params), _paint(even))


def test_without_regions_the_background_is_one_tissue():
    params = _draw(300, probability=0.5)
    painted = paint_background(torch.zeros(300, 8, 9, dtype=torch.uint8), params, SPACING)
    assert (painted[params.regions == 0] == FIRST_COARSE).all()
    assert 0.4 < params.regions.mean() < 0.6
    assert (paint_background(painted, None, SPACING) == FIRST_COARSE).all()


def test_draws_stay_in_their_ranges():
    params = _draw(500)
    for name in ("coarse_mm", "medium_mm", "fine_share"):
        low, high = getattr(BackgroundConfig(), name)
        values = getattr(params, name)
        assert low <= values.min() < low + 0.05 * (high - low)
        assert high - 0.05 * (high - low) < values.max() <= high


@pytest.mark.parametrize("name", ["coarse_mm", "medium_mm", "fine_mm"])
def test_a_field_that_its_grid_cannot_hold_is_refused(name):
    with pytest.raises(ValueError, match=name):
        BackgroundConfig(**{name: (1.0, 20.0)})
    with pytest.raises(ValueError, match=name):
        BackgroundConfig(**{name: (15.0, 200.0)})
