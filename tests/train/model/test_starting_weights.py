"""Wider networks that begin with what a narrower one has learned."""

import pytest
import torch

from synthspine.gen import label_scheme
from synthspine.train.model.checkpoint import Checkpoint, TrainedUNet
from synthspine.train.model.starting import weights_from, widen
from synthspine.train.model.unet import UNet, seeded_unet

SIZES = [
    {"base_features": 4, "levels": 3, "num_classes": 5},
    {"base_features": 3, "levels": 5, "num_classes": 4},
]


@pytest.fixture(params=SIZES, ids=["3 levels", "5 levels"])
def narrow(request) -> UNet:
    network = seeded_unet(0, **request.param)
    generator = torch.Generator().manual_seed(1)
    for value in network.parameters():
        # Offsets are 0 and scales 1 before training.
        value.data += 0.1 * torch.randn(value.shape, generator=generator)
    return network


def wider(network: UNet, seed: int = 0) -> UNet:
    size = network.architecture | {"base_features": 2 * network.base_features}
    wide = seeded_unet(1, **size)
    wide.load_state_dict(widen(network.state_dict(), wide, seed))
    return wide


def test_a_widened_network_computes_what_the_narrow_one_does(narrow):
    image = torch.rand(2, 1, 64, 48, generator=torch.Generator().manual_seed(2))
    torch.testing.assert_close(wider(narrow)(image), narrow(image), atol=1e-4, rtol=1e-4)


def test_the_channels_of_a_pair_learn_different_things(narrow):
    wide = wider(narrow)
    wide(torch.rand(1, 1, 64, 48, generator=torch.Generator().manual_seed(2))).square().mean().backward()
    gradient = wide.encoder[1][0].weight.grad
    first, second = gradient.chunk(2)
    assert (first - second).abs().mean() > 0.1 * gradient.abs().mean()


def test_shares_depend_on_the_seed_alone(narrow):
    first, again, other = (wider(narrow, seed).state_dict() for seed in (0, 0, 1))
    assert all(torch.equal(first[name], again[name]) for name in first)
    assert any(not torch.equal(first[name], other[name]) for name in first)


@pytest.mark.parametrize("base_features", [4, 8])
def test_a_class_that_is_not_wanted_is_dropped_and_the_others_keep_their_place(base_features):
    spine, structures = label_scheme("spine"), label_scheme("structures")
    network = seeded_unet(0, num_classes=spine.num_classes, base_features=4, levels=3)
    start = TrainedUNet(
        Checkpoint(
            state_dict=network.state_dict(),
            architecture=network.architecture,
            model="A",
            config="{}",
            step=1,
            validation_dice=0.5,
            spacing_mm=1.0,
            scheme=spine.to_dict(),
        )
    )
    fewer = seeded_unet(1, num_classes=structures.num_classes, base_features=base_features, levels=3)
    fewer.load_state_dict(weights_from(start, fewer, structures, 0))
    image = torch.rand(1, 1, 32, 32, generator=torch.Generator().manual_seed(2))
    kept = [spine.class_names.index(name) for name in structures.class_names]
    torch.testing.assert_close(fewer(image), network(image)[:, kept], atol=1e-4, rtol=1e-4)
    with pytest.raises(ValueError, match="label scheme structures, not of spine"):
        weights_from(replaced(start, structures), network, spine, 0)


def replaced(start: TrainedUNet, scheme) -> TrainedUNet:
    start.scheme = scheme
    return start
