import numpy as np
import pytest

from synthspine.eval.prediction.quality import quality_flags
from synthspine.gen.core.anatomy import CANAL, SACRUM, disc_code, vertebra_code
from synthspine.gen.core.schemes import RANKS

SPACING = (4.0, 1.0, 1.0)


def names(codes, **facts):
    facts = {"spacing_mm": SPACING, "slice_entropy": [0.1] * len(codes)} | facts
    return [flag.name for flag in quality_flags(codes, scheme=RANKS, **facts)]


@pytest.fixture
def sound(spine):
    """A spine inside five slices: the canal in the middle three, nothing in the outermost."""
    codes = np.zeros((5, 320, 256), dtype=np.uint8)
    codes[1:4] = spine(levels=6, slices=3, bottom=280)
    return codes


def test_a_sound_mask_raises_no_flag(sound):
    assert names(sound) == []


@pytest.mark.parametrize(
    ("facts", "flag"),
    [
        ({"slice_entropy": [0.1, 0.1, 0.5, 0.1, 0.1]}, "uncertain"),
        ({"removed": 0.2}, "scattered"),
        ({"spacing_mm": (8.0, 1.0, 1.0)}, "thick_slices"),
        ({"model_spacing_mm": 0.6}, "coarse_pixels"),
        ({"tilt_degrees": 30.0}, "oblique"),
    ],
)
def test_facts_about_the_scan_are_flagged(sound, facts, flag):
    assert names(sound, **facts) == [flag]


def test_an_unknown_entropy_is_no_flag(sound):
    assert names(sound, slice_entropy=[float("nan")] * 5) == []


def test_one_slice_is_told(spine):
    assert names(spine(levels=6, bottom=280)) == ["one_slice"]


def test_nothing_found(sound):
    assert names(np.zeros_like(sound)) == ["no_spine"]


def test_a_scale_at_which_a_spine_is_seen_is_told(sound):
    assert names(sound, scale=0.5) == ["check_spacing"]
    *_, flag = quality_flags(np.zeros_like(sound), (4.0, 1.4, 1.4), RANKS, scale=0.5)
    assert flag.name == "check_spacing" and "0.70 x 0.70 mm, not 1.40 x 1.40" in flag.reason


def drop(*codes):
    def change(mask):
        mask[np.isin(mask, codes)] = 0

    return change


def shrink_third(mask):
    rows = np.flatnonzero((mask == vertebra_code(3)).any(axis=(0, 2)))
    mask[:, rows[0] + 6 :][mask[:, rows[0] + 6 :] == vertebra_code(3)] = 0


def swap_ranks(mask):
    second, fourth = mask == vertebra_code(2), mask == vertebra_code(4)
    mask[second], mask[fourth] = vertebra_code(4), vertebra_code(2)


def cut_canal(mask):
    mask[:, 150:180][mask[:, 150:180] == CANAL] = 0


def keep_three(mask):
    drop(*(code(rank) for rank in range(4, 8) for code in (vertebra_code, disc_code)))(mask)


@pytest.mark.parametrize(
    ("change", "flag"),
    [
        (keep_three, "few_vertebrae"),
        (drop(vertebra_code(3)), "missing_vertebra"),
        (drop(disc_code(3)), "missing_disc"),
        (drop(disc_code(1)), "missing_disc"),
        (drop(CANAL), "no_canal"),
        (shrink_third, "small_vertebra"),
        (swap_ranks, "order_vertebra"),
        (cut_canal, "canal_interrupted"),
    ],
)
def test_faults_of_the_mask_are_flagged(sound, change, flag):
    change(sound)
    # A part of a vertebra is also out of step.
    assert [name for name in names(sound) if flag == "uneven_vertebra" or name != "uneven_vertebra"] == [flag]


def test_reasons_name_what_is_wrong(sound):
    drop(disc_code(1), disc_code(4))(sound)
    (flag,) = quality_flags(sound, SPACING, RANKS)
    assert "L5/S1, L2/L3" in flag.reason
    assert "sacrum" in flag.reason


def test_canal_in_the_last_slice(sound):
    sound[4, 100:200, 130] = CANAL
    assert names(sound) == []
    sound[4][sound[3] == CANAL] = CANAL
    assert names(sound) == ["canal_cut"]


@pytest.mark.parametrize(
    ("place", "side"),
    [(np.s_[2, -1, 100], "lower"), (np.s_[2, 100, 0], "front"), (np.s_[2, 100, -1], "back")],
)
def test_structures_at_the_border(sound, place, side):
    sound[place] = vertebra_code(2)
    (flag,) = quality_flags(sound, SPACING, RANKS)
    assert flag.name == "touches_border"
    assert side in flag.reason


def test_a_sacrum_that_goes_on_below_the_scan_is_no_fault(sound):
    sound[2, -1, 100] = SACRUM
    assert not any(flag.name == "touches_border" for flag in quality_flags(sound, SPACING, RANKS))


def curved(codes):
    """A spine bent as in a patient: the canal turns backward in front of the sacrum."""
    bent = np.zeros_like(codes)
    for row in range(codes.shape[1]):
        bent[:, row] = np.roll(codes[:, row], round(0.0025 * (row - 90) ** 2), axis=1)
    return bent


@pytest.fixture
def straight(spine):
    codes = np.zeros((5, 320, 256), dtype=np.uint8)
    codes[1:4] = spine(levels=6, slices=3, bottom=265, lean=0.0, column=60)
    return curved(codes)


@pytest.mark.parametrize(
    ("turn", "flags"),
    [
        (lambda codes: codes, []),
        (lambda codes: codes[:, :, ::-1], ["check_orientation"]),
        (lambda codes: codes[:, ::-1], ["check_orientation"]),
    ],
)
def test_a_scan_that_is_turned_is_told(straight, turn, flags):
    got = [name for name in names(turn(straight)) if not name.startswith(("order", "touches"))]
    assert got == flags


@pytest.mark.parametrize("factor", [0.5, 2.0])
@pytest.mark.parametrize("axes", [(1, 2), (1,), (0,)])
def test_a_wrong_spacing_is_told(spine, factor, axes):
    wide = np.zeros((21, 320, 256), dtype=np.uint8)
    wide[5:16] = spine(levels=6, bottom=280)
    wide[5:9][wide[5:9] == CANAL] = wide[12:16][wide[12:16] == CANAL] = 0
    assert names(wide) == []
    spacing = [value * (factor if axis in axes else 1) for axis, value in enumerate(SPACING)]
    assert "check_spacing" in names(wide, spacing_mm=tuple(spacing), model_spacing_mm=2.0)


def test_a_vertebra_twice_the_usual_size_is_told(sound):
    sound[np.isin(sound, (vertebra_code(4), disc_code(4)))] = vertebra_code(3)
    assert "large_vertebra" in names(sound)


def test_names_out_of_step_with_distances_are_told(sound):
    for rank in (7, 6, 5, 4):
        sound[sound == vertebra_code(rank)] = vertebra_code(rank + 1)
        sound[sound == disc_code(rank)] = disc_code(rank + 1)
    assert {"uneven_vertebra", "uneven_disc"} <= set(names(sound))


def test_relative_names_are_told(sound):
    (flag,) = quality_flags(sound, SPACING, RANKS, relative=True)
    assert flag.name == "lowest_in_view" and "lowest vertebra in view" in flag.reason
    assert names(sound, relative=True) == ["lowest_in_view"]


def test_an_uncertain_slice_beside_the_canal_is_none(sound):
    sound[0] = np.where(sound[1] == CANAL, 0, sound[1])
    assert names(sound, slice_entropy=[0.5, 0.1, 0.1, 0.1, 0.1]) == []
