import numpy as np
import pytest

from synthspine.eval.metrics.instances import InstanceCounts, count_instances, match_ranks
from synthspine.gen.core.anatomy import BACKGROUND, CANAL, IGNORE, MAX_RANK, disc_code
from synthspine.gen.core.schemes import label_scheme

SPACING = (1.0, 1.0)
MEANS = ("dice", "hd95_mm", "assd_mm")
FOUR, FOURTEEN = label_scheme("4"), label_scheme("14")


def strips(*codes):
    """A slice of strips, each 10 rows of 20 columns of one code."""
    return np.repeat(np.repeat(np.array(codes, dtype=np.uint8)[:, None], 20, axis=1), 10, axis=0)[None]


def counts(truth, found, extra, rank_right):
    return {"truth": truth, "found": found, "extra": extra, "rank_right": rank_right}


def of(result):
    return {name: number for name, number in result.as_dict().items() if name not in MEANS}


def to_fourteen(codes):
    """A 14-class model's perfect answer, with the highest class on what has no name."""
    import torch

    classes = FOURTEEN.encode(torch.from_numpy(codes)).numpy()
    return np.where(classes == IGNORE, 6, classes)


def test_perfect_answer_of_four_classes_finds_all_by_counting(spine, to_structures):
    codes = spine(levels=6, stub=False, slices=3)
    result = count_instances(to_structures(codes), codes, FOUR, SPACING)
    assert of(result) == counts(6, 6, 0, 6)
    assert result.dice == pytest.approx(1.0, abs=0.02)


def test_perfect_answer_of_fourteen_classes(spine):
    codes = spine(levels=6, stub=False)
    result = count_instances(to_fourteen(codes), codes, FOURTEEN, SPACING)
    assert of(result) == counts(6, 6, 0, 6)
    assert result.dice == 1.0


@pytest.mark.parametrize("scheme", [FOUR, FOURTEEN], ids=["4", "14"])
def test_ranks_above_six_are_neither_missed_nor_extra(spine, to_structures, scheme):
    codes = spine(levels=8, bottom=310, shape=(336, 256))
    answer = to_structures(codes) if scheme is FOUR else to_fourteen(codes)
    assert of(count_instances(answer, codes, scheme, SPACING)) == counts(6, 6, 0, 6)


def test_a_lowest_disc_that_was_missed_shifts_the_ranks_and_not_the_match(spine, to_structures):
    codes = spine(levels=6, stub=False)
    answer = to_structures(codes)
    answer[codes == disc_code(1)] = BACKGROUND
    answer[codes == 1] = BACKGROUND
    result = count_instances(answer, codes, FOUR, SPACING)
    assert of(result) == counts(6, 5, 0, 0)
    assert result.dice == pytest.approx(5 / 6, abs=0.02)


def test_two_vertebrae_taken_for_one_are_one_found_at_most():
    result = match_ranks(strips(1, 1, 0, 0), strips(1, 2, 0, 0), FOUR, SPACING)
    # Dice of 200 pixels in 400 with either is 2/3: one is found, the other has no partner.
    assert of(result) == counts(2, 1, 0, 1)
    assert result.dice == pytest.approx(1 / 3)


def test_swapped_ranks_are_found_with_wrong_ranks():
    assert of(match_ranks(strips(2, 1, 3), strips(1, 2, 3), FOUR, SPACING)) == counts(3, 3, 0, 1)


def bars(*rows_and_values):
    maps = np.zeros((1, 60, 20), dtype=np.uint8)
    for rows, value in rows_and_values:
        maps[0, slice(*rows)] = value
    return maps


def test_match_never_loses_a_found_one_for_a_larger_sum():
    truth, ranks = bars(((0, 10), 1), ((10, 16), 2)), bars(((2, 14), 1), ((0, 2), 2))
    # (1, 1) has .73 and leaves 0 to (2, 2); (1, 2) and (2, 1) have .33 + .44 = .77, and none is found.
    result = match_ranks(ranks, truth, FOUR, SPACING)
    assert of(result) == counts(2, 1, 1, 1)
    assert result.dice == pytest.approx(2 * 8 / 22 / 2)


def test_match_is_the_best_for_all_together_and_not_greedy():
    truth, ranks = bars(((0, 20), 1), ((20, 46), 2)), bars(((0, 10), 1), ((10, 33), 2))
    # The rank map's 2 overlaps 13 rows of truth 2 and 10 of truth 1, its 1 lies in truth 1: both are found.
    result = match_ranks(ranks, truth, FOUR, SPACING)
    assert of(result) == counts(2, 2, 0, 2)
    assert result.dice == pytest.approx((2 * 10 / 30 + 2 * 13 / 49) / 2)


def test_half_is_enough_and_less_is_not():
    truth = strips(1, 0, 0)
    ranks = np.zeros_like(truth)
    ranks[0, 5:15] = 1
    assert of(match_ranks(ranks, truth, FOUR, SPACING)) == counts(1, 1, 0, 1)
    ranks[0, 15] = 1
    missed = match_ranks(ranks, truth, FOUR, SPACING)
    assert of(missed) == counts(1, 0, 1, 0)
    assert missed.dice == pytest.approx(2 * 100 / (200 + 220))


def test_a_vertebra_where_none_is_is_extra_and_litter_is_not():
    truth = strips(1, 0, 0)
    ranks = strips(1, 0, 4)
    assert of(match_ranks(ranks, truth, FOUR, SPACING)) == counts(1, 1, 1, 1)
    ranks[0, 20:] = 0
    ranks[0, 25, :20] = 4
    assert of(match_ranks(ranks, truth, FOUR, SPACING)) == counts(1, 1, 0, 1)
    assert of(match_ranks(ranks, truth, FOUR, (2.0, 2.0))) == counts(1, 1, 1, 1)


def test_a_vertebra_mostly_where_nothing_is_counted_is_not_extra():
    truth = strips(1, 0, 7, 0)
    ranks = strips(1, 0, 9, 0)
    ranks[0, 15:20] = 9
    assert of(match_ranks(ranks, truth, FOUR, SPACING)) == counts(1, 1, 0, 1)
    ranks[0, 30:40] = 9
    assert of(match_ranks(ranks, truth, FOUR, SPACING)) == counts(1, 1, 1, 1)


def test_discs_where_nothing_is_annotated_do_not_shift_the_ranks(spine, to_structures):
    codes = spine(levels=5, stub=False, bottom=240, lean=0.0)
    answer = to_structures(codes)
    codes[:, 262:] = IGNORE
    answer[:, 241:266, 91:124] = 1
    answer[:, 266:275, 91:124] = 2
    answer[:, 262:318, 131:143] = 3
    assert count_instances(answer, np.where(codes == IGNORE, 0, codes), FOUR, SPACING).rank_right == 0
    assert count_instances(answer, codes, FOUR, SPACING).rank_right == 5


def test_nothing_predicted_and_nothing_there():
    truth, empty = strips(1, 2), strips(0, 0)
    missed = match_ranks(empty, truth, FOUR, SPACING)
    assert of(missed) == counts(2, 0, 0, 0)
    assert missed.dice == 0.0 and np.isnan(missed.as_dict()["assd_mm"])
    nothing = match_ranks(empty, empty, FOUR, SPACING)
    assert of(nothing) == counts(0, 0, 0, 0)
    assert np.isnan(nothing.dice)


@pytest.mark.parametrize("scheme", [FOUR, FOURTEEN], ids=["4", "14"])
def test_what_is_not_annotated_does_not_count(spine, to_structures, scheme):
    codes = spine(levels=5, stub=False)
    answer = to_structures(codes) if scheme is FOUR else to_fourteen(codes)
    codes[:, :, 220:] = IGNORE
    answer[:, :, 225:250] = 1
    assert of(count_instances(answer, codes, scheme, SPACING)) == counts(5, 5, 0, 5)


def test_empty_answer_of_four_classes():
    codes = strips(1, disc_code(1), CANAL)
    assert of(count_instances(np.zeros_like(codes), codes, FOUR, SPACING)) == counts(1, 0, 0, 0)


def test_slices_of_their_own_are_counted_one_by_one(spine, to_structures):
    straight, leaning = (
        spine(levels=6, stub=False, lean=0.0),
        spine(levels=5, stub=False, bottom=260, lean=0.3),
    )
    alone = [count_instances(to_structures(part), part, FOUR, SPACING) for part in (straight, leaning)]
    assert of(alone[0] + alone[1]) == counts(11, 11, 0, 11)


def test_slices_of_a_volume_are_counted_together(spine, to_structures):
    codes = spine(levels=6, stub=False, slices=2)
    answer = to_structures(codes)
    # A slice without canal and lowest disc: by itself it would be counted from L4.
    answer[1][(codes[1] == CANAL) | (codes[1] == disc_code(1))] = BACKGROUND
    answer[1][codes[1] == 1] = BACKGROUND
    assert of(count_instances(answer, codes, FOUR, SPACING)) == counts(6, 6, 0, 6)
    first, second = (count_instances(answer[k, None], codes[k, None], FOUR, SPACING) for k in (0, 1))
    assert of(first + second) == counts(12, 11, 0, 6)


def test_the_place_in_the_slice_does_not_matter(spine, to_structures):
    codes = spine(levels=5, stub=True, shape=(340, 256))
    answer = to_structures(codes)
    margin = ((0, 0), (13, 7), (5, 21))
    moved = count_instances(np.pad(answer, margin), np.pad(codes, margin), FOUR, SPACING)
    assert moved == count_instances(answer, codes, FOUR, SPACING)


def test_distances_are_of_the_found_ones_and_their_partners():
    truth, ranks = strips(1, 0, 2, 0, 3), strips(1, 0, 2, 0, 0)
    ranks[0, 30:32] = 2
    distances = match_ranks(ranks, truth, FOUR, (2.0, 1.0)).as_dict()
    assert (distances["found"], distances["hd95_mm"]) == (2, (0.0 + 4.0) / 2)
    assert 0 < distances["assd_mm"] < distances["hd95_mm"]
    swapped = np.where(ranks == 1, 2, np.where(ranks == 2, 1, 0)).astype(np.uint8)
    assert match_ranks(swapped, truth, FOUR, (2.0, 1.0)).as_dict()["hd95_mm"] == 2.0


def test_counts_add_up():
    one = InstanceCounts(truth=2, found=1, extra=1, rank_right=1, dice_sum=0.9)
    total = one + InstanceCounts(truth=3, found=3, extra=0, rank_right=2, dice_sum=2.1)
    assert total == InstanceCounts(truth=5, found=4, extra=1, rank_right=3, dice_sum=3.0)
    assert total.dice == pytest.approx(0.6)


def test_every_rank_has_its_own_column():
    ranks = strips(*range(1, MAX_RANK + 1))
    codes = strips(*([1] + [BACKGROUND] * (MAX_RANK - 1)))
    assert of(match_ranks(ranks, codes, FOUR, SPACING)) == counts(1, 1, MAX_RANK - 1, 1)
