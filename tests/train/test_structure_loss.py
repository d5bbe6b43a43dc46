import pytest
import torch

from synthspine.gen import label_scheme
from synthspine.train import step
from synthspine.train.decoding import merge_logits
from synthspine.train.losses import LOSSES, LossContext, count_pixels, find_loss, structure_loss

RANKS, STRUCTURES = label_scheme(14), label_scheme(4)


@pytest.fixture
def codes():
    """Dense codes with all that schemes treat apart: ranks, background, a rank too high, no annotation."""
    draw = torch.Generator().manual_seed(0)
    known = torch.tensor([0, 1, 2, 6, 31, 32, 36, 60, 7, 37, 255], dtype=torch.uint8)
    return known[torch.randint(0, len(known), (3, 5, 4), generator=draw)]


@pytest.fixture
def logits():
    torch.manual_seed(1)
    return torch.randn(3, 14, 5, 4, dtype=torch.float64, requires_grad=True)


def context_of(target, classes=14, balance=0.5):
    return LossContext(class_pixels=count_pixels(target, classes), samples=len(target), balance=balance)


def loss_of(logits, target, scheme=RANKS, context=None, name="dice-ce"):
    context = context or context_of(target, scheme.num_classes)
    return structure_loss(find_loss(name), logits, target, scheme, context)


def test_the_probability_of_a_structure_is_the_sum_of_those_of_its_classes(logits):
    whole, merged = logits.softmax(dim=1), merge_logits(logits, RANKS).softmax(dim=1)
    wanted = (whole[:, 0], whole[:, 1:7].sum(1), whole[:, 7:13].sum(1), whole[:, 13])
    torch.testing.assert_close(merged, torch.stack(wanted, dim=1))


def test_it_is_the_loss_of_a_network_of_four_classes_where_ranks_are_known(logits, codes):
    target = RANKS.encode(codes)
    # Ranks above those of the classes are left out, although four classes would take them.
    merged = STRUCTURES.encode(codes).masked_fill(target == 255, 255)
    assert (merged != STRUCTURES.encode(codes)).any() and (target == 255).any()
    for name in LOSSES:
        wanted = find_loss(name)(merge_logits(logits, RANKS), merged, context_of(merged, 4))
        assert torch.equal(loss_of(logits, target, name=name), wanted)


def test_without_ranks_it_is_the_plain_loss(codes):
    torch.manual_seed(2)
    logits = torch.randn(3, 4, 5, 4, dtype=torch.float64, requires_grad=True)
    target = STRUCTURES.encode(codes)
    found = loss_of(logits, target, STRUCTURES)
    plain = find_loss("dice-ce")(logits, target, context_of(target, 4))
    torch.testing.assert_close(found, plain)
    torch.testing.assert_close(torch.autograd.grad(found, logits), torch.autograd.grad(plain, logits))


@pytest.mark.parametrize("name", LOSSES)
def test_the_gradient_passes_the_numerical_check(logits, codes, name):
    target = RANKS.encode(codes)
    assert torch.autograd.gradcheck(lambda x: 3 * loss_of(x, target, name=name), logits)


@pytest.mark.parametrize("name", LOSSES)
def test_shares_of_two_ranks_add_up_to_the_loss_of_one(logits, codes, name):
    target = RANKS.encode(codes)
    shares = [
        loss_of(logits[part], target[part], context=context_of(target), name=name)
        for part in (slice(0, None, 2), slice(1, None, 2))
    ]
    whole = loss_of(logits, target, name=name)
    torch.testing.assert_close(sum(shares), whole)
    torch.testing.assert_close(torch.autograd.grad(sum(shares), logits), torch.autograd.grad(whole, logits))


def test_it_does_not_ask_for_the_rank_and_asks_for_the_structure():
    target = RANKS.encode(torch.full((1, 6, 6), 3, dtype=torch.uint8))

    def sure_of(number):
        logits = torch.zeros(1, 14, 6, 6)
        logits[:, number] = 20
        return loss_of(logits, target).item()

    assert sure_of(3) == pytest.approx(sure_of(5), abs=1e-6)
    assert sure_of(3) < 0.01 < 1 < sure_of(9)


def test_large_logits_and_bf16_do_no_harm(codes):
    torch.manual_seed(3)
    logits = torch.randn(3, 14, 5, 4)
    target = RANKS.encode(codes)
    half = loss_of(logits.bfloat16(), target)
    assert half.dtype == torch.float32
    torch.testing.assert_close(half, loss_of(logits, target), rtol=1e-2, atol=1e-2)
    huge = (300 * logits).requires_grad_()
    loss = loss_of(huge, target)
    (gradient,) = torch.autograd.grad(loss, huge)
    assert loss.isfinite() and gradient.isfinite().all()


@pytest.mark.parametrize(("weight", "name"), [(0.0, "dice-ce"), *((0.5, name) for name in LOSSES)])
def test_a_step_adds_it_with_its_weight(make_stepper, weight, name, monkeypatch):
    images = torch.rand(3, 1, 32, 32, generator=torch.Generator().manual_seed(4))
    codes = torch.randint(0, 7, (3, 32, 32), generator=torch.Generator().manual_seed(5)).to(torch.uint8)
    stepper = make_stepper(num_classes=14, loss=name, structure_loss=weight, levels=2, balanced=False)
    target = RANKS.encode(codes)
    logits, context = stepper.network(images), context_of(target, balance=0)
    wanted = LOSSES[name](logits, target, context)
    wanted = wanted + weight * structure_loss(LOSSES[name], logits, target, RANKS, context)
    if not weight:
        monkeypatch.setattr(step, "structure_loss", None)
    stepper.take(0, images, codes)
    assert stepper.statistics.read().loss == pytest.approx(wanted.item(), rel=1e-5)
