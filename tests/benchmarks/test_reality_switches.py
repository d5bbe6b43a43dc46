"""Switches of training that the study needs: levels of the U-Net, strong augmentation."""

from dataclasses import replace
from pathlib import Path

import pytest
import torch

from synthspine.shards.building.options import ShardOptions
from synthspine.shards.readers.slices import Grid
from synthspine.train.data.augment import AUGMENTATIONS, AugmentConfig, augment
from synthspine.train.model.checkpoint import Checkpoint, TrainedUNet, bare_state
from synthspine.train.model.unet import LEVELS, UNet, seeded_unet
from synthspine.train.options import TrainOptions


@pytest.mark.parametrize(("levels", "stride"), [(2, 2), (4, 8), (5, 16), (6, 32)])
def test_levels_set_the_stride_and_logits_keep_the_size(levels, stride):
    network = UNet(num_classes=4, base_features=2, levels=levels)
    assert network.stride == stride
    assert network(torch.rand(1, 1, stride, 2 * stride)).shape == (1, 4, stride, 2 * stride)
    with pytest.raises(ValueError, match=f"multiples of {stride}"):
        network(torch.rand(1, 1, stride, 2 * stride + 1))


@pytest.mark.parametrize("levels", [1, 9])
def test_impossible_levels_are_refused(levels):
    with pytest.raises(ValueError, match=f"levels {levels} must be 2 to 8"):
        UNet(levels=levels)
    with pytest.raises(ValueError, match=f"levels {levels} must be 2 to 8"):
        TrainOptions(levels=levels)


@pytest.mark.parametrize("levels", [4, 6])
def test_a_checkpoint_brings_its_levels_back(levels):
    network = UNet(num_classes=4, base_features=2, levels=levels)
    checkpoint = Checkpoint(
        state_dict=bare_state(network.state_dict()),
        architecture=network.architecture,
        model="A",
        config="{}",
        step=1,
        validation_dice=0.5,
        spacing_mm=1.0,
    )
    loaded = TrainedUNet(checkpoint)
    image = torch.rand(1, 1, 64, 32)
    assert loaded.levels == levels
    torch.testing.assert_close(loaded.eval()(image), network.eval()(image))


def test_the_usual_levels_are_not_written_so_that_older_versions_can_read_a_checkpoint():
    assert "levels" not in UNet(levels=LEVELS).architecture


def test_seeded_weights_follow_the_seed_alone():
    torch.manual_seed(5)
    first = seeded_unet(1, num_classes=4, base_features=2)
    drawn = torch.rand(3)
    torch.manual_seed(6)
    second, other = (seeded_unet(seed, num_classes=4, base_features=2) for seed in (1, 2))
    assert torch.equal(first.head.weight, second.head.weight)
    assert not torch.equal(first.head.weight, other.head.weight)
    torch.manual_seed(5)
    assert torch.equal(drawn, torch.rand(3))


def test_slices_must_fit_the_levels():
    shards = ShardOptions(grid=Grid(shape=(336, 256)))
    with pytest.raises(ValueError, match="multiples of 32"):
        TrainOptions(levels=6, shards=shards)
    TrainOptions(levels=6)


def test_new_switches_at_rest_leave_older_snapshots_usable():
    usual = TrainOptions(save_dir=Path("x"))
    assert not {"levels", "augmentation"} & usual.decisive().keys()
    for change in ({"levels": 4}, {"augmentation": "strong"}):
        assert change.items() <= replace(usual, **change).decisive().items()


@pytest.fixture
def batch():
    torch.manual_seed(0)
    labels = torch.zeros(6, 64, 48, dtype=torch.uint8)
    labels[:, 10:40, 8:20] = 60
    labels[:, :, 44:] = 255
    images = torch.rand(6, 1, 64, 48) * (labels != 255).unsqueeze(1)
    return images, labels


def test_strong_augmentation_changes_contrast_and_not_places(batch):
    ordinary, strong = (AUGMENTATIONS[name] for name in ("ordinary", "strong"))
    assert ordinary == AugmentConfig()
    positions = torch.arange(6)
    mild, mild_labels = augment(*batch, 1, positions, ordinary)
    wild, wild_labels = augment(*batch, 1, positions, strong)
    assert torch.equal(mild_labels, wild_labels)
    assert not torch.equal(mild, wild)
    assert wild.min() >= 0 and wild.max() <= 1
    assert not wild[(wild_labels == 255).unsqueeze(1)].any()


def test_a_strongly_augmented_sample_is_the_same_alone_and_in_a_batch(batch):
    images, labels = batch
    whole = augment(images, labels, 1, torch.tensor([4, 9, 2, 0, 1, 3]), AUGMENTATIONS["strong"])
    alone = augment(images[1:2], labels[1:2], 1, torch.tensor([9]), AUGMENTATIONS["strong"])
    torch.testing.assert_close(whole[0][1:2], alone[0], atol=1e-5, rtol=0)
    assert torch.equal(whole[1][1:2], alone[1])


def test_strong_augmentation_inverts_some_and_blurs_some(batch):
    """A bright block becomes dark in about the share of samples that is asked for, and edges get wider."""
    labels = torch.full((64, 64, 48), 60, dtype=torch.uint8)
    images = torch.full((64, 1, 64, 48), 0.25)
    images[:, :, 16:48, 12:36] = 0.75
    still = {"rotation_deg": (0, 0), "scale": (1, 1), "shift": (0, 0), "noise": (0, 0), "blur_probability": 0}
    strong = replace(AUGMENTATIONS["strong"], **still)
    changed, _ = augment(images, labels, 0, torch.arange(64), strong)
    inside, outside = changed[:, 0, 28:36, 20:28].mean((1, 2)), changed[:, 0, 2:8, 2:8].mean((1, 2))
    inverted = (inside < outside).float().mean().item()
    assert 0.15 < inverted < 0.45
    sharp = replace(strong, coarse_probability=0.0)
    slopes = [
        augment(images, labels, 0, torch.arange(64), config)[0].diff(dim=2).abs().amax((1, 2, 3))
        for config in (strong, sharp)
    ]
    assert (slopes[0] < 0.9 * slopes[1]).float().mean() > 0.25
    assert (slopes[0] < 1.05 * slopes[1] + 1e-3).all()
