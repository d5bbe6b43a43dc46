import math

import pytest
import torch
import torch.nn.functional as functional

from synthspine.train.losses import (
    FASTER,
    LOSSES,
    LossContext,
    count_pixels,
    dice_cross_entropy,
    dice_focal,
    fast_dice_cross_entropy,
    find_loss,
    tversky_cross_entropy,
)

EVERY_LOSS = pytest.mark.parametrize("loss", [*LOSSES.values(), *FASTER.values()])


def plain_loss(logits, target, context):
    """Dice and cross-entropy from a one-hot target, as the formula has it."""
    classes = logits.shape[1]
    valid = target != 255
    shares = torch.bincount(target[valid].long(), minlength=classes) / valid.sum()
    weights = torch.where(shares > 0, shares**-context.balance, 0).to(logits)
    cross_entropy = functional.cross_entropy(logits, target.long(), weights, ignore_index=255)
    probability = logits.softmax(dim=1) * valid[:, None]
    one_hot = functional.one_hot(target.long().masked_fill(~valid, 0), classes).permute(0, 3, 1, 2)
    one_hot = one_hot * valid[:, None]
    overlap = (probability * one_hot).sum((2, 3))
    size = probability.sum((2, 3)) + one_hot.sum((2, 3))
    present = one_hot.sum((2, 3)) > 0
    present[:, 0] = False
    lost = torch.where(present, 1 - (2 * overlap + 1) / (size + 1), 0)
    dice = (lost.sum(1) / present.sum(1).clamp(min=1)).sum() / context.samples
    return cross_entropy + dice


def context_of(target, classes=5, samples=None, balance=0.0):
    pixels = count_pixels(target, classes)
    return LossContext(class_pixels=pixels, samples=samples or len(target), balance=balance)


def value_and_gradient(loss, logits, target, context):
    value = loss(logits, target, context)
    return value, *torch.autograd.grad(value, logits)


@pytest.fixture
def batch():
    """Logits and a target with ignored pixels, a class that one sample lacks, and a sample of background."""
    torch.manual_seed(0)
    logits = torch.randn(3, 5, 6, 4, dtype=torch.float64, requires_grad=True)
    target = torch.randint(0, 5, (3, 6, 4), dtype=torch.uint8)
    target[0, :2] = 255
    target[1][target[1] == 2] = 0
    target[2] = 0
    return logits, target


@pytest.mark.parametrize("balance", [0.0, 0.4, 1.0])
def test_dice_and_cross_entropy_equal_the_formula(batch, balance):
    context = context_of(batch[1], balance=balance)
    found = value_and_gradient(dice_cross_entropy, *batch, context)
    torch.testing.assert_close(found, value_and_gradient(plain_loss, *batch, context))


@pytest.mark.parametrize("balance", [0.0, 0.4, 1.0])
@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
@pytest.mark.parametrize(("plain", "fast"), FASTER.items())
def test_a_faster_loss_has_the_value_and_gradient_of_autograd(batch, plain, fast, dtype, balance):
    logits, target = batch
    logits = logits.detach().to(dtype).requires_grad_()
    # A sixth class is in no sample.
    context = context_of(target, classes=6, balance=balance)
    logits = torch.cat((logits, logits[:, :1]), dim=1)
    wanted = value_and_gradient(plain, logits, target, context)
    assert wanted[0].dtype == dtype
    torch.testing.assert_close(value_and_gradient(fast, logits, target, context), wanted)


def logits_of(*probabilities):
    """Logits of one row of pixels, ``(1, K, 1, N)``, from probabilities of the classes of every pixel."""
    return torch.tensor(probabilities, dtype=torch.float64).log().T[None, :, None]


def test_the_focal_loss_equals_its_formula():
    # Only background and an ignored pixel: no class has a Dice.
    target = torch.tensor([[[0, 0, 255]]], dtype=torch.uint8)
    found = dice_focal(logits_of((0.9, 0.1), (0.4, 0.6), (0.1, 0.9)), target, context_of(target, classes=2))
    wanted = -(0.1**2 * math.log(0.9) + 0.6**2 * math.log(0.4)) / 2
    assert found.item() == pytest.approx(wanted, abs=1e-12)


def test_the_tversky_index_equals_its_formula():
    target = torch.tensor([[[0, 1, 1, 255]]], dtype=torch.uint8)
    logits = logits_of((0.9, 0.1), (0.4, 0.6), (0.2, 0.8), (0.1, 0.9))
    found = tversky_cross_entropy(logits, target, context_of(target, classes=2))
    cross_entropy = -(math.log(0.9) + math.log(0.6) + math.log(0.8)) / 3
    overlap, false, missed = 1.4, 0.1, 0.6
    index = (overlap + 0.5) / (overlap + 0.3 * false + 0.7 * missed + 0.5)
    assert found.item() == pytest.approx(cross_entropy + 1 - index, abs=1e-12)


@EVERY_LOSS
def test_the_gradient_passes_the_numerical_check(loss, batch):
    logits, target = batch
    context = context_of(target, balance=0.5)
    assert torch.autograd.gradcheck(lambda x: 3 * loss(x, target, context), logits)


@EVERY_LOSS
def test_the_memory_format_does_not_matter(loss, batch):
    logits, target = batch
    last = logits.detach().contiguous(memory_format=torch.channels_last).requires_grad_()
    found = [value_and_gradient(loss, x, target, context_of(target)) for x in (logits, last)]
    torch.testing.assert_close(*found)


@EVERY_LOSS
def test_shares_of_two_ranks_add_up_to_the_loss_of_one(loss, batch):
    logits, target = batch
    context = context_of(target, balance=0.5)

    def shares(logits, target, context):
        return sum(loss(logits[part], target[part], context) for part in (slice(0, 1), slice(1, 3)))

    found = value_and_gradient(shares, logits, target, context)
    torch.testing.assert_close(found, value_and_gradient(loss, logits, target, context))


@EVERY_LOSS
def test_ignored_pixels_change_nothing(loss, batch):
    logits, target = batch
    other = logits.detach().clone()
    other[0, :, :2] += torch.randn(5, 2, 4)
    results = [
        value_and_gradient(loss, x, target, context_of(target)) for x in (logits, other.requires_grad_())
    ]
    torch.testing.assert_close(*results)
    assert not results[0][1][0, :, :2].any()


@EVERY_LOSS
def test_a_batch_without_any_target_costs_nothing_and_moves_nothing(loss):
    logits = torch.randn(2, 4, 3, 3, requires_grad=True)
    target = torch.full((2, 3, 3), 255, dtype=torch.uint8)
    value, gradient = value_and_gradient(loss, logits, target, context_of(target, classes=4))
    assert value.item() == 0
    assert not gradient.any()


@EVERY_LOSS
def test_bf16_logits_give_about_the_same(loss):
    torch.manual_seed(0)
    logits = torch.randn(2, 14, 16, 16)
    target = torch.randint(0, 14, (2, 16, 16), dtype=torch.uint8)
    full, half = (loss(x, target, context_of(target, classes=14)) for x in (logits, logits.bfloat16()))
    assert half.dtype == torch.float32
    torch.testing.assert_close(half, full, rtol=1e-2, atol=1e-2)


@EVERY_LOSS
@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float32])
@pytest.mark.parametrize("scale", [1e2, 1e4, 1e30])
def test_extreme_logits_give_a_finite_value_and_gradient(loss, batch, dtype, scale):
    logits, target = batch
    logits = (scale * logits.detach()).to(dtype).requires_grad_()
    value, gradient = value_and_gradient(loss, logits, target, context_of(target, balance=0.5))
    assert value.isfinite() and gradient.isfinite().all()
    assert gradient.dtype == dtype


def test_the_focal_loss_asks_less_of_a_pixel_that_is_almost_certain():
    target = torch.zeros(1, 1, 2, dtype=torch.uint8)
    logits = logits_of((0.95, 0.05), (0.5, 0.5)).requires_grad_()
    slopes = [
        value_and_gradient(loss, logits, target, context_of(target, classes=2))[1][0, 0, 0]
        for loss in (dice_cross_entropy, dice_focal)
    ]
    plain, focal = (slope[0] / slope[1] for slope in slopes)
    assert focal < 0.1 * plain


def test_the_tversky_loss_asks_more_for_missed_pixels_than_for_false_ones():
    target = torch.tensor([[[0, 0, 1, 1, 1, 1]]], dtype=torch.uint8)
    # Two pixels too many, or two too few.
    large, small = (torch.zeros(1, 2, 1, 6) for _ in range(2))
    large[0, 1], small[0, 1, 0, :4], small[0, 1, 0, 4:] = 9, -9, 9
    large, small = (tversky_cross_entropy(x, target, context_of(target, classes=2)) for x in (large, small))
    assert small > large + 0.1


def test_an_unknown_name_is_refused_with_the_names_that_there_are():
    with pytest.raises(ValueError, match=f"loss 'hinge' must be one of {', '.join(LOSSES)}"):
        find_loss("hinge")


def test_training_takes_the_faster_loss_and_an_own_one_of_the_same_name(monkeypatch):
    assert find_loss("dice-ce") is fast_dice_cross_entropy
    monkeypatch.setitem(LOSSES, "dice-ce", dice_focal)
    assert find_loss("dice-ce") is dice_focal


def test_pixels_are_counted_by_class():
    target = torch.tensor([[[0, 0, 3], [255, 1, 3]]], dtype=torch.uint8)
    assert count_pixels(target, 4).tolist() == [2, 1, 0, 2]


def test_balanced_weights_give_every_class_that_is_there_an_equal_say():
    target = torch.zeros(1, 20, 20, dtype=torch.uint8)
    target[0, 0, :4] = 1
    for balance, wanted in ((0.0, [0.99, 0.01]), (1.0, [0.5, 0.5])):
        context = context_of(target, classes=3, balance=balance)
        says = context.pixel_weights() * context.class_pixels
        assert says.tolist() == pytest.approx([*wanted, 0])


def test_a_class_of_few_pixels_gets_no_weight_without_bound():
    target = torch.zeros(1, 200, 200, dtype=torch.uint8)
    target[0, 0, 0] = 1
    # Its share is 1 / 40,000; it weighs as if it were 1 / 10,000, a quarter of a class's say.
    weights = context_of(target, classes=2, balance=1.0).pixel_weights()
    assert weights[1].item() == pytest.approx(0.25 / 1.25, rel=1e-2)
