import numpy as np
import pytest

from synthspine.eval.labelling.ranks import assign_ranks
from synthspine.gen.core.anatomy import CANAL, disc_code, vertebra_code

SPACING = (4.0, 1.0, 1.0)


def ranks_match(got, codes, structures):
    wanted = codes != 0
    wanted &= structures != 0
    return (got[wanted] == codes[wanted]).mean()


def test_spine_gets_its_ranks_back(spine, to_structures):
    codes = spine(slices=3)
    assert np.array_equal(assign_ranks(to_structures(codes), SPACING).codes, codes)


@pytest.mark.parametrize("lean", [-0.4, 0.0, 0.4])
def test_leaning_spine_gets_its_ranks_back(spine, to_structures, lean):
    codes = spine(lean=lean, column=90 - 100 * min(lean, 0), bottom=280)
    structures = to_structures(codes)
    assert ranks_match(assign_ranks(structures, SPACING).codes, codes, structures) > 0.97


def test_one_slice_is_enough(spine, to_structures):
    codes = spine(slices=1)
    assert np.array_equal(assign_ranks(to_structures(codes), SPACING).codes, codes)


@pytest.mark.parametrize("missed", [1, 2, 3, 4, 5, 6])
def test_missed_disc_shifts_no_rank(spine, to_structures, missed):
    codes = spine()
    structures = to_structures(codes)
    structures[codes == disc_code(missed)] = 0
    got = assign_ranks(structures, SPACING).codes
    assert ranks_match(got, codes, structures) > 0.97


def test_two_neighbouring_missed_discs_shift_no_rank(spine, to_structures):
    codes = spine()
    structures = to_structures(codes)
    structures[(codes == disc_code(3)) | (codes == disc_code(4))] = 0
    assert ranks_match(assign_ranks(structures, SPACING).codes, codes, structures) > 0.95


def test_disc_missed_in_one_slice_is_known_from_the_others(spine, to_structures):
    codes = spine(slices=3)
    structures = to_structures(codes)
    structures[1][codes[1] == disc_code(2)] = 0
    got = assign_ranks(structures, SPACING).codes
    assert ranks_match(got, codes, structures) == 1.0


def test_piece_of_sacrum_before_a_long_canal_is_not_a_vertebra(spine, to_structures):
    codes = spine(lean=0.0, bottom=270)
    structures = to_structures(codes)
    structures[0, 270:, 131:144] = 3
    structures[0, 273:283, 95:115] = 1
    assert ranks_match(assign_ranks(structures, SPACING).codes, codes, structures) == 1.0


def test_whole_sacral_body_below_the_end_of_the_canal_is_not_a_vertebra(spine, to_structures):
    codes = spine(lean=0.0, bottom=270)
    structures = to_structures(codes)
    sacrum = np.zeros_like(codes, dtype=bool)
    sacrum[0, 271:292, 91:125] = True
    structures[sacrum] = 1
    got = assign_ranks(structures, SPACING).codes
    assert ranks_match(got, codes, structures) == 1.0


def test_crumb_of_disc_is_not_a_level(spine, to_structures):
    codes = spine()
    structures = to_structures(codes)
    structures[0, 208:211, 115:120] = 2
    got = assign_ranks(structures, SPACING).codes
    other = np.ones_like(codes, dtype=bool)
    other[0, 208:211, 115:120] = False
    assert np.array_equal(got[other], codes[other])


def test_disc_in_one_slice_of_many_is_not_a_level(spine, to_structures):
    codes = spine(slices=5)
    structures = to_structures(codes)
    crumb = np.zeros_like(codes, dtype=bool)
    crumb[2, 208:213, 115:125] = True
    structures[crumb] = 2
    got = assign_ranks(structures, SPACING).codes
    assert np.array_equal(got[~crumb], codes[~crumb])


def test_crumbs_in_every_slice_are_not_a_level(spine, to_structures):
    codes = spine(slices=5)
    structures = to_structures(codes)
    crumb = np.zeros_like(codes, dtype=bool)
    crumb[:, 208:213, 115:122] = True
    structures[crumb] = 2
    got = assign_ranks(structures, SPACING).codes
    assert np.array_equal(got[~crumb], codes[~crumb])


@pytest.mark.parametrize("hang", [0.1, 0.28, 0.55])
def test_spinous_process_goes_with_the_body_above_it(spine, to_structures, hang):
    codes = spine(lean=0.0, hang=hang)
    got = assign_ranks(to_structures(codes), SPACING).codes
    behind = np.zeros_like(codes, dtype=bool)
    behind[..., 150:] = True
    assert set(np.unique(got[behind])) == {0, *(vertebra_code(rank) for rank in range(1, 8))}
    assert np.array_equal(got[behind], codes[behind])


def test_anisotropic_pixels_are_measured_in_mm(spine, to_structures):
    codes = spine()[:, :, ::2]
    assert np.array_equal(assign_ranks(to_structures(codes), (4.0, 1.0, 2.0)).codes, codes)


def test_scan_without_a_canal_is_counted_upward(spine, to_structures):
    codes = spine(lean=0.0, arches=False)
    codes[codes == CANAL] = 0
    assert np.array_equal(assign_ranks(to_structures(codes), SPACING).codes, codes)


def test_scan_without_discs_still_gets_vertebrae(spine, to_structures):
    codes = spine(lean=0.0, arches=False)
    structures = to_structures(codes)
    structures[structures == 2] = 0
    assert ranks_match(assign_ranks(structures, SPACING).codes, codes, structures) > 0.9


def test_single_disc_has_rank_one(to_structures):
    structures = np.zeros((1, 160, 128), dtype=np.uint8)
    structures[0, 80:90, 30:60] = 2
    assert set(np.unique(assign_ranks(structures, SPACING).codes)) == {0, disc_code(1)}


def test_empty_answer_stays_empty():
    structures = np.zeros((2, 64, 64), dtype=np.uint8)
    assert not assign_ranks(structures, SPACING).codes.any()


def test_structures_are_kept(spine, to_structures):
    structures = to_structures(spine(slices=2))
    assert np.array_equal(to_structures(assign_ranks(structures, SPACING).codes), structures)


class EveryPoint:
    """The nearest point of a line by comparing all of them, pixel by pixel."""

    def __init__(self, points):
        self.points = points

    def query(self, pixels):
        return None, np.array([((pixel - self.points) ** 2).sum(axis=1).argmin() for pixel in pixels])


def random_structures(draw):
    shape = tuple(draw.integers(1, 12, 2))
    coarse = draw.choice(4, size=(int(draw.integers(1, 3)), *shape), p=(0.5, 0.2, 0.1, 0.2))
    structures = coarse.repeat(8, axis=1).repeat(6, axis=2).astype(np.uint8)
    middle = structures.shape[2] // 2
    structures[:, :, middle : middle + 6 * int(draw.integers(0, 2))] = 3
    return structures


def test_ranks_are_those_of_a_search_over_every_point(spine, to_structures, monkeypatch):
    draw = np.random.default_rng(3)
    inputs = [(random_structures(draw), (4.0, *draw.uniform(0.5, 2.0, 2))) for _ in range(12)]
    inputs += [(to_structures(spine(levels=6, lean=lean)), SPACING) for lean in (-0.3, 0.2)]
    quick = [assign_ranks(*each).codes for each in inputs]
    assert sum(len(np.unique(codes)) > 3 for codes in quick) > 5
    monkeypatch.setattr("synthspine.eval.labelling.canal_axis.cKDTree", EveryPoint)
    for each, codes in zip(inputs, quick, strict=True):
        assert np.array_equal(assign_ranks(*each).codes, codes)


@pytest.mark.filterwarnings("error")
def test_no_answer_of_a_network_stops_the_count():
    for seed in range(150):
        draw = np.random.Generator(np.random.PCG64(seed))
        shape, spacing = draw.integers(1, (3, 200, 60)), draw.uniform(0.3, 20, 3)
        structure = draw.choice([0.1, 0.01, 0.001, 0.0001])
        likely = [1 - structure, *[structure / 3] * 3]
        structures = draw.choice(4, size=shape, p=likely).astype(np.uint8)
        codes = assign_ranks(structures, tuple(spacing)).codes
        assert not (codes == CANAL)[structures != 3].any()
        assert not codes[structures == 0].any()
