"""Affine map."""

import json

import pytest
import torch
from scipy import stats

from synthspine.gen.core.counter_rng import sample_keys
from synthspine.gen.core.drawing import Drawing
from synthspine.gen.geometry.affine import AffineConfig, AffineParams


def _draw(config, count, dims, seed=3):
    return config.draw(Drawing(sample_keys(seed, torch.arange(count)), spacing_mm=(1.0,) * dims))


def _still(**changed):
    none = (0.0, 0.0)
    values = {"scale": (1.0, 1.0), "rotation_deg": none, "tilt_deg": none, "shear": none}
    return AffineConfig(**(values | {"translation_mm": none} | changed))


@pytest.mark.parametrize("dims", [2, 3])
def test_without_any_range_the_matrix_is_the_unit_matrix(dims):
    params = _draw(_still(), 5, dims)
    assert torch.equal(params.matrix, torch.eye(dims).repeat(5, 1, 1))
    assert torch.equal(params.translation_mm, torch.zeros(5, dims))


@pytest.mark.parametrize("dims", [2, 3])
def test_rotations_keep_lengths_and_handedness(dims):
    matrix = _draw(_still(rotation_deg=(-180.0, 180.0), tilt_deg=(-90.0, 90.0)), 50, dims).matrix
    torch.testing.assert_close(matrix.mT @ matrix, torch.eye(dims).expand_as(matrix), atol=1e-6, rtol=0)
    torch.testing.assert_close(torch.linalg.det(matrix), torch.ones(50))


def test_the_rotation_in_the_plane_has_the_drawn_angle():
    matrix = _draw(_still(rotation_deg=(30.0, 30.0)), 1, 3).matrix[0]
    expected = torch.tensor([[1.0, 0.0, 0.0], [0.0, 3**0.5 / 2, -0.5], [0.0, 0.5, 3**0.5 / 2]])
    torch.testing.assert_close(matrix, expected)


@pytest.mark.parametrize("dims", [2, 3])
def test_shear_and_rotation_keep_the_volume_and_scale_sets_it(dims):
    sheared = _draw(_still(rotation_deg=(-90.0, 90.0), tilt_deg=(-9.0, 9.0), shear=(-0.5, 0.5)), 50, dims)
    torch.testing.assert_close(torch.linalg.det(sheared.matrix), torch.ones(50))
    config = AffineConfig(scale=(1.25, 1.25), shear=(-0.5, 0.5))
    torch.testing.assert_close(torch.linalg.det(_draw(config, 50, dims).matrix), torch.full((50,), 0.8**dims))


def test_scale_and_translation_are_uniform_in_their_ranges():
    params = _draw(_still(scale=(0.8, 1.2), translation_mm=(-7.0, 3.0)), 2000, 3)
    scale = 1 / params.matrix.diagonal(dim1=1, dim2=2)
    for axis in range(3):
        assert stats.kstest(scale[:, axis].numpy(), stats.uniform(0.8, 0.4).cdf).pvalue > 1e-3
        shift = params.translation_mm[:, axis].numpy()
        assert stats.kstest(shift, stats.uniform(-7.0, 10.0).cdf).pvalue > 1e-3


def test_rotation_and_shear_are_uniform_in_their_ranges():
    turn = _draw(_still(rotation_deg=(-15.0, 15.0)), 2000, 2).matrix
    degrees = torch.rad2deg(torch.atan2(turn[:, 1, 0], turn[:, 0, 0]))
    assert stats.kstest(degrees.numpy(), stats.uniform(-15.0, 30.0).cdf).pvalue > 1e-3
    shear = _draw(_still(shear=(-0.1, 0.3)), 2000, 2).matrix[:, 0, 1]
    assert stats.kstest(shear.numpy(), stats.uniform(-0.1, 0.4).cdf).pvalue > 1e-3


def test_a_sample_is_drawn_alike_alone_and_in_a_batch():
    batch = _draw(AffineConfig(), 9, 3)
    alone = AffineConfig().draw(Drawing(sample_keys(3, torch.tensor([6])), spacing_mm=(1.0, 1.0, 1.0)))
    assert torch.equal(alone.matrix, batch.matrix[6:7])
    assert torch.equal(alone.translation_mm, batch.translation_mm[6:7])


def test_the_record_comes_back_bit_for_bit():
    params = _draw(AffineConfig(), 4, 3)
    again = AffineParams.from_records(json.loads(json.dumps(params.to_records())))
    assert torch.equal(again.matrix, params.matrix)
    assert torch.equal(again.translation_mm, params.translation_mm)


@pytest.mark.parametrize(
    ("field", "value"),
    [("scale", (1.2, 0.8)), ("scale", (0.0, 1.0)), ("rotation_deg", (0.0, float("nan")))],
)
def test_impossible_ranges_are_refused_by_name(field, value):
    with pytest.raises(ValueError, match=field):
        AffineConfig(**{field: value})
