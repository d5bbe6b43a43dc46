import pytest
import torch
import torch.nn.functional as functional

from synthspine.train.losses import count_pixels, segmentation_loss


def plain_loss(logits, target, samples, balance):
    """The same loss from a one-hot target, as the formula has it."""
    classes = logits.shape[1]
    valid = target != 255
    shares = torch.bincount(target[valid].long(), minlength=classes) / valid.sum()
    weights = torch.where(shares > 0, shares**-balance, 0).to(logits)
    cross_entropy = functional.cross_entropy(logits, target.long(), weights, ignore_index=255)
    probability = logits.softmax(dim=1) * valid[:, None]
    one_hot = functional.one_hot(target.long().masked_fill(~valid, 0), classes).permute(0, 3, 1, 2)
    one_hot = one_hot * valid[:, None]
    overlap = (probability * one_hot).sum((2, 3))
    size = probability.sum((2, 3)) + one_hot.sum((2, 3))
    present = one_hot.sum((2, 3)) > 0
    present[:, 0] = False
    lost = torch.where(present, 1 - (2 * overlap + 1) / (size + 1), 0)
    dice = (lost.sum(1) / present.sum(1).clamp(min=1)).sum() / samples
    return cross_entropy + dice


@pytest.fixture
def batch():
    torch.manual_seed(0)
    logits = torch.randn(3, 5, 6, 4, dtype=torch.float64, requires_grad=True)
    target = torch.randint(0, 5, (3, 6, 4), dtype=torch.uint8)
    target[0, :2] = 255
    target[1][target[1] == 2] = 0
    target[2] = 0
    return logits, target


@pytest.mark.parametrize("balance", [0.0, 0.4, 1.0])
def test_value_and_gradient_equal_the_formula(batch, balance):
    logits, target = batch
    pixels = count_pixels(target, 5)
    found = segmentation_loss(logits, target, class_pixels=pixels, samples=3, balance=balance)
    wanted = plain_loss(logits, target, 3, balance)
    torch.testing.assert_close(found, wanted)
    torch.testing.assert_close(torch.autograd.grad(found, logits), torch.autograd.grad(wanted, logits))


def test_the_gradient_passes_the_numerical_check(batch):
    logits, target = batch
    pixels = count_pixels(target, 5)
    assert torch.autograd.gradcheck(
        lambda x: 3 * segmentation_loss(x, target, class_pixels=pixels, samples=3, balance=0.5), logits
    )


def test_the_memory_format_does_not_matter(batch):
    logits, target = batch
    pixels = count_pixels(target, 5)
    last = logits.detach().contiguous(memory_format=torch.channels_last).requires_grad_()
    results = [segmentation_loss(x, target, class_pixels=pixels, samples=3) for x in (logits, last)]
    torch.testing.assert_close(*results)
    torch.testing.assert_close(torch.autograd.grad(results[0], logits), torch.autograd.grad(results[1], last))


def test_shares_of_two_ranks_add_up_to_the_loss_of_one(batch):
    logits, target = batch
    pixels = count_pixels(target, 5)
    whole = segmentation_loss(logits, target, class_pixels=pixels, samples=3)
    shares = [
        segmentation_loss(logits[part], target[part], class_pixels=pixels, samples=3)
        for part in (slice(0, 1), slice(1, 3))
    ]
    torch.testing.assert_close(sum(shares), whole)


def test_ignored_pixels_change_nothing(batch):
    logits, target = batch
    pixels = count_pixels(target, 5)
    other = logits.detach().clone()
    other[0, :, :2] += torch.randn(5, 2, 4)
    results = [segmentation_loss(x, target, class_pixels=pixels, samples=3) for x in (logits, other)]
    torch.testing.assert_close(*results)


def test_a_batch_without_any_target_costs_nothing_and_moves_nothing():
    logits = torch.randn(2, 4, 3, 3, requires_grad=True)
    target = torch.full((2, 3, 3), 255, dtype=torch.uint8)
    loss = segmentation_loss(logits, target, class_pixels=count_pixels(target, 4), samples=2)
    (gradient,) = torch.autograd.grad(loss, logits)
    assert loss.item() == 0
    assert not gradient.any()


def test_bf16_logits_give_about_the_same():
    torch.manual_seed(0)
    logits = torch.randn(2, 14, 16, 16)
    target = torch.randint(0, 14, (2, 16, 16), dtype=torch.uint8)
    pixels = count_pixels(target, 14)
    full, half = (
        segmentation_loss(x, target, class_pixels=pixels, samples=2) for x in (logits, logits.bfloat16())
    )
    assert half.dtype == torch.float32
    torch.testing.assert_close(half, full, rtol=1e-2, atol=1e-2)


def test_pixels_are_counted_by_class():
    target = torch.tensor([[[0, 0, 3], [255, 1, 3]]], dtype=torch.uint8)
    assert count_pixels(target, 4).tolist() == [2, 1, 0, 2]


def test_balanced_cross_entropy_gives_every_class_that_is_there_an_equal_say():
    target = torch.zeros(1, 20, 20, dtype=torch.uint8)
    target[0, 0, :4] = 1
    slopes = {}
    for balance in (0.0, 1.0):
        logits = torch.zeros(1, 3, 20, 20, requires_grad=True)
        pixels = count_pixels(target, 3)
        loss = segmentation_loss(logits, target, class_pixels=pixels, samples=10**9, balance=balance)
        (slope,) = torch.autograd.grad(loss, logits)
        # So many samples that Dice has no say: every pixel's own class pulls with 2 / 3 of its weight.
        slopes[balance] = [-1.5 * slope[0, k][target[0] == k].sum().item() for k in (0, 1)]
    assert slopes[0.0] == pytest.approx([0.99, 0.01], rel=1e-4)
    assert slopes[1.0] == pytest.approx([0.5, 0.5], rel=1e-4)


def test_a_class_of_few_pixels_gets_no_weight_without_bound():
    target = torch.zeros(1, 200, 200, dtype=torch.uint8)
    target[0, 0, 0] = 1
    logits = torch.zeros(1, 2, 200, 200, requires_grad=True)
    pixels = count_pixels(target, 2)
    loss = segmentation_loss(logits, target, class_pixels=pixels, samples=10**9, balance=1.0)
    (slope,) = torch.autograd.grad(loss, logits)
    # Its share is 1 / 40,000; it weighs as if it were 1 / 10,000, a quarter of a class's say.
    assert -2 * slope[0, 1, 0, 0].item() == pytest.approx(0.25 / 1.25, rel=1e-2)
