"""Field of view."""

import json

import numpy as np
import pytest
import torch
from scipy import stats

from synthspine.gen.core.anatomy import IGNORE, vertebra_code
from synthspine.gen.core.counter_rng import SampleRandom, sample_keys
from synthspine.gen.geometry.field_of_view import FieldOfViewConfig, FieldOfViewParams, limit_view

LOWEST = vertebra_code(1)


def _draw(count=40, **fields):
    return FieldOfViewConfig(**fields).draw(SampleRandom(sample_keys(2, torch.arange(count))))


def _params(lost_mm, greatest_share=0.49, keep_lowest=1.0):
    count = len(lost_mm)
    return FieldOfViewParams(
        lost_mm=torch.tensor(lost_mm),
        greatest_share=torch.full((count,), greatest_share),
        keep_lowest=torch.full((count,), keep_lowest),
    )


def _spines(count, grid=(60, 48), seed=0):
    """Random blocks of vertebrae, in half of the maps also the lowest."""
    generator = np.random.default_rng(seed)
    codes = np.zeros((count, *grid), dtype=np.uint8)
    for sample in codes:
        for rank in (3, 2, 1)[: generator.integers(2, 4)]:
            corner = [generator.integers(0, n) for n in grid]
            sample[tuple(slice(c, c + 1 + n // 5) for c, n in zip(corner, grid, strict=True))] = rank
    return torch.from_numpy(codes)


def _window(count, spacing, before, after, greatest_share, kept):
    """First and one past the last pixel seen of an axis: whole pixels are lost, and none that is kept."""
    least = greatest_share * count * spacing
    first = int(np.floor(min(before, least) / spacing + 1e-6))
    last = count - int(np.floor(min(after, least) / spacing + 1e-6))
    return (min(first, kept.min()), max(last, kept.max() + 1)) if len(kept) else (first, last)


@pytest.mark.parametrize("keep_lowest", [True, False])
@pytest.mark.parametrize(
    ("grid", "spacing_mm"), [((60, 48), (1.0, 1.0)), ((31, 90), (2.5, 0.6)), ((5, 33, 40), (4.0, 1.0, 1.7))]
)
def test_the_window_is_that_of_the_formula(grid, spacing_mm, keep_lowest):
    codes = _spines(40, grid)
    params = _draw(crop_foot=True, keep_lowest=keep_lowest)
    seen = limit_view(codes, params, spacing_mm).numpy()
    cropped = 0
    for sample in range(40):
        head, foot, front, back = params.lost_mm[sample].tolist()
        lowest = np.nonzero(codes[sample].numpy() == LOWEST)
        rows, columns = lowest[-2:] if keep_lowest else ([], [])
        top, bottom = _window(grid[-2], spacing_mm[-2], head, foot, 0.3, rows)
        left, right = _window(grid[-1], spacing_mm[-1], front, back, 0.3, columns)
        expected = np.full(grid, IGNORE, dtype=np.uint8)
        window = (..., slice(top, bottom), slice(left, right))
        expected[window] = codes[sample].numpy()[window]
        assert np.array_equal(seen[sample], expected)
        cropped += (seen[sample] == IGNORE).any()
    assert 12 < cropped < 28


@pytest.mark.parametrize("grid", [(60, 48), (4, 33, 40)])
def test_the_lowest_vertebra_stays_in_view_whole_whatever_is_drawn(grid):
    codes = _spines(500, grid, seed=3)
    params = _draw(500, probability=1.0, crop_mm=(0.0, 500.0), crop_foot=True, greatest_share=0.49)
    seen = limit_view(codes, params, (1.0,) * len(grid))
    assert torch.equal(seen == LOWEST, codes == LOWEST)
    lost = (seen != codes).flatten(1).any(1)
    assert lost.float().mean() > 0.9


def test_without_keeping_it_the_lowest_vertebra_can_be_lost():
    codes = torch.zeros(1, 20, 20, dtype=torch.uint8)
    codes[0, 17:, 8:12] = LOWEST
    lost_mm = [[0.0, 5.0, 0.0, 0.0]]
    assert not bool((limit_view(codes, _params(lost_mm, keep_lowest=0.0), (1.0, 1.0)) == LOWEST).any())
    assert torch.equal(limit_view(codes, _params(lost_mm), (1.0, 1.0)), codes)


def test_by_default_the_foot_end_stays_in_view():
    params = _draw(200, probability=1.0)
    assert bool((params.lost_mm[:, 1] == 0).all()) and bool((params.lost_mm[:, [0, 2, 3]] > 0).all())
    assert bool((_draw(200, probability=1.0, crop_foot=True).lost_mm > 0).all())


def test_lost_lengths_and_probability_follow_the_configuration():
    params = _draw(4000, probability=0.4, crop_mm=(10.0, 50.0))
    smaller = params.lost_mm[:, 0] > 0
    assert abs(float(smaller.float().mean()) - 0.4) < 0.03
    for side in (0, 2, 3):
        lost = params.lost_mm[smaller, side].numpy()
        assert stats.kstest(lost, stats.uniform(10.0, 40.0).cdf).pvalue > 1e-3


def test_a_whole_field_of_view_leaves_the_codes_as_they_are():
    codes = _spines(3)
    assert limit_view(codes, None, (1.0, 1.0)) is codes
    assert torch.equal(limit_view(codes, _params([[0.0] * 4] * 3), (1.0, 1.0)), codes)
    for never in ({"probability": 0.0}, {"crop_mm": (0.0, 0.0)}, {"greatest_share": 0.0}):
        assert _draw(3, **never) is None


@pytest.mark.parametrize("grid", [(1, 2), (2, 3), (1, 1, 1), (3, 2, 5)])
def test_of_a_tiny_grid_something_always_stays_in_view(grid):
    codes = torch.zeros(1, *grid, dtype=torch.uint8)
    seen = limit_view(codes, _params([[1e4] * 4]), (1.0,) * len(grid))
    assert bool((seen == 0).any())


def test_a_sample_is_seen_alike_alone_and_in_a_batch():
    codes, params = _spines(40), _draw(40)
    together = limit_view(codes, params, (1.0, 1.0))
    for sample in (0, 17, 39):
        alone = limit_view(codes[sample : sample + 1], params[sample : sample + 1], (1.0, 1.0))
        assert torch.equal(alone[0], together[sample])


def test_nothing_is_read_back_from_the_device():
    for grid in ((60, 48), (3, 60, 48)):
        codes = torch.empty(40, *grid, dtype=torch.uint8, device="meta")
        assert limit_view(codes, _draw().to("meta"), (1.0,) * len(grid)).dtype == torch.uint8


def test_the_record_comes_back_bit_for_bit():
    params = _draw(5)
    again = FieldOfViewParams.from_records(json.loads(json.dumps(params.to_records())))
    assert torch.equal(again.lost_mm, params.lost_mm)
    assert torch.equal(again.greatest_share, params.greatest_share)


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("probability", -0.1),
        ("crop_mm", (-1.0, 5.0)),
        ("crop_mm", (5.0, float("nan"))),
        ("greatest_share", 0.5),
    ],
)
def test_impossible_values_are_refused_by_name(field, value):
    with pytest.raises(ValueError, match=field):
        FieldOfViewConfig(**{field: value})
