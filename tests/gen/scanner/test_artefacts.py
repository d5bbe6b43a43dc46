"""What holds for every artefact: draws, records, identity, batches, devices."""

import json

import pytest
import torch

from synthspine.gen.core.counter_rng import SampleRandom, sample_keys
from synthspine.gen.core.feature import Batch
from synthspine.gen.intensity.contrast import ContrastConfig, draw_contrast
from synthspine.gen.intensity.cortex import CortexConfig, draw_cortex
from synthspine.gen.intensity.flow_void import FlowVoidConfig, add_flow_void, draw_flow_void
from synthspine.gen.intensity.hidden_labels import HiddenConfig, draw_hidden
from synthspine.gen.intensity.partial_volume import PartialVolumeConfig, draw_partial_volume
from synthspine.gen.intensity.posterior_arch import ArchConfig, draw_arches
from synthspine.gen.intensity.texture import TextureConfig, draw_texture
from synthspine.gen.scanner.chemical_shift import ChemicalShiftConfig, draw_chemical_shift, shift_fat
from synthspine.gen.scanner.display import (
    ClipConfig,
    CurveConfig,
    GammaConfig,
    InversionConfig,
    draw_clip,
    draw_curve,
    draw_gamma,
    draw_inversion,
)
from synthspine.gen.scanner.implant import ImplantConfig, draw_implant
from synthspine.gen.scanner.kspace import GibbsConfig, SpikeConfig, distort_kspace, draw_gibbs, draw_spike
from synthspine.gen.scanner.lines import phase_along_rows
from synthspine.gen.scanner.motion import (
    GhostingConfig,
    KSpaceMotionConfig,
    MotionBlurConfig,
    draw_ghosting,
    draw_kspace_motion,
    draw_motion_blur,
)
from synthspine.gen.scanner.noise import NoiseConfig, ZipperConfig, add_zipper, draw_noise, draw_zipper
from synthspine.gen.scanner.shading import BiasConfig, CoilConfig, draw_bias, draw_coil
from synthspine.gen.scanner.wrap import WrapConfig, draw_wrap, wrap_around
from synthspine.gen.tissues.palette import PAINT_CODES


def _in_kspace(place):
    def apply(image, painted, params, spacing_mm):
        features = [None] * 5
        features[place] = params
        return distort_kspace(image, *features, spacing_mm)

    return apply


FEATURES = {
    "motion": (KSpaceMotionConfig, draw_kspace_motion, _in_kspace(0)),
    "ghosting": (GhostingConfig, draw_ghosting, _in_kspace(1)),
    "gibbs": (GibbsConfig, draw_gibbs, _in_kspace(2)),
    "spike": (SpikeConfig, draw_spike, _in_kspace(3)),
    "blur": (MotionBlurConfig, draw_motion_blur, _in_kspace(4)),
    "wrap": (WrapConfig, draw_wrap, lambda image, painted, params, mm: wrap_around(image, params)),
    "chemical shift": (ChemicalShiftConfig, draw_chemical_shift, shift_fat),
    "zipper": (ZipperConfig, draw_zipper, lambda image, painted, params, mm: add_zipper(image, params, mm)),
    "flow void": (FlowVoidConfig, draw_flow_void, add_flow_void),
}
GRIDS = [(33, 26), (1, 2), (2, 1), (7, 5), (1, 9, 8), (3, 20, 31)]

every_feature = pytest.mark.parametrize("name", FEATURES)


def _random(count: int, seed: int = 0) -> SampleRandom:
    return SampleRandom(sample_keys(seed, torch.arange(count)))


def _scene(count: int, grid: tuple[int, ...]):
    generator = torch.Generator().manual_seed(0)
    image = torch.rand(count, *grid, generator=generator)
    painted = torch.randint(0, PAINT_CODES, (count, *grid), generator=generator).to(torch.uint8)
    painted[:, ..., grid[-1] // 2 :] = 60
    return image, painted, (4.0, 1.2, 0.8)[-len(grid) :]


@every_feature
def test_probability_zero_draws_nothing_and_changes_nothing(name):
    config, draw, apply = FEATURES[name]
    assert draw(config(probability=0.0), _random(3)) is None
    image, painted, spacing = _scene(3, (12, 10))
    assert apply(image, painted, None, spacing) is image


@every_feature
def test_it_changes_samples_with_its_probability_and_the_others_stay_bit_for_bit(name):
    config, draw, apply = FEATURES[name]
    count = 300
    image, painted, spacing = _scene(count, (16, 14))
    result = apply(image, painted, draw(config(probability=0.3), _random(count)), spacing)
    changed = (result != image).flatten(1).any(dim=1).float().mean().item()
    # 4 standard deviations; a weak one may round to nothing on so small a grid.
    assert 0.3 - 4 * (0.21 / count) ** 0.5 - 0.08 < changed < 0.3 + 4 * (0.21 / count) ** 0.5


@every_feature
@pytest.mark.parametrize("grid", GRIDS)
def test_a_sample_alone_equals_the_sample_in_a_batch(name, grid):
    config, draw, apply = FEATURES[name]
    image, painted, spacing = _scene(7, grid)
    params = draw(config(probability=0.7), _random(7))
    together = apply(image, painted, params, spacing)
    assert together.shape == image.shape
    assert together.dtype == torch.float32
    assert torch.isfinite(together).all()
    for start, stop in ((0, 1), (3, 4), (6, 7), (2, 5), (1, 7)):
        some = slice(start, stop)
        assert torch.equal(
            apply(image[some].clone(), painted[some].clone(), params[some], spacing), together[some]
        )


@pytest.mark.parametrize("grid", GRIDS)
def test_all_of_kspace_together_does_not_depend_on_the_batch(grid):
    image, _, spacing = _scene(7, grid)
    random = _random(7)
    params = [draw(config(probability=0.5), random) for config, draw, _ in list(FEATURES.values())[:5]]
    together = distort_kspace(image, *params, spacing)
    for start, stop in ((0, 1), (4, 5), (2, 5)):
        some = slice(start, stop)
        assert torch.equal(distort_kspace(image[some], *[p[some] for p in params], spacing), together[some])


DRAWS = {
    **{name: (config(probability=0.5), draw) for name, (config, draw, _) in FEATURES.items()},
    "arches": (ArchConfig(), draw_arches),
    "bias": (BiasConfig(), draw_bias),
    "clip": (ClipConfig(), draw_clip),
    "coil": (CoilConfig(), draw_coil),
    "contrast": (ContrastConfig(), draw_contrast),
    "cortex": (CortexConfig(end_plate_probability=0.5), draw_cortex),
    "cortex without end plates": (CortexConfig(end_plate_probability=0.0), draw_cortex),
    "curve": (CurveConfig(probability=0.5), draw_curve),
    "gamma": (GammaConfig(normal_std=0.2), draw_gamma),
    "hidden": (HiddenConfig(probability=0.5), draw_hidden),
    "implant": (ImplantConfig(probability=0.5), draw_implant),
    "inversion": (InversionConfig(probability=0.5), draw_inversion),
    "noise": (NoiseConfig(g_factor_probability=0.5), draw_noise),
    "noise without g-factor": (NoiseConfig(g_factor_probability=0.0), draw_noise),
    "partial volume": (PartialVolumeConfig(), draw_partial_volume),
    "texture": (TextureConfig(), draw_texture),
}


def _assert_same(first, second):
    """Equal bit for bit: every tensor with its type, batches within the batch, and None."""
    assert type(first) is type(second)
    for field in type(first).__dataclass_fields__:
        one, other = getattr(first, field), getattr(second, field)
        if isinstance(one, Batch):
            _assert_same(one, other)
        elif isinstance(one, torch.Tensor):
            assert one.dtype == other.dtype and torch.equal(one, other), field
        else:
            assert one is None and other is None, field


@pytest.mark.parametrize("name", DRAWS)
def test_params_survive_json_bit_for_bit(name):
    config, draw = DRAWS[name]
    params = draw(config, _random(4))
    _assert_same(type(params).from_records(json.loads(json.dumps(params.to_records()))), params)


@pytest.mark.parametrize("name", DRAWS)
def test_what_is_drawn_for_a_sample_does_not_depend_on_its_batch(name):
    config, draw = DRAWS[name]
    batch = draw(config, _random(9))
    assert len(batch) == 9
    for i in (0, 5):
        _assert_same(draw(config, SampleRandom(sample_keys(0, torch.tensor([i])))), batch[i : i + 1])


@every_feature
@pytest.mark.parametrize("grid", [(33, 26), (1, 9, 8), (3, 20, 31)])
def test_it_reads_no_value_on_the_host(name, grid):
    """A meta tensor has no values: whatever needs one on the host fails here."""
    config, draw, apply = FEATURES[name]
    image, painted, spacing = _scene(2, grid)
    result = apply(
        image.to("meta"), painted.to("meta"), draw(config(probability=0.5), _random(2)).to("meta"), spacing
    )
    assert result.shape == image.shape
    assert result.device.type == "meta"


@every_feature
def test_it_does_not_change_its_input(name):
    config, draw, apply = FEATURES[name]
    image, painted, spacing = _scene(4, (20, 18))
    before = image.clone(), painted.clone()
    apply(image, painted, draw(config(probability=1.0), _random(4)), spacing)
    assert torch.equal(image, before[0])
    assert torch.equal(painted, before[1])


@every_feature
def test_gradients_reach_the_picture(name):
    config, draw, apply = FEATURES[name]
    image, painted, spacing = _scene(4, (20, 18))
    image.requires_grad_()
    apply(image, painted, draw(config(probability=0.7), _random(4)), spacing).square().sum().backward()
    assert torch.isfinite(image.grad).all()
    assert (image.grad != 0).float().mean() > 0.9


def test_draws_stay_in_their_ranges():
    random = _random(500)
    motion = draw_kspace_motion(KSpaceMotionConfig(probability=1.0), random)
    jumps = motion.displacement_mm.diff(dim=1).norm(dim=2)
    swings = motion.swing_mm > 0
    assert torch.equal(swings, jumps[:, 0] == 0)
    assert 0.4 < swings.float().mean() < 0.6
    _within(jumps[~swings], 0.5, 2.5)
    _within(motion.swing_mm[swings], 0.2, 1.0)
    _within(motion.jump_time, 0.1, 0.6)
    _within(motion.swing_cycles, 2.0, 20.0)
    ghosts = draw_ghosting(GhostingConfig(probability=1.0), random)
    _within(ghosts.strength.abs(), 0.03, 0.15)
    assert 0.4 < (ghosts.strength > 0).float().mean() < 0.6
    assert ghosts.every.unique().tolist() == [2.0, 3.0, 4.0]
    rows = phase_along_rows(random)
    kept = draw_gibbs(GibbsConfig(probability=1.0), random).kept
    _within(torch.where(rows, kept[:, 0], kept[:, 1]), 0.4, 0.8)
    _within(torch.where(rows, kept[:, 1], kept[:, 0]), 0.7, 1.0)
    spike = draw_spike(SpikeConfig(probability=1.0), random)
    _within(spike.strength, 0.02, 0.1)
    _within(1 / spike.frequency.norm(dim=1), 3.0, 15.0)
    _within(draw_motion_blur(MotionBlurConfig(probability=1.0), random).length_mm, 1.0, 6.0)
    _within(
        draw_chemical_shift(ChemicalShiftConfig(probability=1.0), random).displacement_mm.abs().amax(1),
        0.5,
        2.5,
    )
    width = draw_wrap(WrapConfig(probability=1.0), random).width
    _within(width[width > 0], 0.03, 0.15)


def _within(values: torch.Tensor, low: float, high: float) -> None:
    """All inside, and the range nearly used up."""
    slack = 1e-5 * high
    assert low - slack <= values.min() < low + 0.1 * (high - low)
    assert high + slack >= values.max() > high - 0.1 * (high - low)


def test_artefacts_of_a_sample_agree_on_the_phase_encoding_axis():
    random = _random(200)
    rows = phase_along_rows(random)
    assert 70 < rows.sum() < 130
    motion = draw_kspace_motion(KSpaceMotionConfig(probability=1.0), random)
    ghosts = draw_ghosting(GhostingConfig(probability=1.0), random)
    wrap = draw_wrap(WrapConfig(probability=1.0), random)
    shift = draw_chemical_shift(ChemicalShiftConfig(probability=1.0), random)
    zipper = draw_zipper(ZipperConfig(probability=1.0), random)
    g_factor = draw_noise(NoiseConfig(g_factor_probability=1.0), random).g_factor
    assert torch.equal(g_factor.width[:, 0] < g_factor.width[:, 1], rows)
    implant = draw_implant(ImplantConfig(probability=1.0), random)
    assert torch.equal(implant.along_rows > 0, ~rows)
    for along in (motion.along_rows, ghosts.along_rows, zipper.along_rows):
        assert torch.equal(along > 0, rows)
    assert torch.equal(wrap.width[:, :2].amax(1) > 0, rows)
    assert torch.equal(wrap.width[:, 2:].amax(1) > 0, ~rows)
    assert torch.equal(shift.displacement_mm[:, 1] != 0, rows)
    assert torch.equal(shift.displacement_mm[:, 0] != 0, ~rows)


@pytest.mark.parametrize(
    ("config", "fields"),
    [
        (GhostingConfig, {"every": (2.0, 3.5)}),
        (GhostingConfig, {"every": (1.0, 3.0)}),
        (GhostingConfig, {"probability": 1.2}),
        (GibbsConfig, {"phase_kept": (0.0, 0.5)}),
        (WrapConfig, {"width": (0.1, 0.7)}),
        (SpikeConfig, {"stripe_mm": (0.0, 3.0)}),
        (KSpaceMotionConfig, {"jump_time": (0.5, 1.5)}),
        (MotionBlurConfig, {"length_mm": (-1.0, 3.0)}),
        (FlowVoidConfig, {"depth": (0.5, 0.2)}),
        (ChemicalShiftConfig, {"displacement_mm": (0.0, float("nan"))}),
        (ZipperConfig, {"width_mm": (-0.5, 1.0)}),
    ],
)
def test_an_invalid_range_is_refused_by_name(config, fields):
    with pytest.raises(ValueError, match=next(iter(fields))):
        config(**fields)
