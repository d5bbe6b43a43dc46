"""The generator on CUDA: what the CPU draws and renders, without waiting for the device.

Parameters are drawn on the CPU, as the generator, training and shards do, and moved by ``render``.
"""

import pytest
import torch

from synthspine.gen import SpineSynthGenerator, SyntheticStream, draw, preset, render
from synthspine.gen.presets import PRESETS

pytestmark = [
    pytest.mark.cuda,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device"),
]


def _tensors(batch):
    """Every tensor of a batch of parameters, by name."""
    for name, value in batch._columns():
        if isinstance(value, torch.Tensor):
            yield name, value
        else:
            yield from ((f"{name}.{inner}", tensor) for inner, tensor in _tensors(value))


def _drawn(bank, name, dims, device="cpu"):
    """Bank and parameters."""
    volumes = bank if dims == 2 else torch.stack([bank, bank.flip(0)])
    indices = torch.arange(8 if dims == 2 else 2)
    return volumes, draw(preset(name), 3, indices, maps=len(volumes), dims=dims, device=device)


@pytest.mark.parametrize("name", PRESETS)
def test_the_devices_draw_the_same_parameters(bank, name):
    there = dict(_tensors(_drawn(bank, name, 2, "cuda")[1]))
    for path, value in _tensors(_drawn(bank, name, 2)[1]):
        other = there[path].cpu()
        if value.is_floating_point():
            torch.testing.assert_close(other, value, rtol=1e-5, atol=1e-5, msg=lambda m, p=path: f"{p}: {m}")
        else:
            assert torch.equal(other, value), path


@pytest.mark.parametrize("name", PRESETS)
def test_parameters_move_to_the_device_unchanged(bank, name):
    _, params = _drawn(bank, name, 2)
    there = dict(_tensors(params.to("cuda")))
    for path, value in _tensors(params):
        assert there[path].is_cuda and torch.equal(there[path].cpu(), value), path


@pytest.mark.parametrize("dims", [2, 3])
@pytest.mark.parametrize("name", PRESETS)
def test_the_same_parameters_give_the_same_maps_and_pictures(bank, name, dims):
    volumes, params = _drawn(bank, name, dims)
    image, codes = render(volumes, params)
    # From the CPU steps run on the samples they change, from the device on all of them.
    for moved in (params, params.to("cuda")):
        other_image, other_codes = render(volumes.cuda(), moved)
        assert (codes == other_codes.cpu()).float().mean() > 0.9999
        assert (image - other_image.cpu()).abs().mean() < 1e-3


@pytest.mark.parametrize("dims", [2, 3])
@pytest.mark.parametrize("name", PRESETS)
def test_a_sample_is_the_same_alone_and_inside_a_batch(bank, name, dims):
    volumes, params = _drawn(bank, name, dims)
    image, codes = render(volumes.cuda(), params)
    for place in range(len(params)):
        alone = render(volumes.cuda(), params[place : place + 1])
        assert torch.equal(alone[0][0], image[place]) and torch.equal(alone[1][0], codes[place])


@pytest.mark.parametrize("dims", [2, 3])
@pytest.mark.parametrize("name", PRESETS)
def test_rendering_never_waits_for_the_device(bank, name, dims):
    volumes, params = _drawn(bank, name, dims)
    volumes = volumes.cuda()
    # The first call may set libraries up.
    render(volumes, params)
    torch.cuda.set_sync_debug_mode("error")
    try:
        render(volumes, params)
    finally:
        torch.cuda.set_sync_debug_mode("default")


def test_a_stream_renders_on_the_device_what_it_renders_on_the_cpu(bank):
    generator = SpineSynthGenerator("T1", labels="dense")
    streams = [SyntheticStream(bank, generator, 4, device=device) for device in ("cpu", "cuda")]
    (image, target), (other_image, other_target) = (next(iter(stream)) for stream in streams)
    assert other_image.is_cuda and other_target.is_cuda
    assert (target == other_target.cpu()).float().mean() > 0.9999
    assert (image - other_image.cpu()).abs().mean() < 1e-3
