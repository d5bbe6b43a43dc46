"""Ranges of codes and neighbourhoods along columns."""

import pytest
import torch

from synthspine.gen.core.byte_masks import at_most, between, greatest_above, greatest_below, shifted_rows

every = torch.arange(256, dtype=torch.uint8)
MAP = torch.randint(0, 256, (2, 7, 3), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize(("low", "high"), [(1, 25), (31, 55), (60, 60), (1, 30), (225, 254)])
def test_between_is_the_comparison_for_every_code(low, high):
    assert torch.equal(between(every, low, high), ((every >= low) & (every <= high)).to(torch.uint8))


@pytest.mark.parametrize("high", [0, 25, 254])
def test_at_most_is_the_comparison_for_every_code(high):
    assert torch.equal(at_most(every, high), (every <= high).to(torch.uint8))


@pytest.mark.parametrize("rows", [-9, -2, 0, 1, 6, 7, 20])
def test_shifted_rows_hold_what_lay_so_many_rows_before(rows):
    moved = shifted_rows(MAP, rows, fill=255)
    for row in range(7):
        expected = MAP[:, row - rows] if 0 <= row - rows < 7 else torch.full((2, 3), 255, dtype=torch.uint8)
        assert torch.equal(moved[:, row], expected)


@pytest.mark.parametrize("rows", [0, 1, 2, 3, 4, 5, 12])
def test_the_greatest_of_a_window_of_rows_is_found_in_both_directions(rows):
    below, above = greatest_below(MAP, rows), greatest_above(MAP, rows)
    for row in range(7):
        assert torch.equal(below[:, row], MAP[:, row : row + rows + 1].amax(1))
        assert torch.equal(above[:, row], MAP[:, max(row - rows, 0) : row + 1].amax(1))
