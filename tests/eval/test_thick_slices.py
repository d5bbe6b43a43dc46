import pytest
import torch

from eval.thick_slices import find_neighbours, inner_slices, thicken


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


@pytest.mark.parametrize("factor", [1.0, 1.7, 2.0, 3.0, 4.0, 6.0])
def test_nothing_shifts_to_one_side_even_at_the_end_of_the_stack(factor):
    rows = records(*range(7))
    neighbours = find_neighbours(rows)
    inner = inner_slices(neighbours)
    assert inner == [1, 2, 3, 4, 5]
    thick = thicken(ramp(7), neighbours, factor, inner)
    torch.testing.assert_close(thick, ramp(7)[inner])


def test_series_are_not_mixed_and_gaps_are_not_bridged():
    rows = [*records(0, 1, 2), *records(3, 4, 5, source="1_t2"), *records(0, 1, 3, 4, source="2_t1")]
    assert inner_slices(find_neighbours(rows)) == [1, 4]


def test_stored_slices_may_be_thinned_out_and_in_any_order():
    rows = records(8, 0, 4)
    neighbours = find_neighbours(rows)
    assert inner_slices(neighbours) == [2]
    images = torch.tensor([8.0, 0.0, 1.0])[:, None, None]
    assert thicken(images, neighbours, 3.0, [2]).item() == pytest.approx(3.0)


def test_a_series_of_one_slice_has_nothing_to_average():
    assert inner_slices(find_neighbours(records(5))) == []


@pytest.mark.parametrize("factor", [0.5, 0.0, float("nan"), float("inf")])
def test_factor_below_one_is_refused(factor):
    with pytest.raises(ValueError, match="slice thickness factor"):
        thicken(ramp(3), find_neighbours(records(0, 1, 2)), factor, [1])
