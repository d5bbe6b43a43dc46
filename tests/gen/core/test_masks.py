"""Masks of label maps, and neighbourhoods along columns."""

import pytest
import torch

from synthspine.gen.core.masks import (
    above,
    at_most,
    between,
    columns_of,
    greatest_near,
    has_code,
    overpaint,
    per_sample,
    shifted_rows,
    with_columns,
)

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


@pytest.mark.parametrize("rows", [0, 1, 2, 5, 12])
def test_the_greatest_code_near_a_pixel_is_that_of_its_column(rows):
    near = greatest_near(MAP, rows)
    assert near.dtype == torch.uint8 and torch.equal(greatest_near(MAP[:1], rows), near[:1])
    for row in range(7):
        assert torch.equal(near[:, row], MAP[:, max(row - rows, 0) : row + rows + 1].amax(1))


def test_above_is_a_comparison_also_against_infinity():
    values = torch.tensor([-1.0, 0.0, 1e-30, 2.0])
    assert above(values, 0.0).tolist() == [0, 0, 1, 1]
    assert above(values, torch.tensor(float("inf"))).tolist() == [0, 0, 0, 0]
    assert above(values, torch.tensor(-float("inf"))).tolist() == [1, 1, 1, 1]
    assert above(values, values.unsqueeze(1)).dtype == torch.uint8
    assert torch.equal(above(values, values.unsqueeze(1)).bool(), values > values.unsqueeze(1))


def test_has_code_finds_one_code_of_all():
    codes = torch.arange(256, dtype=torch.uint8)
    for code in (0, 1, 60, 255):
        assert torch.equal(has_code(codes, code).bool(), codes == code)


def test_overpaint_is_a_choice_of_two_codes():
    painted = torch.arange(256, dtype=torch.uint8)
    mask = (painted % 3 == 0).to(torch.uint8)
    assert torch.equal(overpaint(painted, 200, mask), torch.where(mask == 1, 200, painted))
    assert torch.equal(
        overpaint(painted, painted.flip(0), mask), torch.where(mask == 1, painted.flip(0), painted)
    )


def test_per_sample_meets_any_grid():
    assert per_sample(torch.ones(2), torch.zeros(2, 3, 4, 5)).shape == (2, 1, 1, 1)


def test_columns_reach_from_the_first_to_the_last_pixel_of_a_mask():
    mask = torch.zeros(2, 3, 8, dtype=torch.uint8)
    assert columns_of(mask) == slice(0, 1)
    mask[0, 1, 2] = mask[1, 0, 5] = 1
    assert columns_of(mask) == slice(2, 6) and columns_of(mask.to("meta")) == slice(0, 8)
    changed = with_columns(mask, slice(2, 6), 7 + mask[..., 2:6])
    assert changed[0, 0].tolist() == [0, 0, 7, 7, 7, 7, 0, 0] and int(mask.max()) == 1
