import pytest
import torch

from synthspine.train.model.unet import UNet


@pytest.mark.parametrize(("features", "millions"), [(8, 0.49), (16, 1.94), (32, 7.76)])
def test_parameters_are_as_many_as_documented(features, millions):
    assert UNet(base_features=features).count_parameters() / 1e6 == pytest.approx(millions, abs=0.01)


@pytest.mark.parametrize("size", [(16, 32), (48, 32), (80, 112)])
def test_any_multiple_of_sixteen_gives_logits_of_that_size(size):
    logits = UNet(num_classes=4, base_features=4)(torch.rand(2, 1, *size))
    assert logits.shape == (2, 4, *size)


@pytest.mark.parametrize("size", [(20, 32), (32, 8), (16, 16)])
def test_other_sizes_are_refused(size):
    with pytest.raises(ValueError, match="multiples of 16"):
        UNet(base_features=4)(torch.rand(1, 1, *size))


def test_a_sample_is_answered_alike_alone_and_in_a_batch():
    torch.manual_seed(0)
    model = UNet(num_classes=4, base_features=4)
    images = torch.rand(3, 1, 32, 32)
    torch.testing.assert_close(model(images)[1:2], model(images[1:2]), rtol=1e-4, atol=1e-5)


def test_the_mode_does_not_change_the_answer():
    torch.manual_seed(0)
    model = UNet(num_classes=4, base_features=4)
    image = torch.rand(1, 1, 32, 32)
    assert torch.equal(model.train()(image), model.eval()(image))


@pytest.mark.parametrize("arguments", [{"base_features": 0}, {"num_classes": 1}, {"in_channels": 0}])
def test_empty_networks_are_refused(arguments):
    with pytest.raises(ValueError, match="at least"):
        UNet(**arguments)
