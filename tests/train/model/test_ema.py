import pytest
import torch

from synthspine.train.model.ema import WeightAverage, decay_of
from synthspine.train.model.unet import UNet

GOOD, BAD = torch.tensor(True), torch.tensor(False)


@pytest.fixture
def network():
    torch.manual_seed(0)
    return UNet(num_classes=2, base_features=4)


def move(network, value):
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.fill_(value)


def test_the_first_average_is_the_first_weights_whatever_was_there_before(network):
    average = WeightAverage(network, 0.999)
    move(network, 3.0)
    average.update(0, GOOD)
    assert all((parameter == 3).all() for parameter in average.network.parameters())


def test_the_average_is_that_of_the_formula(network):
    average = WeightAverage(network, 0.8)
    wanted = 0.0
    for step, value in enumerate([1.0, -2.0, 4.0, 0.5, 3.0]):
        move(network, value)
        average.update(step, GOOD)
        decay = min(0.8, step / (step + 20))
        wanted = decay * wanted + (1 - decay) * value
    torch.testing.assert_close(average.network.head.bias, torch.full((2,), wanted))


@pytest.mark.parametrize("steps", [20, 100, 400])
def test_a_short_run_is_averaged_over_about_its_last_twentieth(steps):
    weights = torch.zeros(steps)
    for step in range(steps):
        decay = decay_of(step, 0.999)
        weights *= decay
        weights[step] = 1 - decay
    assert weights.sum() == pytest.approx(1)
    age = (weights * (steps - 1 - torch.arange(steps))).sum().item()
    assert 0.02 * steps < age < 0.06 * steps


def test_a_long_run_has_the_decay_that_was_asked_for():
    assert decay_of(10**6, 0.999) == 0.999


def test_without_decay_the_average_is_the_weights(network):
    average = WeightAverage(network, 0.0)
    for step in range(3):
        move(network, float(step))
        average.update(step, GOOD)
    assert torch.equal(average.network.head.bias, network.head.bias)


def test_a_step_that_changed_no_weights_leaves_the_average_as_it_is(network):
    average = WeightAverage(network, 0.9)
    move(network, 0.1)
    average.update(7, GOOD)
    before = average.network.head.bias.clone()
    assert not torch.equal(before, network.head.bias)
    average.update(8, BAD)
    assert torch.equal(average.network.head.bias, before)


def test_the_average_neither_learns_nor_touches_the_network(network):
    average = WeightAverage(network, 0.9)
    before = network.head.bias.clone()
    average.update(5, GOOD)
    assert torch.equal(network.head.bias, before)
    assert not any(parameter.requires_grad for parameter in average.network.parameters())
    assert all(parameter.requires_grad for parameter in network.parameters())
