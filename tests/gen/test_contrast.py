"""Intensities of tissues."""

from dataclasses import replace

import pytest
import torch

from gen import draw, preset
from gen.anatomy import CANAL, disc_code, vertebra_code
from gen.config import ContrastConfig
from gen.palette import OUTSIDE, TISSUES

COUNT = 4000


def _contrast(name="spine", **changes):
    config = preset(name)
    config = replace(config, contrast=replace(config.contrast, **changes))
    return draw(config, 2, torch.arange(COUNT), maps=1).contrast


@pytest.mark.parametrize(("name", "weighting"), [("t1", "t1"), ("t2", "t2")])
@pytest.mark.parametrize(
    ("tissue", "code"), [("vertebra", vertebra_code(3)), ("disc", disc_code(2)), ("csf", CANAL)]
)
def test_presets_have_the_measured_means(name, weighting, tissue, code):
    mean, spread = getattr(TISSUES[tissue], weighting)
    drawn = _contrast(name, instance_jitter=(0.0, 0.0)).mean[:, code]
    # Clamping at full scale pulls the mean of a bright tissue down a little.
    assert abs(float(drawn.mean()) - mean) < 0.03
    assert abs(float(drawn.std()) - spread) < 0.25 * spread


def test_alpha_interpolates_between_the_two_weightings():
    ends = [_contrast("t1").mean, _contrast("t2").mean]
    middle = _contrast("t1", alpha=(0.5, 0.5)).mean
    for code in (CANAL, vertebra_code(1), disc_code(1)):
        expected = (ends[0][:, code].mean() + ends[1][:, code].mean()) / 2
        assert abs(float(middle[:, code].mean() - expected)) < 0.03


def test_random_contrasts_cover_the_scale_uniformly():
    mean = _contrast("random", instance_jitter=(0.0, 0.0)).mean
    for code in (CANAL, vertebra_code(1), disc_code(4)):
        counts = torch.histc(mean[:, code], bins=10, min=0, max=1)
        # 4 standard deviations of a binomial count.
        assert (counts - COUNT / 10).abs().max() < 4 * (COUNT * 0.09) ** 0.5


def test_vertebrae_share_a_mean_up_to_the_jitter():
    still = _contrast("random", instance_jitter=(0.0, 0.0)).mean
    assert torch.equal(still[:, vertebra_code(1)], still[:, vertebra_code(5)])
    moved = _contrast("random", instance_jitter=(0.05, 0.05)).mean
    difference = moved[:, vertebra_code(1)] - moved[:, vertebra_code(5)]
    assert 0.05 < float(difference.std()) < 0.08


def test_what_lies_outside_is_black():
    assert (_contrast().mean[:, OUTSIDE] == 0).all()


@pytest.mark.parametrize("alpha", [(-0.2, 0.5), (0.5, 1.5), (0.8, 0.2)])
def test_alpha_outside_of_t1_to_t2_is_refused(alpha):
    with pytest.raises(ValueError, match="alpha"):
        ContrastConfig(alpha=alpha)
