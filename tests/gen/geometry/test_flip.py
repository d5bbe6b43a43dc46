"""Mirror images."""

import json

import pytest
import torch

from synthspine.gen.core.counter_rng import sample_keys
from synthspine.gen.core.drawing import Drawing
from synthspine.gen.geometry.flip import FlipConfig, FlipParams, mirror


def _draw(config, count=40, dims=3):
    return config.draw(Drawing(sample_keys(8, torch.arange(count)), spacing_mm=(1.0,) * dims))


def _codes(*shape):
    generator = torch.Generator().manual_seed(1)
    return torch.randint(0, 256, shape, dtype=torch.uint8, generator=generator)


ALL = FlipConfig(left_right_probability=0.5, head_foot_probability=0.5, front_back_probability=0.5)


def test_by_default_only_left_and_right_change_places_and_only_in_volumes():
    params = _draw(FlipConfig())
    assert params.head_foot is None and params.front_back is None
    assert set(params.left_right.tolist()) == {0.0, 1.0}
    assert _draw(FlipConfig(), dims=2) is None


def test_without_params_the_codes_come_back_as_they_are():
    codes = _codes(2, 5, 4)
    assert _draw(FlipConfig(left_right_probability=0.0)) is None
    assert mirror(codes, None) is codes


@pytest.mark.parametrize("shape", [(40, 5, 4), (40, 3, 5, 4), (40, 1, 1, 2)])
def test_every_flip_is_the_exact_mirror_image(shape):
    codes = _codes(*shape)
    params = _draw(ALL, dims=len(shape) - 1)
    flipped = mirror(codes, params)
    for sample in range(40):
        expected = codes[sample]
        for dim, flips in ((-3, params.left_right), (-2, params.head_foot), (-1, params.front_back)):
            if flips is not None and flips[sample]:
                expected = expected.flip(dim)
        assert torch.equal(flipped[sample], expected)


def test_flips_are_as_frequent_as_configured_and_independent():
    params = _draw(
        FlipConfig(left_right_probability=0.3, head_foot_probability=0.6, front_back_probability=1.0), 4000
    )
    assert abs(float(params.left_right.mean()) - 0.3) < 0.03
    assert abs(float(params.head_foot.mean()) - 0.6) < 0.03
    assert abs(float((params.left_right * params.head_foot).mean()) - 0.18) < 0.03
    assert bool((params.front_back == 1).all())


def test_a_sample_is_flipped_alike_alone_and_in_a_batch():
    codes, params = _codes(40, 3, 5, 4), _draw(FlipConfig())
    assert torch.equal(mirror(codes[7:8], params[7:8]), mirror(codes, params)[7:8])


def test_the_record_comes_back_bit_for_bit():
    for config in (FlipConfig(), FlipConfig(front_back_probability=0.5)):
        params = _draw(config, 5)
        again = FlipParams.from_records(json.loads(json.dumps(params.to_records())))
        codes = _codes(5, 3, 5, 4)
        assert torch.equal(mirror(codes, again), mirror(codes, params))


def test_nothing_is_read_back_from_the_device():
    params = _draw(FlipConfig(head_foot_probability=0.5)).to("meta")
    assert mirror(torch.empty(40, 3, 5, 4, dtype=torch.uint8, device="meta"), params).shape == (40, 3, 5, 4)
