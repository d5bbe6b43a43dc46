"""The draw/render heart: what a sample depends on, and what it does not."""

import json
import math
from dataclasses import replace
from itertools import accumulate

import numpy as np
import pytest
import torch
from torch.profiler import ProfilerActivity, profile

from benchmarks.label_maps import label_maps
from synthspine.gen import Params, draw, preset, render
from synthspine.gen.config import without_geometry
from synthspine.gen.core.anatomy import IGNORE, vertebra_code
from synthspine.gen.intensity.contrast import colour
from synthspine.gen.presets import PRESETS
from synthspine.gen.tissues.unannotated import OutsideConfig


def _render(bank, indices, name="spine", seed=7, dims=2):
    params = draw(preset(name), seed, torch.tensor(indices), maps=len(bank), dims=dims)
    return render(bank, params)


def _still(name="spine"):
    return without_geometry(preset(name))


@pytest.mark.parametrize("name", PRESETS)
def test_a_sample_is_the_same_alone_and_at_any_place_of_any_batch(bank, name):
    image, codes = _render(bank, [5, 900, 17, 3, 2**40 + 1], name)
    for place, index in enumerate([5, 900, 17, 3, 2**40 + 1]):
        alone_image, alone_codes = _render(bank, [index], name)
        assert torch.equal(alone_image[0], image[place])
        assert torch.equal(alone_codes[0], codes[place])


def test_a_volume_is_the_same_alone_and_inside_a_batch(bank):
    volumes = torch.stack([bank, bank.flip(0)])
    image, codes = _render(volumes, [4, 8], dims=3)
    alone_image, alone_codes = _render(volumes, [8], dims=3)
    assert image.shape == (2, 1, 3, 96, 80)
    assert torch.equal(alone_image[0], image[1])
    assert torch.equal(alone_codes[0], codes[1])


def test_seed_and_index_change_the_picture(bank):
    first, _ = _render(bank, [0, 1])
    other_seed, _ = _render(bank, [0], seed=8)
    assert not torch.equal(first[0], first[1])
    assert not torch.equal(first[0], other_seed[0])


def test_images_are_finite_and_use_the_unit_interval(bank):
    image, codes = _render(bank, list(range(64)))
    assert image.dtype == torch.float32 and codes.dtype == torch.uint8
    assert torch.isfinite(image).all()
    assert image.min() >= 0 and image.max() <= 1
    assert (image.flatten(1).amax(1) > 0.9).all()


def test_records_repeat_the_picture_bit_for_bit(bank):
    params = draw(preset("spine"), 3, torch.arange(4), maps=len(bank))
    text = json.dumps(params.to_records())
    again = Params.from_records(json.loads(text))
    for first, second in zip(render(bank, params), render(bank, again), strict=True):
        assert torch.equal(first, second)


def test_a_record_with_a_missing_or_unknown_field_is_refused(bank):
    record = draw(preset("spine"), 3, torch.arange(1), maps=len(bank)).to_records()[0]
    with pytest.raises(ValueError, match="contrast"):
        Params.from_records([{name: value for name, value in record.items() if name != "contrast"}])
    with pytest.raises(ValueError, match="sharpness"):
        Params.from_records([record | {"sharpness": 1}])


def test_global_random_state_is_neither_read_nor_moved(bank):
    torch.manual_seed(0)
    before = torch.get_rng_state()
    first, _ = _render(bank, [1])
    assert torch.equal(torch.get_rng_state(), before)
    torch.manual_seed(1)
    second, _ = _render(bank, [1])
    assert torch.equal(first, second)


def test_a_missing_vertebra_does_not_move_other_intensities(spine, spine_without_second):
    whole, part = torch.from_numpy(spine), torch.from_numpy(spine_without_second)
    params = draw(_still(), 11, torch.arange(3), maps=1)
    image, other = (colour(torch.stack([codes] * 3), params.contrast) for codes in (whole, part))
    same = (whole == part) & (whole > 0)
    assert same.sum() > 1000
    assert torch.equal(image[:, same], other[:, same])


def test_gradients_flow_from_image_to_class_means(bank):
    params = draw(preset("t1"), 0, torch.arange(2), maps=len(bank))
    mean = params.contrast.mean.clone().requires_grad_()
    image, _ = render(bank, replace(params, contrast=replace(params.contrast, mean=mean)))
    image.sum().backward()
    assert mean.grad is not None
    assert mean.grad[:, vertebra_code(1)].abs().min() > 0


def test_pixels_that_are_not_annotated_are_black_or_painted_as_drawn(bank):
    bank = bank.clone()
    bank[:, :, :12] = IGNORE
    for probability, black in ((1.0, True), (0.0, False)):
        config = _still()
        config = replace(
            config,
            outside=OutsideConfig(probability=probability),
            zipper=replace(config.zipper, probability=0.0),
            inversion=replace(config.inversion, probability=0.0),
        )
        image, codes = render(bank, draw(config, 0, torch.arange(6), maps=3))
        assert (codes[:, :, :12] == IGNORE).all()
        assert bool((image[:, 0, :, :12] == 0).all()) == black


def test_every_map_of_the_bank_is_drawn_equally_often(bank):
    params = draw(preset("spine"), 0, torch.arange(3000), maps=3)
    counts = np.bincount(params.map_index.numpy(), minlength=3)
    assert counts.sum() == 3000
    # 4 standard deviations of a binomial count of 3000 with probability 1/3.
    assert np.abs(counts - 1000).max() < 4 * np.sqrt(3000 * 2 / 9)


def test_an_empty_batch_or_bank_is_refused():
    with pytest.raises(ValueError, match="indices"):
        draw(preset("spine"), 0, torch.arange(0), maps=1)
    with pytest.raises(ValueError, match="0 maps"):
        draw(preset("spine"), 0, torch.arange(1), maps=0)


@pytest.mark.cuda
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
def test_cuda_draws_the_same_parameters_and_label_maps(bank):
    params = draw(preset("spine"), 0, torch.arange(16), maps=len(bank))
    on_device = draw(preset("spine"), 0, torch.arange(16), maps=len(bank), device="cuda")
    image, codes = render(bank, params)
    other_image, other_codes = render(bank.cuda(), on_device)
    assert (codes == other_codes.cpu()).float().mean() > 0.9999
    assert (image - other_image.cpu()).abs().mean() < 1e-3


def test_a_volume_takes_less_than_48_bytes_of_tensors_a_voxel():
    grid = (64, 64, 64)
    bank = label_maps(grid)
    params = draw(preset("spine"), 1, torch.tensor([2]), maps=len(bank), dims=3)
    render(bank, params)  # tables that are kept are made
    with profile(activities=[ProfilerActivity.CPU], profile_memory=True) as profiled:
        render(bank, params)
    events = sorted(profiled.profiler.kineto_results.events(), key=lambda event: event.start_ns())
    held = accumulate(event.nbytes() for event in events if event.name() == "[memory]")
    assert 20 < max(held) / math.prod(grid) < 48
