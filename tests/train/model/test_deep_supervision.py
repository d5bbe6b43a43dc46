import pytest
import torch

from synthspine.train.losses import LossContext, count_pixels, dice_cross_entropy
from synthspine.train.model.deep_supervision import COARSE_LEVELS, DeepSupervision
from synthspine.train.model.unet import UNet


@pytest.fixture
def network():
    torch.manual_seed(0)
    return UNet(num_classes=4, base_features=4)


def test_levels_answer_at_their_own_resolution_and_the_finest_is_the_networks(network):
    supervised = DeepSupervision(network)
    image = torch.rand(2, 1, 48, 32)
    answers = supervised(image)
    assert [tuple(answer.shape) for answer in answers] == [
        (2, 4, 48, 32), (2, 4, 24, 16), (2, 4, 12, 8), (2, 4, 6, 4),
    ]  # fmt: skip
    assert torch.equal(answers[0], network(image))
    assert supervised.weights == [1, 0.5, 0.25, 0.125]


@pytest.mark.parametrize(("levels", "there"), [(2, 0), (3, 1), (4, 2), (5, 3), (6, 3)])
def test_there_are_no_more_coarse_answers_than_levels_between(levels, there):
    supervised = DeepSupervision(UNet(num_classes=3, base_features=4, levels=levels))
    side = 2 ** (levels - 1) * 2
    answers = supervised(torch.rand(1, 1, side, side))
    targets = supervised.targets(torch.zeros(1, side, side, dtype=torch.uint8))
    assert len(answers) == len(targets) == len(supervised.weights) == there + 1
    assert [answer.shape[-2:] for answer in answers] == [target.shape[-2:] for target in targets]


def test_a_coarse_target_is_the_class_at_the_centre_of_its_block(network):
    target = torch.arange(64, dtype=torch.uint8).reshape(1, 8, 8)
    _, half, quarter, eighth = DeepSupervision(network).targets(target)
    assert half[0, 0].tolist() == [9, 11, 13, 15]
    assert quarter[0].tolist() == [[18, 22], [50, 54]]
    assert eighth[0].tolist() == [[36]]


def test_first_weights_of_the_heads_are_zero_and_nothing_else_is_touched(network):
    before = [value.clone() for value in network.parameters()]
    state = torch.random.get_rng_state()
    supervised = DeepSupervision(network)
    assert torch.equal(torch.random.get_rng_state(), state)
    assert all(not value.any() for value in supervised.heads.parameters())
    assert all(torch.equal(*pair) for pair in zip(before, network.parameters(), strict=True))


def test_steps_train_the_heads_and_the_network_is_saved_without_them(make_stepper):
    codes = torch.zeros(3, 32, 32, dtype=torch.uint8)
    codes[:, 4:20, 8:24] = 1
    stepper = make_stepper()
    for step in range(2):
        stepper.take(step, torch.rand(3, 1, 32, 32), codes)
    assert len(stepper.supervised.heads) == COARSE_LEVELS
    assert all(value.any() for value in stepper.supervised.heads.parameters())
    assert stepper.network.state_dict().keys() == UNet(num_classes=4, base_features=4).state_dict().keys()


def test_a_step_adds_coarse_losses_with_their_weights(make_stepper):
    images = torch.rand(3, 1, 32, 32, generator=torch.Generator().manual_seed(4))
    codes = torch.zeros(3, 32, 32, dtype=torch.uint8)
    codes[:, 4:20, 8:24], codes[0, 20:] = 1, 255
    stepper = make_stepper(levels=4, steps=10)
    supervised = stepper.supervised
    targets = supervised.targets(stepper.scheme.encode(codes))
    wanted = sum(
        weight
        * dice_cross_entropy(
            logits, target, LossContext(class_pixels=count_pixels(target, 4), samples=3, balance=1.0)
        )
        for weight, logits, target in zip((1, 0.5, 0.25), supervised(images), targets, strict=True)
    )
    stepper.take(0, images, codes)
    assert stepper.statistics.read().loss == pytest.approx(wanted.item(), rel=1e-5)
