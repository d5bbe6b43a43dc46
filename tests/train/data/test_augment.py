import numpy as np
import pytest
import torch
from scipy import ndimage
from torch.nn.functional import interpolate
from torch.utils._python_dispatch import TorchDispatchMode

from synthspine.train.data.augment import AUGMENTATIONS, AugmentConfig, augment
from synthspine.train.data.augment import _blur as blur
from synthspine.train.data.augment import _coarsen as coarsen

STILL = AugmentConfig(
    rotation_deg=(0, 0),
    scale=(1, 1),
    shift=(0, 0),
    brightness=(0, 0),
    contrast=(1, 1),
    log_gamma=(0, 0),
    blur_probability=0,
    noise=(0, 0),
)


@pytest.fixture
def batch():
    torch.manual_seed(0)
    labels = torch.zeros(3, 48, 32, dtype=torch.uint8)
    labels[:, 10:30, 8:20] = 60
    labels[:, :, 28:] = 255
    images = torch.rand(3, 1, 48, 32) * (labels != 255).unsqueeze(1)
    return images, labels


def test_empty_ranges_change_nothing(batch):
    images, labels = augment(*batch, 1, torch.arange(3), STILL)
    torch.testing.assert_close(images, batch[0], atol=1e-5, rtol=0)
    assert torch.equal(labels, batch[1])


class NoWaiting(TorchDispatchMode):
    """Refuses to read a value of a tensor on the host: on a GPU that waits for all kernels."""

    def __torch_dispatch__(self, function, types, arguments=(), keywords=None):
        assert function is not torch.ops.aten._local_scalar_dense.default
        return function(*arguments, **(keywords or {}))


def test_nothing_is_read_on_the_host_and_the_global_generator_stays(batch, monkeypatch):
    state = torch.random.get_rng_state()
    monkeypatch.setattr(torch.Tensor, "tolist", None)
    positions = torch.arange(3)
    with NoWaiting():
        augment(*batch, 1, positions, AUGMENTATIONS["strong"])
    assert torch.equal(torch.random.get_rng_state(), state)


@pytest.mark.parametrize("name", AUGMENTATIONS)
def test_a_sample_is_the_same_alone_and_in_a_batch(batch, name):
    images, labels = batch
    config = AUGMENTATIONS[name]
    whole = augment(images, labels, 1, torch.tensor([4, 9, 2]), config)
    alone = augment(images[1:2], labels[1:2], 1, torch.tensor([9]), config)
    torch.testing.assert_close(whole[0][1:2], alone[0], atol=1e-6, rtol=0)
    assert torch.equal(whole[1][1:2], alone[1])


@pytest.mark.parametrize(("seed", "position"), [(2, 0), (1, 1)])
def test_seed_and_position_choose_the_draw(batch, seed, position):
    images, labels = batch[0][:1], batch[1][:1]
    first = augment(images, labels, 1, torch.tensor([0]), AugmentConfig())
    other = augment(images, labels, seed, torch.tensor([position]), AugmentConfig())
    assert not torch.equal(first[0], other[0])


def test_images_stay_in_range_and_are_zero_outside_of_the_scan(batch):
    images, labels = augment(*batch, 1, torch.arange(3), AugmentConfig())
    assert images.min() >= 0
    assert images.max() <= 1
    assert not images[(labels == 255).unsqueeze(1)].any()
    assert set(labels.unique().tolist()) <= {0, 60, 255}


def test_image_and_labels_move_together():
    labels = torch.zeros(4, 64, 48, dtype=torch.uint8)
    labels[:, 20:40, 15:30] = 60
    images = (labels == 60).float().unsqueeze(1)
    moving = AugmentConfig(
        brightness=(0, 0), contrast=(1, 1), log_gamma=(0, 0), blur_probability=0, noise=(0, 0)
    )
    moved, targets = augment(images, labels, 3, torch.arange(4), moving)
    assert not torch.equal(targets, labels)
    wrong = ((moved[:, 0] > 0.5) != (targets == 60)) & (targets != 255)
    assert wrong.float().mean() < 0.01


def test_a_rotation_keeps_the_shape_of_a_disc():
    rows, columns = torch.meshgrid(torch.arange(64), torch.arange(48), indexing="ij")
    disc = ((rows - 31.5) ** 2 + (columns - 23.5) ** 2 < 15**2).to(torch.uint8).unsqueeze(0)
    turned = AugmentConfig(rotation_deg=(30, 30), scale=(1, 1), shift=(0, 0))
    _, moved = augment(torch.zeros(1, 1, 64, 48), disc, 0, torch.arange(1), turned)
    assert ((moved == 1) != (disc == 1)).float().mean() < 0.01


def test_the_blur_is_that_of_scipy():
    image = np.random.default_rng(0).random((40, 30)).astype(np.float32)
    batch = torch.from_numpy(image).expand(2, 1, 40, 30)
    found = blur(batch, torch.tensor([1.0, 0.6]))
    for sigma, result in zip((1.0, 0.6), found, strict=True):
        wanted = ndimage.gaussian_filter(image, sigma, mode="nearest", radius=4)
        np.testing.assert_allclose(result[0].numpy(), wanted, atol=1e-5)


def test_coarser_pixels_are_those_of_antialiased_interpolation():
    images = torch.rand(4, 1, 48, 32, generator=torch.Generator().manual_seed(0))
    factors = torch.tensor([1.0, 1.3, 2.0, 3.9])
    found = coarsen(images, factors)
    for image, factor, result in zip(images.split(1), factors.tolist(), found.split(1), strict=True):
        small = [round(side / factor) for side in (48, 32)]
        means = interpolate(image, small, mode="bilinear", antialias=True, align_corners=False)
        wanted = interpolate(means, [48, 32], mode="bilinear", align_corners=False)
        torch.testing.assert_close(result, wanted, atol=1e-5, rtol=0)
