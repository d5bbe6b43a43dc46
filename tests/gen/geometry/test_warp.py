"""Flip, affine map and deformation in one nearest gather."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from displacements import displacement
from scipy import ndimage, stats

from synthspine.gen.config import GeneratorConfig, without_geometry
from synthspine.gen.core.anatomy import IGNORE
from synthspine.gen.core.counter_rng import SampleRandom, sample_keys
from synthspine.gen.core.drawing import Drawing
from synthspine.gen.geometry.affine import AffineConfig, AffineParams
from synthspine.gen.geometry.deformation import DeformationConfig
from synthspine.gen.geometry.flip import FlipConfig, FlipParams
from synthspine.gen.geometry.warp import deform, draw_map

GRIDS = [
    ((61, 50), (1.0, 1.0)),
    ((37, 90), (2.1, 0.45)),
    ((9, 41, 34), (4.0, 1.0, 1.0)),
    ((20, 22, 19), (0.9, 1.3, 0.7)),
]


def _bank(grid, maps=3):
    """Maps of blocks of 3 x 3 (x 3) pixels."""
    generator = torch.Generator().manual_seed(4)
    codes = torch.randint(0, 200, (maps, *[n // 3 + 1 for n in grid]), dtype=torch.uint8, generator=generator)
    for axis, count in enumerate(grid):
        codes = codes.repeat_interleave(3, dim=axis + 1).narrow(axis + 1, 0, count)
    return codes.contiguous()


def _draw(grid, count=4, indices=None, maps=3, **configs):
    indices = torch.arange(count) if indices is None else indices
    random = Drawing(sample_keys(5, indices), spacing_mm=(1.0,) * len(grid))
    return (
        draw_map(random, maps),
        configs.get("affine", AffineConfig()).draw(random),
        configs.get("deformation", DeformationConfig()).draw(random),
        configs.get("flip", FlipConfig()).draw(random),
    )


def _still(dims, count=1):
    return AffineParams(matrix=torch.eye(dims).repeat(count, 1, 1), translation_mm=torch.zeros(count, dims))


FIRST = torch.zeros(1, dtype=torch.int64)


@pytest.mark.parametrize(("grid", "spacing_mm"), [*GRIDS, ((1, 2), (1.0, 1.0)), ((1, 5, 7), (4.0, 0.3, 0.7))])
def test_the_identity_leaves_every_code_in_place(grid, spacing_mm):
    bank = _bank(grid)
    still = without_geometry(GeneratorConfig())
    map_index, affine, deformation, flip = _draw(
        grid, affine=still.affine, deformation=still.deformation, flip=still.flip
    )
    assert deformation is None and flip is None
    assert torch.equal(deform(bank, map_index, affine, None, None, spacing_mm), bank[map_index])


@pytest.mark.parametrize(("grid", "spacing_mm"), GRIDS)
def test_a_sample_whose_features_are_all_off_stays_in_place(grid, spacing_mm):
    bank = _bank(grid)
    map_index, _, deformation, flip = _draw(grid)
    deformation = replace(deformation, velocity_mm=torch.zeros(4))
    if flip is not None:
        flip = replace(flip, left_right=torch.zeros(4))
    still = _still(len(grid), 4)
    assert torch.equal(deform(bank, map_index, still, deformation, flip, spacing_mm), bank[map_index])


def test_a_translation_moves_by_whole_pixels():
    bank = _bank((40, 30))
    affine = replace(_still(2), translation_mm=torch.tensor([[6.0, -1.0]]))
    moved = deform(bank, FIRST, affine, None, None, (2.0, 0.5))[0]
    assert torch.equal(moved[:-3, 2:], bank[0, 3:, :-2])
    assert bool((moved[-3:] == IGNORE).all()) and bool((moved[:, :2] == IGNORE).all())


def test_a_quarter_turn_moves_the_bottom_to_the_back():
    bank = torch.zeros(1, 41, 41, dtype=torch.uint8)
    bank[0, 35, 20] = 9
    affine = replace(_still(2), matrix=torch.tensor([[[0.0, 1.0], [-1.0, 0.0]]]))
    assert deform(bank, FIRST, affine, None, None, (1.0, 1.0))[0, 20, 35] == 9


def _ties(position):
    """Whether a position lies so near the middle between two pixels that rounding decides."""
    return np.abs(position - np.floor(position) - 0.5).min(axis=0) < 1e-3


@pytest.mark.parametrize(("grid", "spacing_mm"), GRIDS)
def test_affine_maps_are_those_of_scipy(grid, spacing_mm):
    bank, dims = _bank(grid), len(grid)
    map_index, affine, _, _ = _draw(grid)
    moved = deform(bank, map_index, affine, None, None, spacing_mm).numpy()
    centre, spacing = (np.array(grid) - 1) / 2, np.array(spacing_mm)
    for sample in range(4):
        matrix = affine.matrix[sample].double().numpy() * spacing / spacing[:, None]
        shift = centre - matrix @ centre + affine.translation_mm[sample].double().numpy() / spacing
        source = bank[map_index[sample]].numpy()
        expected = ndimage.affine_transform(source, matrix, shift, order=0, mode="grid-constant", cval=IGNORE)
        position = np.tensordot(matrix, np.indices(grid), 1) + shift.reshape(-1, *[1] * dims)
        differs = (moved[sample] != expected) & ~_ties(position)
        assert not differs.any()
        assert len(np.unique(expected)) > 10 and (expected == IGNORE).any()


@pytest.mark.parametrize(("grid", "spacing_mm"), GRIDS)
def test_all_steps_together_look_where_their_formula_says(grid, spacing_mm):
    """Map position = matrix (picture position + displacement) + translation, in the flipped map."""
    bank, dims = _bank(grid), len(grid)
    flips = FlipConfig(head_foot_probability=0.5, front_back_probability=0.5)
    map_index, affine, deformation, flip = _draw(grid, count=6, flip=flips)
    moved = deform(bank, map_index, affine, deformation, flip, spacing_mm).numpy()
    across = displacement(deformation, grid, spacing_mm).double().numpy()
    along = [1] * dims
    centre, spacing = [np.reshape(v, (-1, *along)) for v in ((np.array(grid) - 1) / 2, spacing_mm)]
    here = (np.indices(grid) - centre) * spacing
    for sample in range(6):
        source = bank[map_index[sample]]
        for dim, flipped in ((-3, flip.left_right), (-2, flip.head_foot), (-1, flip.front_back)):
            if flipped is not None and flipped[sample]:
                source = source.flip(dim)
        there = np.tensordot(affine.matrix[sample].double().numpy(), here + across[sample], 1)
        there += affine.translation_mm[sample].double().numpy().reshape(-1, *along)
        position = there / spacing + centre
        pixel = np.floor(position + 0.5).astype(int) + 1
        outside = [(0, n + 1) for n in grid]
        pixel = [np.clip(p, low, high) for p, (low, high) in zip(pixel, outside, strict=True)]
        expected = np.pad(source.numpy(), 1, constant_values=IGNORE)[tuple(pixel)]
        assert not ((moved[sample] != expected) & ~_ties(position)).any()


@pytest.mark.parametrize(("grid", "spacing_mm"), GRIDS)
def test_a_flip_first_is_the_same_as_a_bank_of_mirrored_maps(grid, spacing_mm):
    bank, dims = _bank(grid), len(grid)
    map_index, affine, deformation, _ = _draw(grid)
    ones = torch.ones(4)
    flip = FlipParams(left_right=ones if dims == 3 else None, head_foot=ones, front_back=ones)
    moved = deform(bank, map_index, affine, deformation, flip, spacing_mm)
    mirrored = bank.flip(list(range(1, dims + 1)))
    assert torch.equal(moved, deform(mirrored, map_index, affine, deformation, None, spacing_mm))


@pytest.mark.parametrize(("grid", "spacing_mm"), GRIDS)
def test_a_sample_is_the_same_alone_and_in_a_batch(grid, spacing_mm):
    bank = _bank(grid)
    together = deform(bank, *_draw(grid, 16), spacing_mm)
    for sample in (0, 5, 15):
        alone = deform(bank, *_draw(grid, indices=torch.tensor([sample])), spacing_mm)
        assert torch.equal(alone[0], together[sample])


def test_offsets_beyond_what_float32_counts_exactly_stay_exact(monkeypatch):
    grid, spacing_mm = (9, 41, 34), (4.0, 1.0, 1.0)
    bank, params = _bank(grid), _draw(grid)
    expected = deform(bank, *params, spacing_mm)
    monkeypatch.setattr("synthspine.gen.geometry.warp.EXACT_FLOAT32", 1000)
    assert torch.equal(deform(bank, *params, spacing_mm), expected)


@pytest.mark.parametrize(("grid", "spacing_mm"), GRIDS)
def test_nothing_is_read_back_from_the_device(grid, spacing_mm):
    map_index, affine, deformation, flip = _draw(grid)
    params = [None if part is None else part.to("meta") for part in (map_index, affine, deformation, flip)]
    moved = deform(_bank(grid).to("meta"), *params, spacing_mm)
    assert moved.shape == (4, *grid) and moved.dtype == torch.uint8


def test_the_inputs_stay_as_they_are():
    grid = (40, 30)
    bank, params = _bank(grid), _draw(grid)
    before = bank.clone()
    deform(bank, *params, (8.0, 8.0))
    assert torch.equal(bank, before)
    assert torch.equal(params[1].matrix, _draw(grid)[1].matrix)


def test_every_map_is_drawn_equally_often():
    map_index = draw_map(SampleRandom(sample_keys(0, torch.arange(3000))), 5)
    assert map_index.dtype == torch.int64
    assert stats.chisquare(np.bincount(map_index.numpy(), minlength=5)).pvalue > 1e-3
