"""Shading, motion, display."""

from dataclasses import replace

import numpy as np
import torch

from gen import draw, preset
from gen.artifacts import move, shade
from gen.intensity import display, quantiles


def _params(count=4):
    return draw(preset("spine"), 0, torch.arange(count), maps=1)


def test_quantiles_agree_with_numpy_to_a_bin():
    values = torch.from_numpy(np.random.default_rng(0).gamma(2.0, size=(3, 5000))).float()
    counted = torch.ones_like(values, dtype=torch.bool)
    low, high = quantiles(values, counted, torch.full((3,), 0.02), torch.full((3,), 0.95))
    for row in range(3):
        width = float(values[row].max() - values[row].min()) / 256
        expected = np.quantile(values[row].numpy(), [0.02, 0.95])
        assert abs(float(low[row]) - expected[0]) <= width
        assert abs(float(high[row]) - expected[1]) <= width


def test_display_applies_percentiles_and_gamma_and_leaves_the_outside_black():
    image = torch.linspace(0, 2, 1000).reshape(1, 20, 50)
    seen = torch.ones(1, 20, 50, dtype=torch.bool)
    seen[:, :2] = False
    params = replace(
        _params(1).intensity,
        gamma=torch.tensor([2.0]), clip_low=torch.tensor([0.0]), clip_high=torch.tensor([0.0]),
    )  # fmt: skip
    shown = display(image, seen, params)
    assert (shown[:, :2] == 0).all()
    expected = (((image - 0.2) / 1.8).clamp(0, 1)) ** 2
    assert (shown - expected)[:, 2:].abs().max() < 0.02


def test_clipping_saturates_the_drawn_share():
    image = torch.rand(1, 100, 100, generator=torch.Generator().manual_seed(0))
    params = replace(_params(1).intensity, clip_low=torch.tensor([0.1]), clip_high=torch.tensor([0.2]))
    shown = display(image, torch.ones_like(image, dtype=torch.bool), params)
    assert abs(float((shown == 1).float().mean()) - 0.2) < 0.01
    assert abs(float((shown < 1e-2).float().mean()) - 0.1) < 0.02


def test_without_bias_and_coil_shading_is_the_identity():
    artefacts = _params().artefacts
    params = replace(artefacts, bias=torch.zeros(4), coil_floor=torch.ones(4))
    image = torch.rand(4, 32, 32, generator=torch.Generator().manual_seed(0))
    assert torch.allclose(shade(image, torch.zeros_like(image), params, (1.0, 1.0)), image)


def test_the_bias_field_has_the_drawn_spread_and_is_smooth():
    params = replace(
        draw(preset("spine"), 0, torch.arange(200), maps=1).artefacts,
        bias=torch.full((200,), 0.3), coil_floor=torch.ones(200), bias_mm=torch.full((200,), 40.0),
    )  # fmt: skip
    field = torch.log(shade(torch.ones(200, 96, 96), torch.zeros(200, 96, 96), params, (1.0, 1.0)))
    assert abs(float(field.std()) - 0.3) < 0.03
    assert float((field[:, 1:] - field[:, :-1]).std()) < 0.3 / 40 * 1.2


def test_the_coil_falls_off_in_front_only():
    behind = torch.linspace(-150, 100, 251).expand(4, 5, 251)
    params = replace(
        _params().artefacts,
        bias=torch.zeros(4), coil_floor=torch.full((4,), 0.1), coil_mm=torch.full((4,), 60.0),
        coil_width_mm=torch.full((4,), 10.0),
    )  # fmt: skip
    gain = shade(torch.ones(4, 5, 251), behind, params, (1.0, 1.0))[0, 0]
    assert abs(float(gain[0]) - 0.1) < 1e-3 and abs(float(gain[-1]) - 1) < 1e-3
    assert abs(float(gain[90]) - 0.55) < 0.01


def test_motion_of_no_length_leaves_the_picture_and_of_some_length_keeps_its_mean():
    image = torch.zeros(2, 41, 41)
    image[:, 20, 20] = 1
    params = replace(
        _params(2).artefacts, motion_mm=torch.tensor([0.0, 6.0]), motion_deg=torch.tensor([30.0, 90.0])
    )
    moved = move(image, params, (1.0, 1.0))
    assert torch.allclose(moved[0], image[0], atol=1e-6)
    assert abs(float(moved[1].sum()) - 1) < 1e-5
    assert float(moved[1, 20].sum()) > 0.999 and int((moved[1, 20] > 0.01).sum()) in (7, 8)
