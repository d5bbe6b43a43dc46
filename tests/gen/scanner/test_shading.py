"""Bias field and surface coil."""

from dataclasses import replace

import pytest
import torch

from synthspine.gen.core.counter_rng import SampleRandom, sample_keys
from synthspine.gen.core.filters import smooth_field
from synthspine.gen.scanner.shading import (
    FINEST_BIAS_MM,
    BiasConfig,
    CoilConfig,
    CoilParams,
    add_bias,
    add_coil,
)


def _random(count):
    return SampleRandom(sample_keys(0, torch.arange(count)))


def _bias(count=4, **values):
    drawn = BiasConfig(probability=1.0).draw(_random(count))
    return replace(drawn, **{name: torch.full((count,), value) for name, value in values.items()})


def _coil(count, floor, half_mm, width_mm):
    return CoilParams(
        floor=torch.full((count,), floor),
        half_mm=torch.full((count,), half_mm),
        width_mm=torch.full((count,), width_mm),
    )


def _image(*shape):
    return torch.rand(*shape, generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize(("grid", "spacing"), [((40, 50), (1.0, 1.0)), ((3, 33, 20), (4.0, 1.0, 0.7))])
def test_a_bias_field_is_the_exponential_of_a_smooth_field(grid, spacing):
    params, image = _bias(log_std=0.4, correlation_mm=50.0), _image(4, *grid)
    size = torch.full((4, len(grid)), 50.0)
    field = smooth_field(params.key, "bias", grid, spacing, size, smallest_mm=FINEST_BIAS_MM).double()
    expected = image.double() * torch.exp(0.4 * field)
    assert torch.allclose(add_bias(image, params, spacing).double(), expected, rtol=1e-5)


def test_the_bias_field_has_the_drawn_spread_everywhere_and_is_smooth():
    params = _bias(400, log_std=0.3, correlation_mm=40.0)
    field = torch.log(add_bias(torch.ones(400, 96, 96), params, (1.0, 1.0)))
    # The spread over samples at a corner and in the middle: 400 values, 4 standard errors.
    for row, column in ((0, 0), (48, 48)):
        assert abs(float(field[:, row, column].std()) - 0.3) < 4 * 0.3 / 800**0.5
    assert float((field[:, 1:] - field[:, :-1]).std()) < 0.3 / 40 * 1.2


def test_the_coil_falls_off_in_front_only():
    behind = torch.linspace(-150, 100, 251).expand(2, 5, 251)
    gain = add_coil(torch.ones(2, 5, 251), _coil(2, 0.1, 60.0, 10.0), behind)[0, 0]
    expected = 0.1 + 0.9 / (1 + torch.exp(-4 * (behind[0, 0].double() + 60) / 10))
    assert torch.allclose(gain.double(), expected, atol=1e-6)
    assert abs(float(gain[0]) - 0.1) < 1e-3 and abs(float(gain[-1]) - 1) < 1e-3
    assert abs(float(gain[90]) - 0.55) < 1e-3


def test_shading_left_out_or_off_is_the_identity():
    image, behind = _image(4, 32, 32), _image(4, 32, 32) * 200 - 150
    assert add_bias(image, None, (1.0, 1.0)) is image
    assert add_coil(image, None, behind) is image
    assert torch.equal(add_bias(image, _bias(log_std=0.0), (1.0, 1.0)), image)
    assert torch.equal(add_coil(image, _coil(4, 1.0, 60.0, 10.0), behind), image)


def test_a_configuration_without_shading_draws_none():
    assert BiasConfig(probability=0.0).draw(_random(1)) is None
    assert CoilConfig(probability=0.0).draw(_random(1)) is None


def test_draws_stay_in_range_and_keep_the_probability():
    bias, coil = BiasConfig().draw(_random(4000)), CoilConfig().draw(_random(4000))
    on = bias.log_std > 0
    assert abs(float(on.float().mean()) - 0.9) < 4 * (0.09 / 4000) ** 0.5
    # Uniform in (0, 0.35): the mean of 3,600 draws, 4 standard errors.
    assert abs(float(bias.log_std[on].mean()) - 0.175) < 4 * 0.35 / (12 * 3600) ** 0.5
    assert bias.log_std.max() <= 0.35
    assert bias.correlation_mm.min() >= 40 and bias.correlation_mm.max() <= 120
    on = coil.floor < 1
    assert abs(float(on.float().mean()) - 0.7) < 4 * (0.21 / 4000) ** 0.5
    assert coil.floor[on].max() <= 0.6 and coil.floor.min() >= 0
    assert coil.half_mm.min() >= 45 and coil.half_mm.max() <= 110
    assert coil.width_mm.min() >= 3 and coil.width_mm.max() <= 50


@pytest.mark.parametrize("grid", [(1, 2), (37, 64), (1, 30, 20)])
def test_shading_of_a_sample_does_not_depend_on_its_batch(grid):
    spacing = (1.0,) * len(grid)
    bias, coil = BiasConfig().draw(_random(5)), CoilConfig().draw(_random(5))
    image, behind = _image(5, *grid), _image(5, *grid) * 200 - 150
    whole = add_coil(add_bias(image, bias, spacing), coil, behind)
    for i in range(5):
        one = slice(i, i + 1)
        alone = add_coil(add_bias(image[one], bias[one], spacing), coil[one], behind[one])
        assert torch.equal(alone, whole[one])


def test_gradients_flow_through_shading():
    image = _image(2, 16, 16).requires_grad_()
    add_coil(
        add_bias(image, _bias(2), (1.0, 1.0)), _coil(2, 0.2, 50.0, 20.0), image.detach()
    ).sum().backward()
    assert bool((image.grad > 0).all())


@pytest.mark.parametrize(
    ("config", "values", "field"),
    [
        (BiasConfig, {"correlation_mm": (10.0, 50.0)}, "correlation_mm"),
        (BiasConfig, {"correlation_mm": (40.0, 121.0)}, "correlation_mm"),
        (BiasConfig, {"log_std": (-0.1, 0.3)}, "log_std"),
        (BiasConfig, {"probability": 1.1}, "probability"),
        (CoilConfig, {"floor": (0.0, 1.2)}, "floor"),
        (CoilConfig, {"width_mm": (0.0, 5.0)}, "width_mm"),
        (CoilConfig, {"half_mm": (90.0, 50.0)}, "half_mm"),
    ],
)
def test_an_invalid_range_is_refused_by_name(config, values, field):
    with pytest.raises(ValueError, match=field):
        config(**values)
