from functools import partial

import numpy as np
import pytest
import torch

from synthspine.gen.core.anatomy import codes_of_spider
from synthspine.gen.phantom.series import phantom_series
from synthspine.train import step
from synthspine.train.losses import LOSSES, dice_cross_entropy
from synthspine.train.step import learning_rate


@pytest.fixture
def stepper(make_stepper):
    return make_stepper


@pytest.fixture
def batch():
    codes = torch.zeros(3, 32, 32, dtype=torch.uint8)
    codes[:, 4:12, 8:16], codes[0, 20:] = 1, 255
    return torch.rand(3, 1, 32, 32, generator=torch.Generator().manual_seed(1)), codes


def all_state(stepper):
    moments = [value for entry in stepper.optimizer.state.values() for value in entry.values()]
    averages = stepper.average.network.parameters()
    return [tensor.clone() for tensor in (*stepper.network.parameters(), *averages, *moments)]


def test_a_step_changes_the_weights_and_counts_its_loss(stepper, batch):
    stepper = stepper()
    before = all_state(stepper)
    assert stepper.take(0, *batch).item() == 0
    assert not torch.equal(all_state(stepper)[0], before[0])
    counts = stepper.statistics.read()
    assert (counts.steps, counts.skipped) == (1, 0)
    assert counts.loss > 0


@pytest.fixture(scope="module")
def phantom():
    """Three slices of a phantom patient, images and dense codes, at about 5 mm a pixel."""
    scan = phantom_series(0, 1, "t1")
    middle = np.s_[6:9, :384:8, :288:6]
    images = torch.tensor(scan.image[middle], dtype=torch.float32)
    codes = torch.tensor(codes_of_spider()[scan.mask[middle]], dtype=torch.uint8)
    return ((images - images.min()) / (images.max() - images.min())).unsqueeze(1), codes


@pytest.mark.parametrize("loss", LOSSES)
@pytest.mark.parametrize("bf16", [False, True])
def test_every_loss_lowers_itself_on_the_phantom(stepper, phantom, loss, bf16):
    choices = {"num_classes": 14, "levels": 3, "structure_loss": 1.0, "steps": 100, "highest_rate": 2e-2}
    stepper = stepper(loss=loss, bf16=bf16, **choices)
    sums = [0.0]
    for number in range(8):
        stepper.take(number, *phantom)
        sums.append(stepper.statistics.read().loss_sum)
    losses = np.diff(sums)
    assert (np.diff(losses) < 0).all() and losses[-1] < 0.9 * losses[0]
    assert stepper.statistics.read().skipped == 0


def test_kernels_decay_and_scales_and_offsets_do_not(stepper):
    stepper = stepper(weight_decay=0.1)
    parameters = list(stepper.supervised.parameters())
    for value in parameters:
        value.data.fill_(1.0)
    stepper.gradients.clear()
    stepper.optimizer.step()
    for value in parameters:
        expected = 1 - 0.1 * stepper.plan.highest_rate if value.ndim == 4 else 1.0
        torch.testing.assert_close(value.data, torch.full_like(value, expected))
    assert {value.ndim for value in parameters} == {1, 4}


@pytest.mark.parametrize(("decay", "done"), [(0.9, 4), (0.9, 0), (0.0, 2)])
def test_a_step_that_is_not_finite_changes_neither_weights_nor_average_nor_moments(
    stepper, batch, decay, done
):
    stepper = stepper(ema_decay=decay)
    images, codes = batch
    for number in range(done):
        stepper.take(number, images, codes)
    before = all_state(stepper)
    spoilt = images.clone()
    spoilt[1, 0, 3, 3] = float("inf")
    stepper.take(done, spoilt, codes)
    # The first step makes the moments, which are zero after a bad one.
    after = all_state(stepper)[: len(before)]
    assert len(after) >= 2 * len(list(stepper.network.parameters())) + done
    assert all(torch.equal(first, second) for first, second in zip(before, after, strict=True))
    assert stepper.statistics.read().skipped == 1
    stepper.take(done + 1, images, codes)
    assert not any(torch.equal(*pair) for pair in zip(all_state(stepper)[:2], before[:2], strict=True))


def test_a_long_gradient_is_clipped_before_the_update(stepper, batch, monkeypatch):
    monkeypatch.setitem(LOSSES, "dice-ce", lambda *values: 1e4 * dice_cross_entropy(*values))
    stepper = stepper()
    stepper.take(0, *batch)
    assert stepper.gradients.buffer.norm().item() == pytest.approx(step.LARGEST_GRADIENT_NORM, rel=1e-4)
    first = next(iter(stepper.optimizer.state.items()))
    weight, moments = first
    torch.testing.assert_close(moments["exp_avg"], 0.1 * weight.grad)


def test_the_rate_of_a_step_is_that_of_the_schedule(stepper, batch):
    stepper = stepper()
    for number in (0, 4, 9):
        stepper.take(number, *batch)
        rates = [group["lr"] for group in stepper.optimizer.param_groups]
        assert rates == [learning_rate(number, 10, 1e-2)] * 2


def test_bf16_is_the_arithmetic_of_the_network_and_not_of_the_weights(stepper, batch):
    found = {}
    for bf16 in (False, True):
        torch.manual_seed(0)
        made = stepper(bf16=bf16)
        kinds = []
        made.network.head.register_forward_hook(
            lambda _, inputs, output, kinds=kinds: kinds.append(output.dtype)
        )
        made.take(0, *batch)
        found[bf16] = made.statistics.read().loss
        assert kinds == [torch.bfloat16 if bf16 else torch.float32]
        assert all(tensor.dtype == torch.float32 for tensor in all_state(made))
    assert found[True] == pytest.approx(found[False], rel=0.02)


def test_the_stop_of_a_rank_is_told(stepper, batch):
    assert stepper().take(0, *batch, stop=True).item() == 1


@pytest.mark.slow
def test_a_compiled_network_takes_the_same_step(stepper, batch, monkeypatch):
    # Traced and differentiated as for a GPU; writing C++ for a CPU takes minutes.
    monkeypatch.setattr(torch, "compile", partial(torch.compile, backend="aot_eager"))
    states = []
    for compiled in (False, True):
        torch.manual_seed(0)
        made = stepper(compiled=compiled)
        made.take(0, *batch)
        states.append((made.gradients.buffer.clone(), made.statistics.read().loss))
    torch.testing.assert_close(states[1][0], states[0][0], rtol=1e-3, atol=1e-5)
    assert states[1][1] == pytest.approx(states[0][1], rel=1e-5)
