"""Velocity field and its exponential."""

import json

import numpy as np
import pytest
import torch
from displacements import displacement
from scipy import ndimage, stats

from synthspine.gen.core.counter_rng import SampleRandom, sample_keys
from synthspine.gen.geometry.deformation import (
    STRONGEST_VELOCITY,
    DeformationConfig,
    DeformationParams,
    _velocity,
    node_displacement,
)


def _params(count, velocity_mm, correlation_mm, seed=0):
    return DeformationParams(
        key=sample_keys(seed, torch.arange(count)),
        velocity_mm=torch.full((count,), velocity_mm),
        velocity_correlation_mm=torch.full((count,), correlation_mm),
    )


def _cell_determinants(moved, spacing_mm):
    """Jacobian determinants of x + u(x) by differences from pixel to next pixel, at every pixel."""
    dims = moved.shape[1]
    inner = (slice(None), slice(None), *[slice(None, -1)] * dims)
    columns = []
    for axis, spacing in enumerate(spacing_mm):
        step = moved.diff(dim=axis + 2) / spacing
        columns.append(step[tuple(slice(None, n) for n in moved[inner].shape)])
    jacobian = torch.stack(columns, dim=2).movedim((1, 2), (-2, -1)) + torch.eye(dims)
    return torch.linalg.det(jacobian)


@pytest.mark.parametrize(
    ("grid", "spacing_mm", "count"),
    [((192, 160), (1.0, 1.0), 48), ((96, 200), (2.0, 0.7), 24), ((12, 80, 72), (4.0, 1.0, 1.0), 6)],
)
@pytest.mark.parametrize("correlation_mm", [12.0, 24.0])
def test_nothing_folds_at_the_strongest_setting(grid, spacing_mm, count, correlation_mm):
    params = _params(count, STRONGEST_VELOCITY * correlation_mm, correlation_mm)
    moved = displacement(params, grid, spacing_mm)
    assert moved.abs().max() > correlation_mm
    assert _cell_determinants(moved, spacing_mm).min() > 0


def _euler(velocity_mm, steps):
    """Where points arrive that follow a velocity field, ``(D, *nodes)`` in grid steps, for a unit of time."""
    here = np.indices(velocity_mm.shape[1:]).astype(float)
    there = here.copy()
    for _ in range(steps):
        there += [
            ndimage.map_coordinates(part, there, order=1, mode="nearest") / steps for part in velocity_mm
        ]
    return there - here


def test_the_exponential_agrees_with_small_steps_along_a_fine_field():
    """96 mm in 24 steps of 4 mm and in 96 of 1 mm: the same field, known at more points."""
    params = _params(3, 5.0, 16.0)
    fine = _velocity(params, (97, 97), (1.0, 1.0)).flip(1) * 48
    moved = torch.stack(node_displacement(params, (25, 25), (4.0, 4.0)), dim=1) * 4
    for sample in range(3):
        expected = _euler(fine[sample].double().numpy(), steps=100)[:, ::4, ::4]
        error = moved[sample].numpy() - expected
        assert np.abs(expected).max() > 6
        assert np.sqrt((error**2).mean()) < 0.12 and np.abs(error).max() < 0.6


def test_the_exponential_of_a_constant_field_is_a_translation():
    params = _params(200, 0.5, 1e4)
    for moved in node_displacement(params, (9, 7), (4.0, 4.0)):
        still = moved - moved[:, :1, :1]
        assert still.abs().max() < 1e-2 and moved.abs().max() > 0.2


@pytest.mark.parametrize(("grid", "spacing_mm"), [((96, 80), (1.0, 1.0)), ((8, 48, 40), (4.0, 1.5, 0.8))])
def test_a_weak_field_moves_as_much_as_its_amplitude_says_on_every_axis(grid, spacing_mm):
    moved = displacement(_params(300, 0.5, 16.0), grid, spacing_mm)
    for axis in range(len(grid)):
        assert abs(float(moved[:, axis].std()) - 0.5) < 0.04


def test_a_sample_without_velocity_does_not_move():
    params = _params(2, 5.0, 16.0)
    params.velocity_mm[1] = 0
    moved = displacement(params, (40, 33), (1.0, 1.0))
    assert moved[0].abs().max() > 1
    assert torch.equal(moved[1], torch.zeros(2, 40, 33))


@pytest.mark.parametrize(("grid", "spacing_mm"), [((50, 41), (1.0, 1.0)), ((5, 30, 22), (4.0, 1.0, 1.0))])
def test_a_sample_moves_alike_alone_and_in_a_batch(grid, spacing_mm):
    config = DeformationConfig()
    params = config.draw(SampleRandom(sample_keys(5, torch.arange(16))))
    moved = displacement(params, grid, spacing_mm)
    for sample in (0, 7, 15):
        alone = config.draw(SampleRandom(sample_keys(5, torch.tensor([sample]))))
        assert torch.equal(displacement(alone, grid, spacing_mm)[0], moved[sample])


def test_amplitude_smoothness_and_probability_follow_the_configuration():
    config = DeformationConfig(probability=0.4, velocity_mm=(1.0, 4.0), velocity_correlation_mm=(14.0, 40.0))
    params = config.draw(SampleRandom(sample_keys(1, torch.arange(4000))))
    moved = params.velocity_mm > 0
    assert abs(float(moved.float().mean()) - 0.4) < 0.03
    assert stats.kstest(params.velocity_mm[moved].numpy(), stats.uniform(1.0, 3.0).cdf).pvalue > 1e-3
    smooth = params.velocity_correlation_mm.numpy()
    assert stats.kstest(smooth, stats.uniform(14.0, 26.0).cdf).pvalue > 1e-3


def test_a_probability_of_zero_leaves_the_feature_out():
    random = SampleRandom(sample_keys(1, torch.arange(3)))
    assert DeformationConfig(probability=0.0).draw(random) is None
    assert DeformationConfig(velocity_mm=(0.0, 0.0)).draw(random) is None


def test_the_record_comes_back_bit_for_bit():
    params = DeformationConfig().draw(SampleRandom(sample_keys(1, torch.arange(3))))
    again = DeformationParams.from_records(json.loads(json.dumps(params.to_records())))
    grid, spacing_mm = (30, 22), (1.0, 1.0)
    assert torch.equal(displacement(again, grid, spacing_mm), displacement(params, grid, spacing_mm))


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("probability", 1.5),
        ("velocity_correlation_mm", (6.0, 20.0)),
        ("velocity_correlation_mm", (16.0, 90.0)),
        ("velocity_mm", (0.0, 9.0)),
        ("velocity_mm", (-1.0, 2.0)),
    ],
)
def test_impossible_ranges_are_refused_by_name(field, value):
    with pytest.raises(ValueError, match=field):
        DeformationConfig(**{field: value})
