import pytest
import torch

from synthspine.eval.studies.degrade import common_slices, find_neighbours, reach_of, thicken


def records(*numbers, source="1_t1"):
    return [{"source": source, "slice": number, "spacing_mm": [4.0, 1.0, 1.0]} for number in numbers]


def ramp(count):
    """Slice k is all k: what comes back tells where it was averaged."""
    return torch.arange(count, dtype=torch.float32)[:, None, None].expand(count, 2, 3)


def impulse_weights(factor, count=9):
    """Weights with which the slices enter the middle one."""
    rows = records(*range(count))
    eye = torch.eye(count)[:, :, None]
    return thicken(eye, find_neighbours(rows), factor, [count // 2])[0, :, 0]


@pytest.mark.parametrize(
    ("factor", "weights"),
    [
        (1.0, [0, 0, 0, 1, 0, 0, 0]),
        (1.5, [0, 0, 0.25, 1, 0.25, 0, 0]),
        (2.0, [0, 0, 0.5, 1, 0.5, 0, 0]),
        (3.0, [0, 0, 1, 1, 1, 0, 0]),
        (4.0, [0, 0.5, 1, 1, 1, 0.5, 0]),
    ],
)
def test_a_slab_takes_the_share_of_each_neighbour_that_it_covers(factor, weights):
    expected = torch.tensor([0.0, *weights, 0.0])
    torch.testing.assert_close(impulse_weights(factor), expected / factor)


@pytest.mark.parametrize("factor", [1.0, 1.7, 2.0, 3.0, 3.5, 4.0, 5.0, 6.0])
def test_no_slab_is_cut_off_and_nothing_shifts_to_one_side(factor):
    neighbours = find_neighbours(records(*range(9)))
    indices, factors = common_slices(neighbours, [1.0, factor])
    reach = reach_of(factor)
    assert factors == (1.0, factor) and indices == list(range(reach, 9 - reach))
    torch.testing.assert_close(thicken(ramp(9), neighbours, factor, indices), ramp(9)[indices])
    # Every slab weighs what it is thick: with squares for values, the mean tells a slab that was cut off.
    spread = thicken(ramp(9) ** 2, neighbours, factor, indices) - ramp(9)[indices] ** 2
    torch.testing.assert_close(spread, spread[:1].expand_as(spread), rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize(
    ("factor", "reach"), [(1.0, 0), (1.1, 1), (2.0, 1), (3.0, 1), (3.1, 2), (4.0, 2), (5.0, 2), (6.0, 3)]
)
def test_reach_is_that_of_the_outermost_slice_with_weight(factor, reach):
    assert reach_of(factor) == reach
    weights = impulse_weights(factor)
    assert (weights > 0).sum() == 2 * reach + 1


def test_all_factors_take_the_slices_of_the_largest():
    neighbours = find_neighbours([*records(*range(5)), *records(*range(3), source="2_t1")])
    assert common_slices(neighbours, [1.0, 2.0, 3.0]) == ([1, 2, 3, 6], (1.0, 2.0, 3.0))
    assert common_slices(neighbours, [1.0, 2.0, 4.0]) == ([2], (1.0, 2.0, 4.0))


def test_largest_factors_are_dropped_until_a_slice_is_left():
    assert common_slices(find_neighbours(records(0, 1, 2)), [1.0, 3.0, 4.0, 8.0]) == ([1], (1.0, 3.0))
    assert common_slices(find_neighbours(records(0, 1)), [1.0, 3.0]) == ([], ())
    assert common_slices(find_neighbours(records(0, 1)), [1.0]) == ([0, 1], (1.0,))


def test_slice_without_neighbours_enough_is_refused():
    neighbours = find_neighbours(records(0, 1, 2))
    with pytest.raises(
        ValueError, match=r"slice 1 has 1 stored slices on both sides; .* 4 distances needs 2"
    ):
        thicken(ramp(3), neighbours, 4.0, [1])


def test_series_are_not_mixed_and_gaps_are_not_bridged():
    rows = [*records(0, 1, 2), *records(3, 4, 5, source="1_t2"), *records(0, 1, 3, 4, source="2_t1")]
    assert common_slices(find_neighbours(rows), [3.0])[0] == [1, 4]
    assert [len(pairs) for pairs in find_neighbours(records(0, 1, 3, 4, 5, 7, 8))] == [0, 0, 0, 1, 0, 0, 0]


def test_stored_slices_may_be_thinned_out_and_in_any_order():
    rows = records(8, 0, 4)
    neighbours = find_neighbours(rows)
    assert common_slices(neighbours, [3.0])[0] == [2]
    images = torch.tensor([8.0, 0.0, 1.0])[:, None, None]
    assert thicken(images, neighbours, 3.0, [2]).item() == pytest.approx(3.0)


def test_a_series_of_one_slice_has_nothing_to_average():
    assert common_slices(find_neighbours(records(5)), [2.0]) == ([], ())
