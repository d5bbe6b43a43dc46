"""Integer masks and overpainting."""

import torch

from synthspine.gen.core.brush import above, has_code, overpaint, per_sample


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
