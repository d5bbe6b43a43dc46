import pytest
import torch
import torch.nn.functional as functional

from train.loss import count_valid, segmentation_loss


def plain_loss(logits, target, valid_pixels, samples):
    """The same loss from a one-hot target, as the formula has it."""
    classes = logits.shape[1]
    valid = target != 255
    cross_entropy = functional.cross_entropy(logits, target.long(), ignore_index=255, reduction="sum")
    probability = logits.softmax(dim=1) * valid[:, None]
    one_hot = functional.one_hot(target.long().masked_fill(~valid, 0), classes).permute(0, 3, 1, 2)
    one_hot = one_hot * valid[:, None]
    overlap = (probability * one_hot).sum((2, 3))
    size = probability.sum((2, 3)) + one_hot.sum((2, 3))
    present = one_hot.sum((2, 3)) > 0
    present[:, 0] = False
    lost = torch.where(present, 1 - (2 * overlap + 1) / (size + 1), 0)
    dice = (lost.sum(1) / present.sum(1).clamp(min=1)).sum() / samples
    return cross_entropy / valid_pixels + dice


@pytest.fixture
def batch():
    torch.manual_seed(0)
    logits = torch.randn(3, 5, 6, 4, dtype=torch.float64, requires_grad=True)
    target = torch.randint(0, 5, (3, 6, 4), dtype=torch.uint8)
    target[0, :2] = 255
    target[1][target[1] == 2] = 0
    target[2] = 0
    return logits, target


def test_value_and_gradient_equal_the_formula(batch):
    logits, target = batch
    valid = count_valid(target)
    found = segmentation_loss(logits, target, valid_pixels=valid, samples=3)
    wanted = plain_loss(logits, target, valid, 3)
    torch.testing.assert_close(found, wanted)
    torch.testing.assert_close(torch.autograd.grad(found, logits), torch.autograd.grad(wanted, logits))


def test_the_gradient_passes_the_numerical_check(batch):
    logits, target = batch
    valid = count_valid(target)
    assert torch.autograd.gradcheck(
        lambda x: 3 * segmentation_loss(x, target, valid_pixels=valid, samples=3), logits
    )


def test_the_memory_format_does_not_matter(batch):
    logits, target = batch
    valid = count_valid(target)
    last = logits.detach().contiguous(memory_format=torch.channels_last).requires_grad_()
    results = [segmentation_loss(x, target, valid_pixels=valid, samples=3) for x in (logits, last)]
    torch.testing.assert_close(*results)
    torch.testing.assert_close(torch.autograd.grad(results[0], logits), torch.autograd.grad(results[1], last))


def test_shares_of_two_ranks_add_up_to_the_loss_of_one(batch):
    logits, target = batch
    valid = count_valid(target)
    whole = segmentation_loss(logits, target, valid_pixels=valid, samples=3)
    shares = [
        segmentation_loss(logits[part], target[part], valid_pixels=valid, samples=3)
        for part in (slice(0, 1), slice(1, 3))
    ]
    torch.testing.assert_close(sum(shares), whole)


def test_ignored_pixels_change_nothing(batch):
    logits, target = batch
    valid = count_valid(target)
    other = logits.detach().clone()
    other[0, :, :2] += torch.randn(5, 2, 4)
    results = [segmentation_loss(x, target, valid_pixels=valid, samples=3) for x in (logits, other)]
    torch.testing.assert_close(*results)


def test_a_batch_without_any_target_costs_nothing_and_moves_nothing():
    logits = torch.randn(2, 4, 3, 3, requires_grad=True)
    target = torch.full((2, 3, 3), 255, dtype=torch.uint8)
    loss = segmentation_loss(logits, target, valid_pixels=count_valid(target), samples=2)
    (gradient,) = torch.autograd.grad(loss, logits)
    assert loss.item() == 0
    assert not gradient.any()


def test_bf16_logits_give_about_the_same():
    torch.manual_seed(0)
    logits = torch.randn(2, 14, 16, 16)
    target = torch.randint(0, 14, (2, 16, 16), dtype=torch.uint8)
    valid = count_valid(target)
    full, half = (
        segmentation_loss(x, target, valid_pixels=valid, samples=2) for x in (logits, logits.bfloat16())
    )
    assert half.dtype == torch.float32
    torch.testing.assert_close(half, full, rtol=1e-2, atol=1e-2)
