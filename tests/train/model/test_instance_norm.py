import pytest
import torch
from torch import nn

from synthspine.train.model.instance_norm import InstanceNorm


@pytest.fixture
def layers():
    """The layer and torch's own, with the same weights, in float64."""
    torch.manual_seed(0)
    mine, theirs = InstanceNorm(3).double(), nn.InstanceNorm2d(3, affine=True).double()
    for layer in (mine, theirs):
        layer.weight.data = torch.tensor([0.5, 1.0, 2.0], dtype=torch.float64)
        layer.bias.data = torch.tensor([0.1, 0.0, -3.0], dtype=torch.float64)
    return mine, theirs


@pytest.mark.parametrize("memory", [torch.contiguous_format, torch.channels_last])
def test_values_and_gradients_are_those_of_torch(layers, memory):
    features = (torch.randn(2, 3, 8, 6, dtype=torch.float64) * 4 + 7).contiguous(memory_format=memory)
    weighting = torch.randn(2, 3, 8, 6, dtype=torch.float64)
    results = []
    for layer in layers:
        given = features.clone().requires_grad_()
        answer = layer(given)
        (answer * weighting).sum().backward()
        results.append((answer, given.grad, layer.weight.grad, layer.bias.grad))
    for mine, theirs in zip(*results, strict=True):
        torch.testing.assert_close(mine, theirs)


def test_gradients_pass_the_numerical_check(layers):
    features = torch.randn(2, 3, 4, 5, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(layers[0], features)


def test_a_constant_channel_becomes_its_offset(layers):
    answer = layers[0](torch.full((1, 3, 4, 4), 5.0, dtype=torch.float64))
    torch.testing.assert_close(answer[0, :, 0, 0], layers[0].bias.detach())


def test_bf16_is_normal_to_its_own_precision():
    torch.manual_seed(0)
    features = torch.randn(2, 3, 64, 48) * 3 + 2
    wanted = nn.functional.instance_norm(features)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        answer = InstanceNorm(3)(features.bfloat16())
    assert answer.dtype == torch.bfloat16
    torch.testing.assert_close(answer.float(), wanted, atol=0.04, rtol=0.02)


@pytest.mark.parametrize("offset", [10, 100])
def test_bf16_is_accurate_where_the_mean_is_large(offset):
    """Against float32 autograd: outputs up to 5 and gradients up to 5 differ by the rounding of bf16."""
    torch.manual_seed(0)
    features = (torch.randn(2, 8, 64, 48) + offset).bfloat16()
    slope = torch.randn(2, 8, 64, 48).bfloat16()
    wanted, found = features.float().requires_grad_(), features.clone().requires_grad_()
    expected = nn.functional.instance_norm(wanted)
    expected.backward(slope.float())
    result = InstanceNorm(8)(found)
    result.backward(slope)
    assert (result.float() - expected).abs().max() < 0.03
    assert (found.grad.float() - wanted.grad).abs().max() < 0.03


def test_rows_that_differ_from_the_rows_of_the_shift_are_normalised_all_the_same():
    features = torch.zeros(1, 1, 64, 16)
    features[:, :, ::8] = 100
    wanted = nn.functional.instance_norm(features)
    torch.testing.assert_close(InstanceNorm(1)(features), wanted, atol=1e-5, rtol=1e-5)
    found = InstanceNorm(1)(features.bfloat16()).float()
    torch.testing.assert_close(found, wanted, atol=0.02, rtol=0.02)


def test_an_activation_in_place_may_follow(layers):
    features = torch.randn(1, 3, 4, 4, dtype=torch.float64, requires_grad=True)
    nn.LeakyReLU(inplace=True)(layers[0](features)).sum().backward()
    assert features.grad is not None
