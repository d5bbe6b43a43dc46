"""Arches mixed with what surrounds them."""

from dataclasses import replace

import pytest
import torch
from scipy import ndimage

from synthspine.gen.core.anatomy import CANAL, IGNORE, MAX_RANK, disc_code, vertebra_code
from synthspine.gen.core.counter_rng import SampleRandom, sample_keys
from synthspine.gen.geometry.spine_frame import find_spine
from synthspine.gen.intensity.contrast import ContrastConfig, colour
from synthspine.gen.intensity.hidden_labels import HiddenParams, unless_hidden
from synthspine.gen.intensity.posterior_arch import (
    BEHIND_MM,
    LINES_MM,
    REACH_MM,
    ArchConfig,
    lose_lines,
    mix_arches,
)
from synthspine.gen.tissues.palette import FAT, MUSCLE, VERTEBRAE

COUNT = 3000
SPACING = (1.0, 1.0)
ALWAYS = ArchConfig(probability=1.0, fatter_probability=0.0)
BONE = 0.8
AROUND = 0.2


def _random(count, seed=5):
    return SampleRandom(sample_keys(seed, torch.arange(count)))


def _draw(count=3, config=ALWAYS, **params):
    drawn = config.draw(_random(count))
    return replace(drawn, **{name: torch.full((count,), value) for name, value in params.items()})


def _contrast(count):
    return ContrastConfig().draw(_random(count, seed=8))


def _two_greys(count):
    """Vertebrae of one grey value on a ground of another."""
    contrast = _contrast(count)
    mean = torch.full_like(contrast.mean, AROUND)
    mean[:, VERTEBRAE] = BONE
    return replace(contrast, mean=mean)


def _mix(codes, params, contrast=None, spacing=SPACING):
    """The picture before and after; muscle above fat lies around."""
    contrast = contrast or _contrast(len(codes))
    around = torch.full_like(codes, MUSCLE)
    around[..., codes.shape[-2] // 2 :, :] = FAT
    image = colour(torch.where(codes % IGNORE == 0, around, codes), contrast)
    frame = find_spine(codes, spacing)
    return image, mix_arches(image, codes, around, contrast, frame, params, spacing)


def _is_arch(codes, spacing=SPACING):
    behind = find_spine(codes, spacing).behind_mm
    return (codes >= 1) & (codes <= MAX_RANK) & (behind > BEHIND_MM[0])


def test_a_blurred_arch_is_its_mask_under_a_gaussian(bank):
    """With bone of one value and nothing showing through, on either side of the arch's border."""
    sigma = 1.5
    image, mixed = _mix(bank, _draw(blur_mm=sigma, through=0.0), _two_greys(3))
    bone = ((bank >= 1) & (bank <= MAX_RANK)).double().numpy()
    share = torch.from_numpy(ndimage.gaussian_filter(bone, (0, sigma, sigma), truncate=4, mode="nearest"))
    full = find_spine(bank, SPACING).behind_mm >= BEHIND_MM[1]
    near = (bank <= MAX_RANK) & full
    expected = AROUND + (BONE - AROUND) * share
    assert near.sum() > 2000 and (mixed - expected).abs()[near].max() < 2e-3
    assert (mixed - image).abs()[near].max() > 0.2


def test_the_surrounding_tissue_shows_through_by_a_share_within_bounds(bank):
    through = 0.6
    params = _draw(blur_mm=1e-3, through=through)
    image, mixed = _mix(bank, params, _two_greys(3))
    arch = _is_arch(bank) & (find_spine(bank, SPACING).behind_mm >= BEHIND_MM[1])
    lost = (image - mixed)[arch] / (BONE - AROUND)
    assert lost.min() > -1e-5 and lost.max() < through + 1e-5
    assert lost.std() > 0.1 and abs(float(lost.mean()) - through / 2) < 0.1
    assert torch.equal(image[~arch], mixed[~arch])


def test_the_marrow_of_arches_goes_its_share_of_the_way_to_fat(bank):
    contrast = _two_greys(3)
    contrast.mean[:, FAT] = 1.0
    image, mixed = _mix(bank, _draw(blur_mm=0.0, through=0.0, fatter=0.5), contrast)
    arch = _is_arch(bank) & (find_spine(bank, SPACING).behind_mm >= BEHIND_MM[1])
    torch.testing.assert_close(mixed[arch], torch.full_like(mixed[arch], (BONE + 1) / 2))
    assert torch.equal(image[~_is_arch(bank)], mixed[~_is_arch(bank)])


def test_the_share_that_shows_through_changes_over_the_drawn_length(bank):
    codes = torch.zeros(8, 96, 120, dtype=torch.uint8)
    codes[:, :, 20:30] = CANAL
    codes[:, :, 40:] = vertebra_code(1)
    steps = []
    for patch in (3.0, 12.0):
        _, mixed = _mix(codes, _draw(8, blur_mm=0.0, through=0.8, patch_mm=patch), _two_greys(8))
        steps.append(mixed[:, :, 50:].diff(dim=-1).abs().mean())
    assert steps[0] > 2 * steps[1] > 0


def test_bodies_discs_canal_and_all_that_is_far_stay_bit_for_bit(bank):
    codes = bank.clone()
    codes[:, 50:60, 56:60] = IGNORE
    image, mixed = _mix(codes, _draw(blur_mm=1.8, through=0.8))
    same = image == mixed
    arch = _is_arch(codes)
    assert same[(codes > MAX_RANK) | ((codes > 0) & ~arch)].all()
    distance = torch.from_numpy(ndimage.distance_transform_edt(~arch[0].numpy()))
    assert same[0][distance > 2**0.5 * (REACH_MM + 1)].all()
    for sample in range(3):
        assert not same[sample][arch[sample]].all() and not same[sample][codes[sample] == 0].all()


def test_body_and_arch_join_smoothly_where_no_canal_lies_between_them():
    """A slice beside the canal: no background may show where the arch begins."""
    codes = torch.zeros(1, 64, 120, dtype=torch.uint8)
    codes[:, 10:54, 20:110] = vertebra_code(1)
    _, mixed = _mix(codes, _draw(1, blur_mm=1.8, through=0.0), _two_greys(1))
    assert (mixed[:, 17:47, 27:103] - BONE).abs().max() < 1e-4


def test_beside_the_canal_bodies_and_discs_fade_into_their_surroundings(bank):
    codes = bank * (bank != CANAL)
    image, mixed = _mix(codes, _draw(blur_mm=0.0, through=0.8, fatter=0.0), _two_greys(3))
    found = find_spine(codes, SPACING)
    bone, disc = (codes >= 1) & (codes <= MAX_RANK), (codes >= disc_code(1)) & (codes < CANAL)
    lost = ((image - mixed) / (BONE - AROUND))[bone]
    assert lost.min() >= -1e-6 and lost.max() <= 0.8 + 1e-6 and lost.mean() > 0.2
    image, mixed = _mix(codes, _draw(blur_mm=0.0, through=0.8, fatter=0.0))
    assert (image != mixed)[disc].float().mean() > 0.5
    lined = image * 0.5
    assert torch.equal(lose_lines(lined, image, found, _draw(lines_lost=1.0)), image)


def test_mixed_values_lie_between_those_of_both_sides(bank):
    contrast = _contrast(3)
    image, mixed = _mix(bank, _draw(), contrast)
    used = torch.stack(
        (contrast.mean[:, MUSCLE], contrast.mean[:, FAT], *contrast.mean[:, VERTEBRAE].unbind(1)), 1
    )
    low, high = (torch.minimum, torch.maximum)
    least = low(used.amin(1), image.amin((1, 2))).view(3, 1, 1)
    most = high(used.amax(1), image.amax((1, 2))).view(3, 1, 1)
    assert (mixed >= least - 1e-6).all() and (mixed <= most + 1e-6).all()


def test_nothing_is_mixed_across_slices(bank):
    volume = torch.stack((bank[:2], torch.zeros_like(bank[:2]), bank[1:]), dim=1)
    spacing = (4.0, *SPACING)
    volume[:, 1, :, 46:56] = CANAL
    image, mixed = _mix(volume, _draw(2, blur_mm=2.0, through=0.0), _two_greys(2), spacing)
    assert torch.equal(image[:, 1], mixed[:, 1])
    again = volume.clone()
    again[:, 2, 30:60] = 0
    other = _mix(again, _draw(2, blur_mm=2.0, through=0.0), _two_greys(2), spacing)[1]
    bone = (volume[:, 0] >= 1) & (volume[:, 0] <= MAX_RANK)
    deep = bone & (find_spine(again, spacing).behind_mm[:, 0] > 12)
    # The course of the canal, and so the ramp, follows all slices; beyond the ramp nothing does.
    assert deep.any() and torch.equal(other[:, 0][deep], mixed[:, 0][deep])


@pytest.mark.parametrize("lost", [0.0, 0.4, 1.0])
def test_lines_fade_behind_the_canal_only(bank, lost):
    frame = find_spine(bank, SPACING)
    plain = torch.rand(3, 96, 80)
    lined = plain * torch.rand(3, 96, 80)
    result = lose_lines(lined, plain, frame, _draw(lines_lost=lost))
    before, behind = frame.behind_mm <= LINES_MM[0], frame.behind_mm >= LINES_MM[1]
    assert torch.equal(result[before], lined[before]) and before.any() and behind.any()
    torch.testing.assert_close(result[behind], (lined + lost * (plain - lined))[behind])
    assert lost > 0 or torch.equal(result, lined)
    assert lose_lines(lined, plain, frame, None) is lined
    assert lose_lines(lined, lined, frame, _draw(lines_lost=lost)) is lined


def test_arches_of_hidden_vertebrae_are_not_mixed(bank):
    hidden = HiddenParams(hidden=torch.tensor([[1.0, 0, 0], [0, 1, 1], [0, 0, 0]]))
    params = _draw()
    shown = unless_hidden(params, hidden, "vertebra", "blur_mm", "through")
    image, mixed = _mix(bank, shown)
    assert torch.equal(image[0], mixed[0]) and torch.equal(mixed[1:], _mix(bank, params)[1][1:])


def test_samples_that_drew_none_stay_bit_for_bit(bank):
    codes = bank[torch.arange(20) % 3]
    params = _draw(20, ArchConfig(probability=0.5))
    none = params.blur_mm + params.through + params.lines_lost == 0
    image, mixed = _mix(codes, params)
    assert 0 < none.sum() < 20 and torch.equal(image[none], mixed[none])
    assert ((image != mixed).flatten(1).any(1) == ~none).all()
    lined = image * 0.5
    lost = lose_lines(lined, image, find_spine(codes, SPACING), params)
    assert torch.equal(lost[none], lined[none])


def test_without_a_probability_nothing_is_drawn_and_nothing_changes(bank):
    assert ArchConfig(probability=0).draw(_random(2)) is None
    image, mixed = _mix(bank, None)
    assert mixed is image


def test_draws_keep_to_their_ranges_and_probability():
    config = ArchConfig(probability=0.7, blur_mm=(0.3, 1.8), lines_lost=(0.1, 1.0), through=(0.1, 0.8))
    params = _draw(COUNT, config)
    fatter = _draw(COUNT, replace(config, fatter_probability=0.5)).fatter
    assert abs(float((fatter > 0).float().mean()) - 0.35) < 0.03 and fatter.max() <= 0.5
    for name, probability in (("blur_mm", 0.7), ("through", 0.7), ("lines_lost", 0.7), ("patch_mm", 1.0)):
        values, (low, high) = getattr(params, name), getattr(config, name)
        on = values != 0
        assert abs(float(on.float().mean()) - probability) < 0.03
        margin = 0.02 * (high - low)
        assert low <= values[on].min() < low + margin and high - margin < values[on].max() <= high


@pytest.mark.parametrize("dims", [2, 3])
def test_a_sample_alone_is_the_same_as_in_a_batch(bank, dims):
    codes = bank if dims == 2 else bank.unsqueeze(1).expand(-1, 3, -1, -1).contiguous()
    spacing, params, contrast = (4.0, *SPACING)[-dims:], _draw(), _contrast(3)
    whole = _mix(codes, params, contrast, spacing)[1]
    for i in range(3):
        one = slice(i, i + 1)
        assert torch.equal(_mix(codes[one], params[one], contrast[one], spacing)[1], whole[one])


@pytest.mark.parametrize("grid", [(1, 2), (7, 1), (3, 5, 9), (1, 33, 31)])
def test_it_runs_on_any_grid_and_reads_no_value_on_the_host(grid):
    spacing = (4.0, 1.0, 0.7)[-len(grid) :]
    for device in ("cpu", "meta"):
        codes = torch.full((2, *grid), CANAL, dtype=torch.uint8, device=device)
        image, mixed = _mix(codes, _draw(2).to(device), _contrast(2).to(device), spacing)
        assert mixed.shape == codes.shape and mixed.dtype == torch.float32
        assert device == "meta" or torch.equal(image, mixed)


def test_gradients_reach_the_means(bank):
    contrast = _contrast(3)
    mean = contrast.mean.clone().requires_grad_()
    _mix(bank, _draw(through=0.5), replace(contrast, mean=mean))[1].sum().backward()
    assert torch.isfinite(mean.grad).all() and (mean.grad[:, [1, MUSCLE, FAT]] != 0).all()


@pytest.mark.parametrize(
    "wrong",
    [
        {"probability": -0.1},
        {"blur_mm": (0.0, 4.0)},
        {"through": (0.0, 1.1)},
        {"patch_mm": (1.0, 8.0)},
        {"patch_mm": (3.0, 30.0)},
        {"lines_lost": (-0.5, 1.0)},
        {"lines_lost": (0.8, 0.2)},
    ],
)
def test_an_invalid_range_is_refused_by_name(wrong):
    with pytest.raises(ValueError, match=f"ArchConfig.{next(iter(wrong))}"):
        ArchConfig(**wrong)
