"""Ranks in whole volumes: slices beside the spine, scoliosis, interrupted canals, cut fields of view."""

import numpy as np
import pytest

from synthspine.eval.labelling.ranks import assign_ranks
from synthspine.eval.labelling.roles import CANAL_ROLE, DISC, VERTEBRA, ranks_of, roles_of
from synthspine.gen.core.anatomy import CANAL, disc_code, vertebra_code
from synthspine.gen.phantom.series import phantom_mask
from synthspine.shards.readers.labels import SPIDER_TABLE
from synthspine.shards.readers.levels import dense_codes

SPACING = (4.0, 1.0, 1.0)
MIDDLE = 11


@pytest.fixture
def volume(spine):
    """A spine in 23 slices: bodies and discs 26 mm to each side, canal 10 mm, arches 6 mm, the rest empty."""
    plane = spine(levels=6, lean=0.0, bottom=270)[0]
    away = abs(np.arange(23) - MIDDLE)[:, None, None] * SPACING[0]
    behind = np.arange(plane.shape[1]) > 145
    reach = np.where(plane == CANAL, 10, np.where(behind, 6, 26))
    return np.where((away <= reach) & (plane > 0), plane, 0).astype(np.uint8)


@pytest.fixture(scope="module")
def phantom():
    series = phantom_mask(5, 3, "t2")
    return dense_codes(series.mask, SPIDER_TABLE), series.spacing_mm


def sheared(codes, spacing_mm, slope):
    """A spine whose middle leaves the middle slice: rows are moved across, on a wider stack of slices."""
    margin = round(abs(slope) * codes.shape[1] * spacing_mm[1] / spacing_mm[0]) + 1
    wide = np.pad(codes, ((margin, margin), (0, 0), (0, 0)))
    moved = np.zeros_like(wide)
    for row in range(codes.shape[1]):
        moved[:, row] = np.roll(wide[:, row], round(slope * row * spacing_mm[1] / spacing_mm[0]), axis=0)
    return moved


def agreement(got, codes):
    """Share of the ranked voxels that have their rank."""
    ranked = ranks_of(codes) > 0
    return float((got == codes)[ranked].mean())


def test_a_whole_volume_gets_its_ranks_back(volume):
    ranked = assign_ranks(roles_of(volume), SPACING)
    assert np.array_equal(ranked.codes, volume) and not ranked.relative


@pytest.mark.parametrize("slope", [0.0, 0.15, -0.25])
def test_scoliosis_leaves_the_middle_slice(volume, phantom, slope):
    for codes, spacing in ((volume, SPACING), phantom):
        moved = sheared(codes, spacing, slope)
        assert agreement(assign_ranks(roles_of(moved), spacing).codes, moved) > 0.97


def test_litter_beside_the_spine_is_background_and_moves_no_rank(volume):
    litter = np.zeros_like(volume, dtype=bool)
    structures = roles_of(volume)
    for index in (0, 1, 2, 20, 21, 22):
        for place, (row, role) in enumerate([(40, 1), (75, 2), (100, 1), (125, 2), (150, 1), (200, 2)]):
            litter[index, row : row + 24, 80 + 5 * place : 115 + 5 * place] = True
            structures[index, row : row + 24, 80 + 5 * place : 115 + 5 * place] = role
        litter[index, 30:250, 170:190] = True
        structures[index, 30:250, 170:190] = CANAL_ROLE
    got = assign_ranks(structures, SPACING).codes
    assert not got[litter].any()
    assert np.array_equal(got[~litter], volume[~litter])


def test_litter_in_the_slices_of_the_spine_is_background(volume):
    structures = roles_of(volume)
    structures[MIDDLE - 7 : MIDDLE - 4, 60:90, 20:50] = VERTEBRA
    structures[MIDDLE + 5 : MIDDLE + 8, 100:110, 20:60] = DISC
    structures[MIDDLE - 7 : MIDDLE - 4, 30:250, 180:195] = CANAL_ROLE
    assert np.array_equal(assign_ranks(structures, SPACING).codes, volume)


@pytest.mark.parametrize("rows", [(0, 120), (150, 230), (100, 150), (180, 320)])
def test_a_part_of_the_canal_is_missing(volume, rows):
    structures = roles_of(volume)
    structures[:, slice(*rows)][structures[:, slice(*rows)] == CANAL_ROLE] = 0
    assert agreement(assign_ranks(structures, SPACING).codes, volume) > 0.97


@pytest.mark.parametrize("rank", [2, 3, 4, 5])
def test_a_disc_missed_near_the_canal_joins_no_names(volume, rank):
    structures = roles_of(volume)
    structures[MIDDLE - 4 : MIDDLE + 5][volume[MIDDLE - 4 : MIDDLE + 5] == disc_code(rank)] = 0
    assert agreement(assign_ranks(structures, SPACING).codes, volume) > 0.97


def test_bodies_at_uneven_distances_never_share_a_name(volume):
    structures = roles_of(volume)
    rows = np.flatnonzero((volume == disc_code(4)).any(axis=(0, 2)))
    structures[volume == disc_code(4)] = 0
    # Two bodies move together until less than a missed disc would fit between their discs.
    short = np.delete(structures, np.r_[rows[0] - 8 : rows[0], rows[-1] + 1 : rows[-1] + 9], axis=1)
    truth = np.delete(volume, np.r_[rows[0] - 8 : rows[0], rows[-1] + 1 : rows[-1] + 9], axis=1)
    assert agreement(assign_ranks(short, SPACING).codes, np.where(truth == disc_code(4), 0, truth)) > 0.97


def test_a_false_disc_cuts_no_vertebra(volume):
    rows = np.flatnonzero((volume == vertebra_code(3)).any(axis=(0, 2)) & (volume[MIDDLE, :, 110] == 3))
    middle = (rows[0] + rows[-1]) // 2
    structures = roles_of(volume)
    structures[MIDDLE - 4 : MIDDLE + 5, middle - 2 : middle + 3, 95:120] = DISC
    got = assign_ranks(structures, SPACING).codes
    kept = structures == VERTEBRA
    assert (got[kept] == volume[kept]).mean() > 0.99


def test_a_body_missed_in_one_slice_is_known_beyond_it(volume):
    structures = roles_of(volume)
    structures[MIDDLE - 5][volume[MIDDLE - 5] == vertebra_code(2)] = 0
    got = assign_ranks(structures, SPACING).codes
    assert np.array_equal(got[MIDDLE - 6], volume[MIDDLE - 6])


def test_a_side_slice_alone_with_a_stump_of_canal_keeps_its_names(volume):
    plane = volume[[MIDDLE + 2]].copy()
    rows = np.indices(plane.shape)[1]
    plane[(plane == CANAL) & ((rows < 110) | (rows > 155))] = 0
    # The stump leans, so that a straight line through it would leave the spine.
    structures = roles_of(plane)
    for row in range(110, 156):
        structures[0, row] = np.where(structures[0, row] == CANAL_ROLE, 0, structures[0, row])
        structures[0, row, 125 + (row - 110) // 3 : 135 + (row - 110) // 3] = CANAL_ROLE
    assert agreement(assign_ranks(structures, SPACING).codes, plane) > 0.9


@pytest.mark.parametrize("bottom", [20, 60, 75, 100])
def test_without_a_sacrum_in_view_ranks_are_relative(volume, bottom):
    cut = volume[:, : 270 - bottom]
    lowest = int(ranks_of(cut[:, :, 80:126]).max(initial=0)) and int(cut[(cut > 0) & (cut <= 25)].min())
    ranked = assign_ranks(roles_of(cut), SPACING)
    assert ranked.relative
    body = cut[MIDDLE, :, 100]
    wanted = np.where(ranks_of(body) > 0, body - (lowest - 1), body)
    right = ranked.codes[MIDDLE, :, 100] == wanted
    # Less than a third of the vertebra at the border may go.
    assert right[:-12].mean() > 0.99


def test_padding_below_the_scan_shows_no_sacrum(volume):
    cut = volume.copy()
    cut[:, 235:] = 0
    view = np.ones(cut.shape, dtype=bool)
    assert not assign_ranks(roles_of(cut), SPACING, view=view).relative
    view[:, 235:] = False
    assert assign_ranks(roles_of(cut), SPACING, view=view).relative


def test_a_known_sacrum_anchors_the_count(volume):
    sacrum = np.zeros_like(volume, dtype=bool)
    sacrum[MIDDLE - 6 : MIDDLE + 7, 271:312, 92:124] = True
    structures = roles_of(volume)
    structures[(volume == disc_code(1)) | (volume == vertebra_code(1))] = 0
    got = assign_ranks(structures, SPACING, sacrum=sacrum)
    assert (
        not got.relative
        and agreement(got.codes[:, :, :126], np.where(structures, volume, 0)[:, :, :126]) == 1.0
    )
    # A disc within the sacrum is none of the spine.
    structures = roles_of(volume)
    structures[MIDDLE - 2 : MIDDLE + 3, 296:302, 95:120] = DISC
    got = assign_ranks(structures, SPACING, sacrum=sacrum).codes
    assert np.array_equal(got[:, :290], volume[:, :290]) and not got[:, 295:, :125].any()
    assert assign_ranks(roles_of(volume), SPACING, sacrum=np.zeros_like(sacrum)).relative


@pytest.mark.parametrize("missed", [0.6, 0.0])
def test_a_piece_of_vertebra_in_the_sacrum_does_not_move_the_count(volume, missed):
    """The first segment is partly missed and partly called vertebra; a whole one is L5 with a missed disc."""
    sacrum = np.zeros_like(volume, dtype=bool)
    sacrum[MIDDLE - 6 : MIDDLE + 7, 300:341, 92:124] = True
    structures = roles_of(volume)
    segment = np.zeros_like(sacrum)
    segment[MIDDLE - 6 : MIDDLE + 7, 272:300, 92 + round(32 * missed) : 124] = True
    structures[segment] = VERTEBRA
    got = assign_ranks(structures, SPACING, sacrum=sacrum)
    lowest = ranks_of(got.codes[volume == vertebra_code(1)])
    assert not got.relative and (lowest == (1 if missed else 2)).mean() > 0.97
    assert bool(got.codes[segment].any()) != bool(missed)


def test_spots_of_sacrum_in_vertebrae_are_vertebra_and_do_not_move_the_count(volume):
    sacrum = np.zeros_like(volume, dtype=bool)
    sacrum[MIDDLE - 6 : MIDDLE + 7, 271:312, 92:124] = True
    spots = np.random.default_rng(0).uniform(size=volume.shape) < 0.2
    spots &= (volume == vertebra_code(1)) | (volume == vertebra_code(3))
    structures = roles_of(volume)
    structures[spots] = 0
    got = assign_ranks(structures, SPACING, sacrum=sacrum | spots)
    assert not got.relative and agreement(got.codes[:, :265], volume[:, :265]) > 0.97


def test_back_to_front_is_ranked_too(volume):
    turned = np.ascontiguousarray(volume[:, :, ::-1])
    assert agreement(assign_ranks(roles_of(turned), SPACING).codes, turned) > 0.97
