"""Deformation and field of view."""

from dataclasses import replace

import pytest
import torch

from gen import draw, preset
from gen.anatomy import IGNORE
from gen.config import GeometryConfig
from gen.spatial import deform, displacement, identity_geometry


def _params(geometry, count=4, maps=3, dims=2):
    config = replace(preset("spine"), geometry=geometry, slice_spacing_mm=1.0)
    return draw(config, 5, torch.arange(count), maps=maps, dims=dims).spatial


def test_the_identity_leaves_every_code_in_place(bank):
    params = _params(identity_geometry())
    assert torch.equal(deform(bank, params, (1.0, 1.0)), bank[params.map_index])


def test_a_translation_moves_by_whole_millimetres(bank):
    params = _params(identity_geometry(), count=1)
    params = replace(params, translation_mm=torch.tensor([[3.0, -2.0]]))
    moved = deform(bank, params, (1.0, 1.0))[0]
    source = bank[params.map_index[0]]
    assert torch.equal(moved[:-3, 2:], source[3:, :-2])
    assert (moved[-3:] == IGNORE).all() and (moved[:, :2] == IGNORE).all()


def test_a_quarter_turn_moves_the_bottom_to_the_back():
    grid = torch.zeros(1, 41, 41, dtype=torch.uint8)
    grid[0, 35, 20] = 9
    params = replace(
        _params(identity_geometry(), count=1, maps=1), matrix=torch.tensor([[[0.0, 1.0], [-1.0, 0.0]]])
    )
    moved = deform(grid, params, (1.0, 1.0))[0]
    assert moved[20, 35] == 9


@pytest.mark.parametrize("dims", [2, 3])
def test_the_deformation_is_diffeomorphic(dims):
    """The Jacobian determinant of the integrated field is positive everywhere, at the greatest amplitude."""
    geometry = replace(identity_geometry(), velocity_mm=(5.0, 5.0), velocity_correlation_mm=(16.0, 24.0))
    grid = (96, 80) if dims == 2 else (24, 64, 56)
    moved = displacement(_params(geometry, count=12, dims=dims), grid, (1.0,) * dims)
    gradient = torch.stack(torch.gradient(moved, dim=list(range(2, 2 + dims))), dim=2)
    jacobian = gradient.movedim((1, 2), (-1, -2)) + torch.eye(dims)
    assert moved.abs().max() > 5
    assert torch.linalg.det(jacobian).min() > 0


def test_the_velocity_field_has_the_drawn_amplitude():
    geometry = replace(identity_geometry(), velocity_mm=(0.5, 0.5), velocity_correlation_mm=(16.0, 16.0))
    moved = displacement(_params(geometry, count=200), (96, 80), (1.0, 1.0))
    assert abs(float(moved.std()) - 0.5) < 0.03


def test_a_smaller_field_of_view_never_loses_the_foot_end(bank):
    geometry = replace(identity_geometry(), crop_probability=1.0, crop_mm=(10.0, 90.0))
    moved = deform(bank, _params(geometry, count=20), (1.0, 1.0))
    assert (moved[:, :9] == IGNORE).all()
    assert (moved[:, :, :9] == IGNORE).all() and (moved[:, :, -9:] == IGNORE).all()
    assert (moved[:, 30:, 26:54] != IGNORE).all()


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("scale", (1.2, 0.8)),
        ("scale", (0.0, 1.0)),
        ("rotation_deg", (0.0, float("nan"))),
        ("crop_probability", 1.5),
        ("velocity_correlation_mm", (6.0, 20.0)),
    ],
)
def test_impossible_ranges_are_refused_by_name(field, value):
    with pytest.raises(ValueError, match=field):
        GeometryConfig(**{field: value})
