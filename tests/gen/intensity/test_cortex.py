"""Distances to borders, and the lines that are drawn on them."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from scipy.ndimage import distance_transform_edt
from scipy.special import ndtr

from synthspine.gen.core.anatomy import BACKGROUND, CANAL, IGNORE, MAX_RANK, disc_code, vertebra_code
from synthspine.gen.core.counter_rng import SampleRandom, sample_keys
from synthspine.gen.intensity import cortex
from synthspine.gen.intensity.cortex import (
    BLUR_MM,
    CortexConfig,
    add_cortex,
    depths,
)
from synthspine.gen.tissues.palette import FIRST_COARSE, MODIC, SACRAL_DISC, SACRUM

COUNT = 3000
VERTEBRA, DISC, CANAL_AXIS = range(3)
ALWAYS = CortexConfig(probability=1.0, end_plate_probability=1.0)


def _random(count=COUNT, seed=3):
    return SampleRandom(sample_keys(seed, torch.arange(count)))


def _depths(codes, spacing_mm=(1.0, 1.0), painted=None):
    codes = torch.as_tensor(codes, dtype=torch.uint8)
    return depths(codes, codes if painted is None else painted, spacing_mm)


def _edt(mask, spacing_mm):
    """Signed distance to the border, which lies half a pixel from the pixels on either side, mm."""
    half = sum(spacing_mm) / len(spacing_mm) / 2
    inside = distance_transform_edt(mask, sampling=spacing_mm) - half
    return np.where(mask, inside, half - distance_transform_edt(~mask, sampling=spacing_mm))


@pytest.mark.parametrize("axis", [1, 2])
@pytest.mark.parametrize(("spacing", "error"), [(1.0, 0.05), (0.5, 0.3), (0.7, 0.2), (2.0, 0.1), (0.3, 0.35)])
def test_depth_is_the_distance_to_a_straight_border(axis, spacing, error):
    codes = torch.zeros(1, 80, 80, dtype=torch.uint8)
    codes.narrow(axis, 40, 40).fill_(vertebra_code(1))
    depth = _depths(codes, (spacing, spacing))[0, VERTEBRA].select(2 - axis, 7)
    expected = (torch.arange(80) - 39.5) * spacing
    near = expected.abs() < 3.6
    assert (depth - expected)[near].abs().max() < error
    assert torch.allclose(depth, -depth.flip(0), atol=1e-5)


def test_more_structures_than_share_an_integer_have_distances_too(monkeypatch):
    codes = torch.zeros(1, 40, 40, dtype=torch.uint8)
    codes[:, :, 20:] = CANAL
    three = _depths(codes)
    more = cortex.STRUCTURE_CODES | {"sacrum": (61, 61), "liquor": (CANAL, CANAL)}
    monkeypatch.setattr(cortex, "STRUCTURE_CODES", more)
    monkeypatch.setattr(cortex, "STRUCTURES", tuple(more))
    five = _depths(codes)
    assert torch.equal(five[:, :3], three) and torch.equal(five[:, 4], three[:, CANAL_AXIS])
    assert (five[:, 3] < -5).all()


def test_depth_rises_towards_the_inside_and_ends_within_three_standard_deviations_of_the_blur():
    codes = torch.zeros(1, 64, 64, dtype=torch.uint8)
    codes[:, :, 32:] = CANAL
    row = _depths(codes)[0, CANAL_AXIS, 5]
    assert (row.diff() >= 0).all() and (row.diff()[27:35] > 0.5).all()
    assert 5.5 <= float(row.max()) <= 3 * BLUR_MM and float(row.min()) == -float(row.max())


@pytest.mark.parametrize("spacing", [(1.0, 1.0), (0.6, 0.6), (1.0, 0.8)])
def test_depth_agrees_with_the_distance_transform_on_smooth_shapes(spacing):
    fine = 7
    rows, columns = ((np.arange(128 * fine) - (128 * fine - 1) / 2) * step / fine for step in spacing)
    mask = np.hypot(rows[:, None] / 1.4, columns[None]) < 24
    expected = _edt(mask, [step / fine for step in spacing])[fine // 2 :: fine, fine // 2 :: fine]
    coarse = mask[fine // 2 :: fine, fine // 2 :: fine]
    depth = _depths((coarse * disc_code(2))[None], spacing)[0, DISC].numpy()
    error = (depth - expected)[np.abs(expected) < 3]
    assert abs(error.mean()) < 0.1 and error.std() < 0.16
    # What is left is the coarse mask's own: the blur cannot know where in a pixel the border ran.
    assert np.quantile(np.abs(error), 0.95) < 0.3


def test_the_inverse_agrees_with_the_normal_distribution():
    from synthspine.gen.intensity.cortex import _distance

    exact = torch.linspace(-2, 2, 401)
    excess = torch.from_numpy(ndtr(exact.numpy()) - 0.5).float() * 1024
    assert (_distance(excess, 512, 1.0) - exact).abs().max() < 0.06


def test_each_structure_has_its_own_depth_and_every_rank_counts():
    for code, axis in [(vertebra_code(1), 0), (vertebra_code(MAX_RANK), 0), (disc_code(1), 1),
                       (disc_code(MAX_RANK), 1), (CANAL, 2)]:  # fmt: skip
        depth = _depths(torch.full((1, 9, 9), code, dtype=torch.uint8))[0, :, 4, 4]
        assert [float(d) > 0 for d in depth] == [i == axis for i in range(3)]
    for code in (BACKGROUND, IGNORE, FIRST_COARSE, MAX_RANK + 1):
        assert (_depths(torch.full((1, 9, 9), code, dtype=torch.uint8)) < -5).all()


def test_painted_sacrum_counts_as_bone_only_where_nothing_is_labelled():
    codes = torch.zeros(1, 40, 40, dtype=torch.uint8)
    codes[:, :, 20:] = CANAL
    painted = torch.full_like(codes, SACRUM)
    painted[:, 20:] = SACRAL_DISC
    depth = _depths(codes, painted=painted)[0]
    assert depth[VERTEBRA, 5, 5] > 5 and depth[DISC, 35, 5] > 5
    assert depth[VERTEBRA, 5, 35] < -5 and depth[CANAL_AXIS, 5, 35] > 5
    lesion = torch.full_like(codes, MODIC)
    whole = torch.full_like(codes, vertebra_code(2))
    assert torch.equal(_depths(whole, painted=lesion), _depths(whole))


def test_the_edge_of_the_picture_is_no_border():
    codes = torch.full((1, 1, 2), vertebra_code(3), dtype=torch.uint8)
    assert (_depths(codes)[:, VERTEBRA] > 5).all()
    codes[..., 1] = BACKGROUND
    assert torch.allclose(_depths(codes)[0, VERTEBRA, 0], torch.tensor([0.5, -0.5]), atol=0.05)


def test_depth_in_3d_is_that_of_each_slice(bank):
    assert torch.equal(_depths(bank[None], (4.0, 1.0, 1.0))[0], _depths(bank).transpose(0, 1))


def _lined(image, depth, params, behind_mm=0.0):
    """The image with lines; every pixel lies ``behind_mm`` behind the canal."""
    return add_cortex(image, depth, torch.full_like(image, behind_mm), params)


def _image(bank):
    return torch.rand(bank.shape, generator=torch.Generator().manual_seed(1)), _depths(bank)


def _params(count=3, **changes):
    return replace(ALWAYS.draw(_random(count)), **changes)


def test_lines_follow_their_formula(bank):
    image, depth = _image(bank)
    params = _params(end_plates=None)
    numbers = {n: getattr(params, n).double().numpy() for n in ("strength", "level", "width_mm", "offset_mm")}
    place = depth.double().numpy()
    facing = np.clip((place[:, DISC] + 3) / 2, 0, 1)
    place[:, VERTEBRA] -= facing * params.facing_mm.double().numpy()[:, None, None]
    distance = (place - numbers["offset_mm"][:, :, None, None]) / numbers["width_mm"][:, None, None, None]
    profile = np.clip(1 - distance**2 / 9, 0, None) ** 4
    assert np.abs(profile - np.exp(-(distance**2) / 2)).max() < 0.045
    strength = (profile * numbers["strength"][:, :, None, None]).max(1)
    before = image.double().numpy()
    expected = before - strength * np.clip(before - numbers["level"][:, None, None], 0, None)
    assert np.abs(_lined(image, depth, params).numpy() - expected).max() < 1e-5


def test_lines_darken_the_border_alone_and_never_brighten(bank):
    image, depth = _image(bank)
    params = _params(end_plates=None, strength=torch.ones(3, 3), level=torch.zeros(3))
    lined = _lined(image, depth, params)
    assert (lined <= image).all()
    far = (depth.abs() > 5.5).all(1)
    assert far.any() and torch.equal(lined[far], image[far])
    on_line = (depth[:, CANAL_AXIS] - params.offset_mm[:, CANAL_AXIS, None, None]).abs() < 0.2
    assert (lined[on_line] < 0.15 * image[on_line]).all()


def test_the_line_of_a_vertebra_lies_farther_out_where_it_faces_a_disc():
    codes = torch.zeros(1, 60, 60, dtype=torch.uint8)
    codes[:, 10:30, 10:50], codes[:, 32:40, 10:50] = vertebra_code(2), disc_code(2)
    params = _params(1, strength=torch.tensor([[1.0, 0.0, 0.0]]), level=torch.zeros(1), end_plates=None,
                     offset_mm=torch.full((1, 3), 0.5), facing_mm=torch.tensor([-2.0]))  # fmt: skip
    lined = _lined(torch.ones(codes.shape), _depths(codes), params)[0]
    # Rows 29 and 30 meet at the border: .5 mm inside of it is row 29, 1.5 mm outside of it row 31.
    assert int(lined[20:35, 30].argmin()) + 20 == 31
    assert int(lined[20, 5:20].argmin()) + 5 == 10 and int(lined[5:20, 30].argmin()) + 5 == 10


@pytest.mark.parametrize(("behind_mm", "share"), [(0.0, 0.0), (-25.0, 0.0), (-29.0, 0.5), (-40.0, 1.0)])
def test_the_line_of_a_vertebra_is_wider_at_the_front_of_bodies_and_stays_where_it_is(behind_mm, share):
    codes = torch.zeros(1, 60, 60, dtype=torch.uint8)
    codes[:, 20:40, 20:] = vertebra_code(2)
    params = _params(1, strength=torch.tensor([[1.0, 0.0, 0.0]]), level=torch.zeros(1), end_plates=None,
                     offset_mm=torch.full((1, 3), -0.5), width_mm=torch.tensor([0.8]),
                     front_widening=torch.tensor([1.5]))  # fmt: skip
    row = _lined(torch.ones(codes.shape), _depths(codes), params, behind_mm)[0, 30]
    # Pixel 19 lies .5 mm outside of the border, at the middle of the line; the next ones lie 1 and 2 mm away.
    width = 0.8 / (1 - share / 3)
    expected = 1 - (1 - (torch.tensor([0.0, 1.0, 2.0]) / width / 3) ** 2).clamp(min=0) ** 4
    assert (row[19:22] - expected).abs().max() < 0.06 and (row[17:20].flip(0) - expected).abs().max() < 0.06


def test_the_front_of_a_body_that_faces_a_disc_has_the_ordinary_line():
    codes = torch.zeros(1, 60, 60, dtype=torch.uint8)
    codes[:, 10:30, 10:50], codes[:, 30:40, 10:50] = vertebra_code(2), disc_code(2)
    params = _params(1, strength=torch.tensor([[1.0, 0.0, 0.0]]), end_plates=None)
    plain = _lined(torch.ones(codes.shape), _depths(codes), params)[0]
    front = _lined(torch.ones(codes.shape), _depths(codes), params, -50.0)[0]
    assert torch.equal(plain[29:, 15:45], front[29:, 15:45]) and not torch.equal(plain, front)


def test_an_end_plate_lies_between_vertebra_and_disc_and_may_be_bright(bank):
    depth = _depths(bank)
    plates = replace(_params().end_plates, strength=torch.ones(3), level=torch.full((3,), 0.6))
    plates = replace(plates, offset_mm=torch.full((3,), -0.5), width_mm=torch.full((3,), 0.8))
    dark, bright = torch.zeros(bank.shape), torch.ones(bank.shape)
    params = _params(strength=torch.zeros(3, 3), end_plates=plates)
    lit = _lined(dark, depth, params)
    rows, columns = np.nonzero(bank[0].numpy() == disc_code(1))
    middle = int(columns.mean())
    # The lower border of the vertebra above the disc, and its front border halfway up.
    assert lit[0, rows.min(), middle] > 0.5 and _lined(bright, depth, params)[0, rows.min(), middle] < 0.7
    assert (lit[0, rows.min() - 9, :] == 0).all()
    assert lit.max() <= 0.6 + 1e-6


def test_without_lines_the_image_stays_as_it_is(bank):
    image, depth = _image(bank)
    assert _lined(image, depth, None) is image
    off = CortexConfig(probability=1e-9, end_plate_probability=1e-9).draw(_random(3))
    assert torch.equal(_lined(image, depth, off), image)
    one = _params(strength=torch.tensor([[0.0] * 3, [1.0] * 3, [0.0] * 3]), end_plates=None)
    changed = (_lined(image, depth, one) != image).flatten(1).any(1)
    assert changed.tolist() == [False, True, False]


def test_a_configuration_without_lines_draws_nothing():
    assert CortexConfig(probability=0, end_plate_probability=0).draw(_random()) is None
    assert CortexConfig(end_plate_probability=0).draw(_random()).end_plates is None


def test_drawn_lines_keep_to_their_ranges_and_probabilities():
    config = CortexConfig()
    params = config.draw(_random())
    plates = params.end_plates
    for part, prefix in ((params, ""), (plates, "end_plate_")):
        for name in ("strength", "level", "width_mm"):
            low, high = getattr(config, prefix + name)
            values = getattr(part, name)
            values = values[values != 0] if name == "strength" else values
            assert low <= values.min() < low + 0.05 * (high - low)
            assert high - 0.05 * (high - low) < values.max() <= high
    for values, (low, high) in zip(
        (*params.offset_mm.unbind(1), plates.offset_mm, params.facing_mm, params.front_widening),
        (
            *(getattr(config, f"{name}_offset_mm") for name in ("vertebra", "disc", "canal", "end_plate")),
            config.facing_mm,
            config.front_widening,
        ),
        strict=True,
    ):
        assert low <= values.min() < low + 0.05 * (high - low)
        assert high - 0.05 * (high - low) < values.max() <= high
    assert abs(float((params.strength[:, 0] > 0).float().mean()) - 0.9) < 0.03
    assert abs(float((plates.strength > 0).float().mean()) - 0.3) < 0.04


def test_a_sample_alone_is_the_same_as_in_a_batch(bank):
    image, depth = _image(bank)
    whole = _lined(image, depth, _params())
    for i in range(3):
        one = slice(i, i + 1)
        assert torch.equal(_depths(bank[one]), depth[one])
        assert torch.equal(_lined(image[one], depth[one], _params()[one]), whole[one])


@pytest.mark.parametrize("grid", [(1, 2), (7, 1), (3, 5, 9), (1, 33, 31)])
def test_it_runs_on_any_grid_and_reads_no_value_on_the_host(grid):
    spacing = (4.0, 1.0, 1.0)[-len(grid) :]
    codes = torch.zeros(3, *grid, dtype=torch.uint8)
    lined = _lined(torch.ones(3, *grid), _depths(codes, spacing), _params())
    assert lined.shape == (3, *grid) and torch.isfinite(lined).all()
    on_meta = depths(codes.to("meta"), codes.to("meta"), spacing)
    assert on_meta.shape == (3, 3, *grid)
    assert _lined(torch.ones(3, *grid, device="meta"), on_meta, _params().to("meta")).device.type == "meta"


@pytest.mark.parametrize(
    "wrong",
    [
        {"width_mm": (0.0, 1.0)},
        {"width_mm": (0.6, 1.9)},
        {"vertebra_offset_mm": (-3.0, 0.6)},
        {"facing_mm": (-2.0, 0.0)},
        {"facing_mm": (0.0, 3.0)},
        {"front_widening": (1.0, 2.0)},
        {"front_widening": (0.5, 1.0)},
        {"disc_offset_mm": (-3.0, 0.6)},
        {"canal_offset_mm": (-3.0, 0.6)},
        {"end_plate_offset_mm": (-3.0, 0.6)},
        {"strength": (0.3, 1.1)},
        {"end_plate_level": (-0.1, 0.5)},
        {"probability": 1.5},
    ],
)
def test_lines_beyond_the_known_distances_are_refused_by_name(wrong):
    with pytest.raises(ValueError, match=next(iter(wrong))):
        CortexConfig(**wrong)
