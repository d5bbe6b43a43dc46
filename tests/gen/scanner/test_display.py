"""Clipping, gamma, contrast curve, inversion."""

import math

import numpy as np
import pytest
import torch
from scipy import stats

from synthspine.gen.core.counter_rng import SampleRandom, sample_keys
from synthspine.gen.scanner.display import (
    DEGREE,
    ClipConfig,
    ClipParams,
    CurveConfig,
    CurveParams,
    GammaConfig,
    GammaParams,
    InversionConfig,
    InversionParams,
    apply_curve,
    apply_gamma,
    clip_percentiles,
    display,
    invert,
    rescale,
)


def _random(count):
    return SampleRandom(sample_keys(0, torch.arange(count)))


def _image(*shape):
    return torch.rand(*shape, generator=torch.Generator().manual_seed(0))


def _clip(low, high, count=1):
    return ClipParams(low=torch.full((count,), low), high=torch.full((count,), high))


def _straight(count):
    return CurveParams(points=torch.linspace(0, 1, DEGREE + 1).expand(count, -1))


def _drawn(count):
    """One of each, all of them frequent."""
    return (
        ClipConfig().draw(_random(count)),
        GammaConfig(normal_std=0.2).draw(_random(count)),
        CurveConfig(probability=0.5).draw(_random(count)),
        InversionConfig(probability=0.5).draw(_random(count)),
    )


def test_display_applies_percentiles_and_gamma_and_leaves_the_outside_black():
    image = torch.linspace(0, 2, 1000).reshape(1, 20, 50)
    seen = torch.ones(1, 20, 50, dtype=torch.bool)
    seen[:, :2] = False
    shown = display(image, seen, _clip(0.0, 0.0), GammaParams(gamma=torch.tensor([2.0])), None, None)
    assert (shown[:, :2] == 0).all()
    expected = ((image - 0.2) / 1.8).clamp(0, 1) ** 2
    assert (shown - expected)[:, 2:].abs().max() < 0.02


def test_clipping_saturates_the_drawn_share():
    shown = clip_percentiles(_image(1, 100, 100), None, _clip(0.1, 0.2))
    assert abs(float((shown == 1).float().mean()) - 0.2) < 0.01
    assert abs(float((shown == 0).float().mean()) - 0.1) < 0.01


@pytest.mark.parametrize("shape", [(2, 30, 40), (2, 3, 30, 40)])
def test_rescaling_takes_the_range_of_what_is_seen_to_0_and_1(shape):
    image, seen = _image(*shape) * 3 - 1, _image(*shape) > 0.5
    seen[0] = True
    shown = rescale(image, seen)
    for i in range(2):
        low, high = image[i][seen[i]].min(), image[i][seen[i]].max()
        assert torch.allclose(shown[i], ((image[i] - low) / (high - low)).clamp(0, 1), atol=1e-6)
    assert torch.equal(rescale(image)[:1], shown[:1])


def test_a_picture_of_one_value_or_without_a_pixel_in_view_becomes_black():
    flat = torch.full((1, 6, 5), 0.7)
    assert torch.equal(rescale(flat), torch.zeros_like(flat))
    nothing = torch.zeros(1, 6, 5, dtype=torch.bool)
    for clip in (None, _clip(0.01, 0.02)):
        assert torch.equal(display(_image(1, 6, 5), nothing, clip, None, None, None), torch.zeros(1, 6, 5))


def test_gamma_is_a_power():
    image = _image(3, 20, 20)
    exponent = torch.tensor([0.5, 1.0, 2.2])
    expected = image.double() ** exponent.double().view(-1, 1, 1)
    assert torch.allclose(apply_gamma(image, GammaParams(gamma=exponent)).double(), expected, atol=1e-5)


def test_the_contrast_curve_is_the_bernstein_polynomial_of_its_points():
    curve = CurveConfig(probability=1.0, strength=(1.0, 1.0)).draw(_random(5))
    image = _image(5, 20, 20)
    x, expected = image.double(), torch.zeros(5, 20, 20, dtype=torch.float64)
    for j in range(DEGREE + 1):
        weight = math.comb(DEGREE, j) * x**j * (1 - x) ** (DEGREE - j)
        expected += curve.points[:, j].double().view(-1, 1, 1) * weight
    assert torch.allclose(apply_curve(image, curve).double(), expected, atol=1e-5)


def test_contrast_curves_rise_from_0_to_1():
    curve = CurveConfig(probability=1.0).draw(_random(300))
    ramp = torch.linspace(0, 1, 256).expand(300, 1, 256)
    bent = apply_curve(ramp, curve)[:, 0]
    assert bool((bent[:, 0] == 0).all()) and bool((bent[:, -1] > 1 - 1e-5).all())
    assert float(bent.diff(dim=1).min()) > 0
    # They differ from the straight line, and on both of its sides.
    assert float((bent - ramp[:, 0]).max()) > 0.2 and float((bent - ramp[:, 0]).min()) < -0.2


def test_inversion_is_one_minus_the_image_where_it_is_on():
    image = _image(2, 8, 8)
    shown = invert(image, InversionParams(inverted=torch.tensor([0.0, 1.0])))
    assert torch.equal(shown[0], image[0]) and torch.equal(shown[1], 1 - image[1])


def test_pixels_outside_the_field_of_view_stay_black_when_inverted():
    seen = _image(1, 8, 8) > 0.5
    shown = display(_image(1, 8, 8), seen, None, None, None, InversionParams(inverted=torch.ones(1)))
    assert bool((shown[~seen] == 0).all())


def test_display_without_features_only_scales():
    image = rescale(_image(2, 30, 30))
    assert torch.equal(display(image, None, None, None, None, None), image)
    off = (GammaParams(gamma=torch.ones(2)), _straight(2), InversionParams(inverted=torch.zeros(2)))
    assert torch.allclose(display(image, None, None, *off), image, atol=1.1e-6)
    assert torch.equal(apply_curve(image, _straight(2)), image)
    assert torch.allclose(clip_percentiles(image, None, _clip(0.0, 0.0, 2)), image, atol=1e-6)


def test_the_shown_picture_lies_in_0_to_1():
    drawn = _drawn(200)
    image = _image(200, 20, 20) * 5 - 2
    shown = display(image, _image(200, 20, 20) > 0.1, *drawn)
    assert shown.min() >= 0 and shown.max() <= 1


def test_configurations_that_change_nothing_draw_nothing():
    assert ClipConfig(probability=0.0).draw(_random(1)) is None
    assert GammaConfig(probability=0.0).draw(_random(1)) is None
    assert GammaConfig(log_gamma=(0.0, 0.0)).draw(_random(1)) is None
    assert CurveConfig(probability=0.0).draw(_random(1)) is None
    assert InversionConfig().draw(_random(1)) is None


def test_draws_stay_in_range_and_keep_their_probabilities():
    clip = ClipConfig(probability=0.8).draw(_random(4000))
    on = clip.high > 0
    assert abs(float(on.float().mean()) - 0.8) < 4 * (0.16 / 4000) ** 0.5
    assert bool(((clip.low > 0) == on).all()) and clip.low.max() <= 0.03 and clip.high.max() <= 0.05
    gamma = GammaConfig().draw(_random(4000)).gamma
    assert stats.kstest(gamma.log().numpy(), stats.uniform(-0.5, 1).cdf).pvalue > 1e-3
    curve = CurveConfig().draw(_random(4000))
    straight = (curve.points == torch.linspace(0, 1, DEGREE + 1)).all(1)
    assert abs(float(straight.float().mean()) - 0.9) < 4 * (0.09 / 4000) ** 0.5
    assert bool((curve.points.diff(dim=1) > 0).all())
    inverted = InversionConfig(probability=0.3).draw(_random(4000)).inverted
    assert abs(float(inverted.mean()) - 0.3) < 4 * (0.21 / 4000) ** 0.5


def test_synthseg_gamma_is_log_normal():
    gamma = GammaConfig(log_gamma=(0.0, 0.0), normal_std=0.5).draw(_random(4000)).gamma
    assert stats.kstest(gamma.log().numpy() / 0.5, "norm").pvalue > 1e-3


@pytest.mark.parametrize("grid", [(1, 2), (33, 40), (1, 7, 9)])
def test_display_of_a_sample_does_not_depend_on_its_batch(grid):
    image, seen, drawn = _image(6, *grid), _image(6, *grid) > 0.2, _drawn(6)
    for first in (drawn[0], None):
        whole = display(image, seen, first, *drawn[1:])
        for i in range(6):
            one = slice(i, i + 1)
            clip, *others = (params and params[one] for params in (first, *drawn[1:]))
            assert torch.equal(display(image[one], seen[one], clip, *others), whole[one])


def test_display_copies_nothing_from_the_host(nothing_from_the_host):
    image, drawn = _image(2, 20, 30), _drawn(2)
    with nothing_from_the_host:
        assert display(image, image > 0.5, *drawn).shape == image.shape


def test_gradients_flow_through_display_and_stay_finite():
    image = _image(4, 20, 20).requires_grad_()
    display(image, _image(4, 20, 20) > 0.2, *_drawn(4)).sum().backward()
    assert bool(image.grad.isfinite().all()) and float(image.grad.abs().max()) > 0


def test_the_gradient_of_gamma_is_finite_in_black_pixels():
    image = torch.tensor([[0.0, 0.3, 1.0]], requires_grad=True)
    apply_gamma(rescale(image), GammaParams(gamma=torch.tensor([0.5]))).sum().backward()
    assert bool(image.grad.isfinite().all())


def test_clipping_to_percentiles_agrees_with_numpy():
    image = torch.from_numpy(np.random.default_rng(0).gamma(2.0, size=(1, 60, 70))).float()
    low, high = np.quantile(image.numpy(), [0.02, 0.95])
    expected = ((image - low) / (high - low)).clamp(0, 1)
    assert float((clip_percentiles(image, None, _clip(0.02, 0.05)) - expected).abs().max()) < 0.02


@pytest.mark.parametrize(
    ("config", "values", "field"),
    [
        (ClipConfig, {"low": (0.0, 0.6)}, "low"),
        (GammaConfig, {"normal_std": -1.0}, "normal_std"),
        (CurveConfig, {"strength": (-1.0, 1.0)}, "strength"),
        (InversionConfig, {"probability": 1.5}, "probability"),
    ],
)
def test_an_invalid_value_is_refused_by_name(config, values, field):
    with pytest.raises(ValueError, match=field):
        config(**values)
