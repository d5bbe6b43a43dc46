import numpy as np
import pytest
import torch
from torch import nn

from synthspine.eval.segmentation.tta import PLAIN, TTA_VIEWS, View, class_probabilities
from synthspine.train.model.unet import STRIDE, UNet


class Bright(nn.Module):
    """Two classes: the second where the image is brighter than one half."""

    def __init__(self, stride=STRIDE):
        super().__init__()
        self.shapes = []
        self.stride = stride

    def forward(self, image):
        self.shapes.append(tuple(image.shape))
        assert image.shape[-1] % self.stride == 0
        assert image.shape[-2] % self.stride == 0
        difference = 20 * (image[:, 0] - 0.5)
        return torch.stack((-difference, difference), dim=1)


def square(shape=(1, 75, 61), rows=slice(20, 40), columns=slice(12, 36)):
    image = np.zeros(shape, dtype=np.float32)
    image[:, rows, columns] = 1.0
    return image


@pytest.mark.parametrize("stride", [8, STRIDE, 2 * STRIDE])
@pytest.mark.parametrize("view", TTA_VIEWS)
def test_every_view_is_brought_back(view, stride):
    image = square()
    got = class_probabilities(Bright(stride), image, (view,))
    assert got.shape == (1, 2, 75, 61)
    np.testing.assert_allclose(got.sum(axis=1), 1.0, atol=1e-5)
    inside = got[0, 1] > 0.5
    rows, columns = np.nonzero(inside)
    # Neither moved nor resized, to the tenth of a pixel and to the pixel.
    np.testing.assert_allclose((rows.mean(), columns.mean()), (29.5, 23.5), atol=0.1)
    assert np.count_nonzero(inside != (image[0] > 0.5)) <= 4


@pytest.mark.parametrize("view", [View(magnification=1.2), View(shift=0.5)])
def test_the_network_sees_another_picture(view):
    class Keep(Bright):
        def forward(self, image):
            self.seen = image
            return super().forward(image)

    plain, other = Keep(), Keep()
    image = square()
    class_probabilities(plain, image, PLAIN)
    class_probabilities(other, image, (view,))
    assert plain.seen.shape != other.seen.shape or not torch.equal(plain.seen, other.seen)


@pytest.mark.parametrize("size", [9, 48, 61, 64])
@pytest.mark.parametrize("stride", [8, 16, 32])
def test_the_moved_view_lies_half_a_stride_off_the_networks_raster(stride, size):
    class Corner(Bright):
        def forward(self, image):
            self.corner = tuple(np.argwhere(image[0, 0].numpy() == 1).min(axis=0))
            return super().forward(image)

    model, image = Corner(stride), np.ones((1, size, size), dtype=np.float32)
    corners = {}
    for view in TTA_VIEWS:
        class_probabilities(model, image, (view,))
        corners[view] = model.corner
    plain, moved = corners[View()], corners[View(shift=0.5)]
    assert np.subtract(moved, plain).tolist() == [stride // 2, stride // 2]
    assert all(shape[2] <= size + 3 * stride for shape in model.shapes)


def test_views_are_averaged():
    class Counting(nn.Module):
        def forward(self, image):
            self.calls = getattr(self, "calls", 0) + 1
            first = torch.full_like(image, 0.0 if self.calls == 1 else 2.0)
            return torch.cat((torch.zeros_like(image), first), dim=1)

    got = class_probabilities(Counting(), square(), (View(), View(shift=0.5)))
    np.testing.assert_allclose(got[:, 1], (0.5 + 1 / (1 + np.exp(-2))) / 2, rtol=1e-5)


def test_plain_view_is_the_network_itself():
    model = Bright()
    image = np.random.Generator(np.random.PCG64(0)).random((3, 64, 48), dtype=np.float32)
    got = class_probabilities(model, image)
    expected = model(torch.from_numpy(image)[:, None]).softmax(dim=1)
    np.testing.assert_array_equal(got, expected.numpy())
    assert model.shapes[0] == (3, 1, 64, 48)


def test_small_slices_are_padded_to_what_the_network_takes():
    model = Bright()
    class_probabilities(model, square((1, 16, 9), slice(4, 9), slice(2, 6)), TTA_VIEWS)
    assert min(min(shape[2:]) for shape in model.shapes) >= 2 * STRIDE


def test_no_view_is_refused():
    with pytest.raises(ValueError, match="at least one view"):
        class_probabilities(Bright(), square(), ())


def test_a_deeper_network_gets_slices_that_fit_its_stride():
    model = UNet(num_classes=4, base_features=2, levels=6).eval()
    slices = np.random.default_rng(0).random((1, 40, 70), dtype=np.float32)
    assert class_probabilities(model, slices, TTA_VIEWS).shape == (1, 4, 40, 70)
