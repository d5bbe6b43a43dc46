"""The preset ``synthseg`` draws what SynthSeg's paper and public code say (Billot et al. 2023)."""

from dataclasses import fields

import numpy as np
import pytest
import torch
from scipy import stats

from synthspine.gen import draw, preset
from synthspine.gen.core.anatomy import CANAL, disc_code, vertebra_code
from synthspine.gen.tissues.palette import AIR, FAT, FIRST_COARSE

COUNT = 4000
GREY = 255
"""SynthSeg's grey values go to 255, ours to 1."""


@pytest.fixture(scope="module")
def slices():
    return draw(preset("synthseg"), 1, torch.arange(COUNT), maps=3)


@pytest.fixture(scope="module")
def volumes():
    return draw(preset("synthseg"), 1, torch.arange(COUNT), maps=3, dims=3)


def _is_uniform(values, low, high):
    values = np.asarray(values).ravel()
    assert len(values) > 100
    assert values.min() >= low - 1e-5 and values.max() <= high + 1e-5
    assert stats.kstest(values, stats.uniform(low, high - low).cdf).pvalue > 1e-3


def _is_share(flags, probability):
    flags = np.asarray(flags)
    assert abs(flags.mean() - probability) < 4 * np.sqrt(probability * (1 - probability) / flags.size)


def _parts(matrix):
    """Rotation matrix, shears and magnifications of maps from picture to anatomy, ``(B, D, D)``."""
    turn, rest = np.linalg.qr(matrix.double().numpy())
    signs = np.sign(np.diagonal(rest, axis1=1, axis2=2))
    turn, rest = turn * signs[:, None, :], rest * signs[:, :, None]
    scale = 1 / np.diagonal(rest, axis1=1, axis2=2)
    return turn, rest * scale[:, None, :], scale


def test_only_synthsegs_steps_are_drawn(volumes):
    present = {entry.name for entry in fields(volumes) if getattr(volumes, entry.name) is not None}
    steps = {"affine", "deformation", "flip", "contrast", "texture", "bias", "tone", "resolution"}
    assert present == steps | {"spacing_mm", "map_index"}
    assert volumes.contrast.physical is None and volumes.texture.coarse is None


def test_slices_are_scaled_turned_and_sheared_as_published(slices):
    turn, shear, scale = _parts(slices.affine.matrix)
    _is_uniform(scale, 0.8, 1.2)
    _is_uniform(np.rad2deg(np.arctan2(turn[:, 1, 0], turn[:, 0, 0])), -15, 15)
    _is_uniform(shear[:, 0, 1], -0.012, 0.012)
    assert not slices.affine.translation_mm.any()


def test_volumes_are_scaled_turned_and_sheared_about_every_axis(volumes):
    turn, shear, scale = _parts(volumes.affine.matrix)
    for axis in range(3):
        _is_uniform(scale[:, axis], 0.8, 1.2)
    first, second = np.arcsin(turn[:, 1, 0]), np.arctan2(turn[:, 2, 0], turn[:, 0, 0])
    in_plane = np.arctan2(-turn[:, 1, 2], turn[:, 1, 1])
    for angle in (first, second, in_plane):
        _is_uniform(np.rad2deg(angle), -15, 15)
    for i, j in ((0, 1), (0, 2), (1, 2)):
        _is_uniform(shear[:, i, j], -0.012, 0.012)


def test_velocities_deviate_by_up_to_4_voxels_on_a_grid_of_a_25th_of_the_shape(slices):
    _is_uniform(slices.deformation.velocity_mm, 0, 4)
    nodes = 0.04 * 256
    assert (slices.deformation.velocity_correlation_mm == 256 / nodes / 2).all()


def test_volumes_are_flipped_from_left_to_right_half_of_the_time(slices, volumes):
    assert slices.flip is None
    _is_share(volumes.flip.left_right, 0.5)
    assert volumes.flip.head_foot is None and volumes.flip.front_back is None


@pytest.mark.parametrize("code", [vertebra_code(1), disc_code(1), CANAL, AIR, FAT, FIRST_COARSE])
def test_means_and_deviations_of_tissues_are_uniform(slices, code):
    _is_uniform(slices.contrast.mean[:, code] * GREY, 0, 250)
    _is_uniform(slices.texture.white[:, code] * GREY, 0, 30)


def test_tissues_have_means_of_their_own_and_ranks_share_theirs(slices):
    mean = slices.contrast.mean.double()
    assert torch.equal(mean[:, vertebra_code(1)], mean[:, vertebra_code(5)])
    others = [vertebra_code(1), disc_code(1), CANAL, FAT, FIRST_COARSE]
    correlation = np.corrcoef(mean[:, others].T.numpy()) - np.eye(len(others))
    assert np.abs(correlation).max() < 4 / np.sqrt(COUNT)


def test_95_of_100_have_a_bias_field_whose_deviation_is_uniform(slices):
    on = slices.bias.log_std > 0
    _is_share(on, 0.95)
    _is_uniform(slices.bias.log_std[on], 0, 0.7)


def test_the_logarithm_of_gamma_is_normal_and_gamma_comes_before_the_acquisition(slices):
    assert slices.gamma is None
    logarithm = slices.tone.gamma.log().numpy()
    assert stats.kstest(logarithm, stats.norm(0, 0.5).cdf).pvalue > 1e-3
    # Sharper than the test of the whole distribution: 4 standard errors of a standard deviation.
    assert abs(logarithm.std() - 0.5) < 4 * 0.5 / np.sqrt(2 * COUNT)


@pytest.mark.parametrize("dims", [2, 3])
def test_resolution_is_native_in_5_isotropic_in_10_of_the_rest_else_coarse_along_one_axis(request, dims):
    params = request.getfixturevalue("slices" if dims == 2 else "volumes")
    grid_mm = torch.tensor(params.spacing_mm)
    factor = params.resolution.spacing_mm / grid_mm
    coarse = factor > 1
    native, everywhere, single = (coarse.sum(1) == axes for axes in (0, dims, 1))
    assert (native | everywhere | single).all()
    _is_share(native, 0.05)
    _is_share(everywhere[~native], 0.1)
    assert (factor[everywhere].amax(1) - factor[everywhere].amin(1) < 1e-5).all()
    _is_uniform(factor[everywhere][:, 0], 1, 4)
    _is_uniform(factor[single].amax(1), 1, 8)
    for axis in range(dims):
        _is_share(coarse[single, axis], 1 / dims)


def test_slices_are_as_thick_as_anything_from_the_grid_to_the_spacing(volumes):
    grid_mm = torch.tensor(volumes.spacing_mm)
    spacing, thickness = volumes.resolution.spacing_mm, volumes.resolution.thickness_mm
    coarse = spacing > grid_mm
    assert torch.equal(thickness[~coarse], spacing[~coarse])
    share = (thickness - grid_mm) / (spacing - grid_mm).clamp(min=1e-6)
    _is_uniform(share[coarse & (spacing > 1.1 * grid_mm)], 0, 1)


def test_the_blur_is_three_quarters_of_the_thickness_or_half_a_voxel_where_nothing_is_lost(volumes):
    grid_mm = torch.tensor(volumes.spacing_mm)
    spacing, thickness = volumes.resolution.spacing_mm, volumes.resolution.thickness_mm
    published = 0.75 * torch.minimum(spacing, thickness)
    expected = torch.where(spacing > grid_mm, published, 0.5 * grid_mm)
    torch.testing.assert_close(volumes.resolution.sigma_mm, expected, rtol=1e-6, atol=0)
