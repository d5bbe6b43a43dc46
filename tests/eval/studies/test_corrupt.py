import math

import pytest
import torch

from synthspine.eval.studies.corrupt import CORRUPTIONS, corrupt

LEVELS = {"noise": (0.05, 0.2), "bias": (0.2, 0.8), "motion": (0.25, 2.0), "ghosting": (0.05, 0.2)}
SPACING_MM = 1.0


def picture(count=3):
    rows, columns = torch.arange(64.0)[:, None], torch.arange(48.0)
    disc = ((rows - 30) ** 2 + (columns - 20) ** 2 < 150).float()
    return (0.2 + 0.5 * disc).expand(count, 1, 64, 48).contiguous()


def indices(*numbers):
    return torch.tensor(numbers)


@pytest.mark.parametrize("kind", CORRUPTIONS)
def test_level_zero_changes_nothing(kind):
    image = picture()
    assert torch.equal(corrupt(image, kind, 0.0, indices(0, 1, 2), SPACING_MM), image)


@pytest.mark.parametrize("kind", CORRUPTIONS)
def test_higher_levels_change_more_and_stay_in_range(kind):
    image = picture()
    mild, strong = (corrupt(image, kind, level, indices(4, 5, 6), SPACING_MM) for level in LEVELS[kind])
    assert mild.shape == strong.shape == image.shape
    assert all(part.min() >= 0 and part.max() <= 1 for part in (mild, strong))
    change = [(part - image).square().mean(dim=(1, 2, 3)) for part in (mild, strong)]
    assert (change[0] > 0).all() and (change[1] > 2 * change[0]).all()


@pytest.mark.parametrize("kind", CORRUPTIONS)
def test_a_slice_is_corrupted_alike_alone_and_in_any_batch(kind):
    image, level = picture(), LEVELS[kind][1]
    together = corrupt(image, kind, level, indices(7, 8, 9), SPACING_MM)
    alone = corrupt(image[:1], kind, level, indices(8), SPACING_MM)
    assert torch.equal(together[1:2], alone)
    assert not torch.equal(together[0], together[1])


def test_global_random_state_is_left_alone():
    before = torch.get_rng_state()
    for kind in CORRUPTIONS:
        corrupt(picture(), kind, LEVELS[kind][0], indices(0, 1, 2), SPACING_MM)
    assert torch.equal(torch.get_rng_state(), before)


@pytest.mark.parametrize("sigma", [0.05, 0.1])
def test_noise_has_the_moments_of_rice(sigma):
    """Background: mean sigma sqrt(pi / 2) (Rayleigh); signal: mean square s^2 + 2 sigma^2."""
    dark = corrupt(torch.zeros(4, 1, 128, 128), "noise", sigma, indices(0, 1, 2, 3), SPACING_MM)
    assert dark.mean().item() == pytest.approx(sigma * math.sqrt(math.pi / 2), rel=0.01)
    grey = corrupt(torch.full((4, 1, 128, 128), 0.4), "noise", sigma, indices(0, 1, 2, 3), SPACING_MM)
    assert grey.square().mean().item() == pytest.approx(0.4**2 + 2 * sigma**2, rel=0.01)


def test_bias_keeps_the_brightest_pixel_and_varies_slowly():
    flat = torch.full((2, 1, 96, 96), 0.8)
    uneven = corrupt(flat, "bias", 0.8, indices(0, 1), SPACING_MM)
    assert uneven.amax(dim=(1, 2, 3)).tolist() == pytest.approx([0.8, 0.8])
    assert uneven.min() < 0.5
    assert uneven.diff(dim=2).abs().max() < 0.03


def test_ghosts_repeat_the_picture_a_part_of_the_view_apart():
    """The mean of all ghosts' places: 1 + (n - 1) waves of amplitude s, so the mean grows by s (n - 1)."""
    image = picture(20)
    ghosts = corrupt(image, "ghosting", 0.05, torch.arange(20), SPACING_MM) - image
    growth = (ghosts.mean(dim=(1, 2, 3)) / image.mean() / 0.05).round(decimals=2)
    assert set(growth.tolist()) == {1.0, 2.0, 3.0}
