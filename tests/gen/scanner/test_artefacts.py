"""What holds for every artefact: draws, records, identity, batches, devices."""

import json
from dataclasses import fields

import pytest
import torch

from synthspine.gen.core.counter_rng import SampleRandom, sample_keys
from synthspine.gen.core.feature import Batch
from synthspine.gen.intensity.contrast import ContrastConfig
from synthspine.gen.intensity.cortex import CortexConfig
from synthspine.gen.intensity.flow_void import FlowVoidConfig, add_flow_void
from synthspine.gen.intensity.hidden_labels import HiddenConfig
from synthspine.gen.intensity.partial_volume import PartialVolumeConfig
from synthspine.gen.intensity.posterior_arch import ArchConfig
from synthspine.gen.intensity.texture import TextureConfig
from synthspine.gen.scanner.chemical_shift import ChemicalShiftConfig, shift_fat
from synthspine.gen.scanner.display import (
    ClipConfig,
    CurveConfig,
    GammaConfig,
    InversionConfig,
)
from synthspine.gen.scanner.implant import ImplantConfig
from synthspine.gen.scanner.kspace import GibbsConfig, SpikeConfig, distort_kspace
from synthspine.gen.scanner.lines import phase_along_rows
from synthspine.gen.scanner.motion import (
    GhostingConfig,
    KSpaceMotionConfig,
    MotionBlurConfig,
)
from synthspine.gen.scanner.noise import NoiseConfig, ZipperConfig, add_zipper
from synthspine.gen.scanner.shading import BiasConfig, CoilConfig
from synthspine.gen.scanner.wrap import WrapConfig, wrap_around
from synthspine.gen.tissues.palette import PAINT_CODES


def _in_kspace(image, painted, params, spacing_mm):
    return distort_kspace(image, [params], spacing_mm)


FEATURES = {
    "motion": (KSpaceMotionConfig, _in_kspace),
    "ghosting": (GhostingConfig, _in_kspace),
    "gibbs": (GibbsConfig, _in_kspace),
    "spike": (SpikeConfig, _in_kspace),
    "blur": (MotionBlurConfig, _in_kspace),
    "wrap": (WrapConfig, lambda image, painted, params, mm: wrap_around(image, params)),
    "chemical shift": (ChemicalShiftConfig, shift_fat),
    "zipper": (ZipperConfig, lambda image, painted, params, mm: add_zipper(image, params, mm)),
    "flow void": (FlowVoidConfig, add_flow_void),
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
    config, apply = FEATURES[name]
    assert config(probability=0.0).draw(_random(3)) is None
    image, painted, spacing = _scene(3, (12, 10))
    assert apply(image, painted, None, spacing) is image


@every_feature
def test_it_changes_samples_with_its_probability_and_the_others_stay_bit_for_bit(name):
    config, apply = FEATURES[name]
    count = 300
    image, painted, spacing = _scene(count, (16, 14))
    result = apply(image, painted, config(probability=0.3).draw(_random(count)), spacing)
    changed = (result != image).flatten(1).any(dim=1).float().mean().item()
    # 4 standard deviations; a weak one may round to nothing on so small a grid.
    assert 0.3 - 4 * (0.21 / count) ** 0.5 - 0.08 < changed < 0.3 + 4 * (0.21 / count) ** 0.5


@every_feature
@pytest.mark.parametrize("grid", GRIDS)
def test_a_sample_alone_equals_the_sample_in_a_batch(name, grid):
    config, apply = FEATURES[name]
    image, painted, spacing = _scene(7, grid)
    params = config(probability=0.7).draw(_random(7))
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
    params = [config(probability=0.5).draw(random) for config, _ in list(FEATURES.values())[:5]]
    together = distort_kspace(image, params, spacing)
    for start, stop in ((0, 1), (4, 5), (2, 5)):
        some = slice(start, stop)
        assert torch.equal(distort_kspace(image[some], [p[some] for p in params], spacing), together[some])


DRAWS = {
    **{name: config(probability=0.5) for name, (config, _) in FEATURES.items()},
    "arches": ArchConfig(),
    "bias": BiasConfig(),
    "clip": ClipConfig(),
    "coil": CoilConfig(),
    "contrast": ContrastConfig(),
    "cortex": CortexConfig(end_plate_probability=0.5),
    "cortex without end plates": CortexConfig(end_plate_probability=0.0),
    "curve": CurveConfig(probability=0.5),
    "gamma": GammaConfig(normal_std=0.2),
    "hidden": HiddenConfig(probability=0.5),
    "implant": ImplantConfig(probability=0.5),
    "inversion": InversionConfig(probability=0.5),
    "noise": NoiseConfig(g_factor_probability=0.5),
    "noise without g-factor": NoiseConfig(g_factor_probability=0.0),
    "partial volume": PartialVolumeConfig(),
    "texture": TextureConfig(),
}


def _assert_same(first, second):
    """Equal bit for bit: every tensor with its type, batches within the batch, and None."""
    assert type(first) is type(second)
    for field in (entry.name for entry in fields(first)):
        one, other = getattr(first, field), getattr(second, field)
        if isinstance(one, Batch):
            _assert_same(one, other)
        elif isinstance(one, torch.Tensor):
            assert one.dtype == other.dtype and torch.equal(one, other), field
        else:
            assert one is None and other is None, field


@pytest.mark.parametrize("name", DRAWS)
def test_params_survive_json_bit_for_bit(name):
    config = DRAWS[name]
    params = config.draw(_random(4))
    _assert_same(type(params).from_records(json.loads(json.dumps(params.to_records()))), params)


@pytest.mark.parametrize("name", DRAWS)
def test_what_is_drawn_for_a_sample_does_not_depend_on_its_batch(name):
    config = DRAWS[name]
    batch = config.draw(_random(9))
    assert len(batch) == 9
    for i in (0, 5):
        _assert_same(config.draw(SampleRandom(sample_keys(0, torch.tensor([i])))), batch[i : i + 1])


@every_feature
@pytest.mark.parametrize("grid", [(33, 26), (1, 9, 8), (3, 20, 31)])
def test_it_reads_no_value_on_the_host(name, grid):
    """A meta tensor has no values: whatever needs one on the host fails here."""
    config, apply = FEATURES[name]
    image, painted, spacing = _scene(2, grid)
    result = apply(
        image.to("meta"), painted.to("meta"), config(probability=0.5).draw(_random(2)).to("meta"), spacing
    )
    assert result.shape == image.shape
    assert result.device.type == "meta"


@every_feature
def test_it_does_not_change_its_input(name):
    config, apply = FEATURES[name]
    image, painted, spacing = _scene(4, (20, 18))
    before = image.clone(), painted.clone()
    apply(image, painted, config(probability=1.0).draw(_random(4)), spacing)
    assert torch.equal(image, before[0])
    assert torch.equal(painted, before[1])


@every_feature
def test_gradients_reach_the_picture(name):
    config, apply = FEATURES[name]
    image, painted, spacing = _scene(4, (20, 18))
    image.requires_grad_()
    apply(image, painted, config(probability=0.7).draw(_random(4)), spacing).square().sum().backward()
    assert torch.isfinite(image.grad).all()
    assert (image.grad != 0).float().mean() > 0.9


def test_draws_stay_in_their_ranges():
    random = _random(500)
    motion = KSpaceMotionConfig(probability=1.0).draw(random)
    jumps = motion.displacement_mm.diff(dim=1).norm(dim=2)
    swings = motion.swing_mm > 0
    assert torch.equal(swings, jumps[:, 0] == 0)
    assert 0.4 < swings.float().mean() < 0.6
    _within(jumps[~swings], 0.5, 2.5)
    _within(motion.swing_mm[swings], 0.2, 1.0)
    _within(motion.jump_time, 0.1, 0.6)
    _within(motion.swing_cycles, 2.0, 20.0)
    ghosts = GhostingConfig(probability=1.0).draw(random)
    _within(ghosts.strength.abs(), 0.03, 0.15)
    assert 0.4 < (ghosts.strength > 0).float().mean() < 0.6
    assert ghosts.every.unique().tolist() == [2.0, 3.0, 4.0]
    rows = phase_along_rows(random)
    kept = GibbsConfig(probability=1.0).draw(random).kept
    _within(torch.where(rows, kept[:, 0], kept[:, 1]), 0.4, 0.8)
    _within(torch.where(rows, kept[:, 1], kept[:, 0]), 0.7, 1.0)
    spike = SpikeConfig(probability=1.0).draw(random)
    _within(spike.strength, 0.02, 0.1)
    _within(1 / spike.frequency.norm(dim=1), 3.0, 15.0)
    _within(MotionBlurConfig(probability=1.0).draw(random).length_mm, 1.0, 6.0)
    _within(
        ChemicalShiftConfig(probability=1.0).draw(random).displacement_mm.abs().amax(1),
        0.5,
        2.5,
    )
    width = WrapConfig(probability=1.0).draw(random).width
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
    motion = KSpaceMotionConfig(probability=1.0).draw(random)
    ghosts = GhostingConfig(probability=1.0).draw(random)
    wrap = WrapConfig(probability=1.0).draw(random)
    shift = ChemicalShiftConfig(probability=1.0).draw(random)
    zipper = ZipperConfig(probability=1.0).draw(random)
    g_factor = NoiseConfig(g_factor_probability=1.0).draw(random).g_factor
    assert torch.equal(g_factor.width[:, 0] < g_factor.width[:, 1], rows)
    implant = ImplantConfig(probability=1.0).draw(random)
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
