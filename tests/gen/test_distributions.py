"""What is drawn follows its configuration: every range by Kolmogorov-Smirnov, every probability by counting.

One table row per setting: its path in the configuration, where the drawn value is found in the parameters,
and what else is set so that it shows there. A setting that no table names fails the last test.
"""

from dataclasses import fields, is_dataclass, replace
from functools import lru_cache

import numpy as np
import pytest
import torch
from drawn_ranges import (
    BASE,
    BONE,
    COARSE,
    COUNT,
    DERIVED,
    LEAST_P,
    MEASURED,
    PHYSICAL,
    RANDOM,
    SWING,
    TABLE_ALONE,
    UNIFORM,
    _factor,
    _named,
)
from scipy import stats

from synthspine.gen import GeneratorConfig, draw
from synthspine.gen.core.counter_rng import SampleRandom, sample_keys
from synthspine.gen.geometry.spine_frame import NEVER_MM
from synthspine.gen.intensity.contrast import RECIPES
from synthspine.gen.intensity.physical_contrast import PhysicalConfig, _draw_relaxation
from synthspine.gen.intensity.spin_echo import TISSUES
from synthspine.gen.tissues.palette import AIR, SACRUM

CHANCE = {
    "deformation.probability": lambda p: p.deformation.velocity_mm > 0,
    "flip.left_right_probability": (lambda p: p.flip.left_right > 0, {"dims": 3}),
    "flip.head_foot_probability": lambda p: p.flip.head_foot > 0,
    "flip.front_back_probability": lambda p: p.flip.front_back > 0,
    "view.probability": lambda p: p.view.lost_mm.amax(1) > 0,
    "background.probability": lambda p: p.background.regions > 0,
    "body_layers.probability": lambda p: p.body_layers.front_mm < NEVER_MM,
    "body_layers.vessel_probability": lambda p: p.body_layers.vessel_mm[:, 0] < NEVER_MM,
    "bowel.probability": lambda p: p.bowel.middle_mm[:, 1] < NEVER_MM,
    "bowel.head_probability": lambda p: p.bowel.middle_mm[:, 0] < NEVER_MM,
    "sacrum.probability": lambda p: p.sacrum.scale[:, 0] > 0,
    "sacrum.canal_probability": lambda p: p.sacrum.canal > 0,
    "floor.probability": lambda p: p.floor.below_mm < NEVER_MM,
    "floor.fat_probability": lambda p: p.floor.fat > 0,
    "canal.cord_probability": lambda p: p.canal.cord_mm > 0,
    "canal.roots_probability": lambda p: p.canal.roots.share > 0,
    "epidural_fat.probability": lambda p: p.epidural_fat.share > 0,
    "fat_pads.probability": lambda p: p.fat_pads.thickness_mm > 0,
    "discs.nucleus_probability": lambda p: p.discs.core.abs().amax(1) > 0,
    "discs.cleft_probability": lambda p: p.discs.cleft > 0,
    "discs.degenerated_probability": lambda p: p.discs.brightness < 1,
    "modic.probability": lambda p: p.modic.extent_mm[:, 0, 0] > 0,
    "modic.plate_probability": lambda p: p.modic.extent_mm > 0,
    "schmorl.probability": lambda p: p.schmorl.radius_mm[:, 0, 0] > 0,
    "schmorl.plate_probability": lambda p: p.schmorl.radius_mm > 0,
    "haemangioma.probability": lambda p: p.haemangioma.radius_mm[:, 0] > 0,
    "haemangioma.spot_probability": lambda p: p.haemangioma.radius_mm > 0,
    "hidden.probability": lambda p: p.hidden.hidden > 0,
    "outside.probability": lambda p: p.outside.black > 0,
    "contrast.dark_air_probability": (
        lambda p: p.contrast.mean[:, AIR] < 0.2,
        RANDOM | {"contrast.random_mean": (0.5, 1.0), "contrast.dark_air": 0.1},
    ),
    "contrast.end_probability": (lambda p: (p.contrast.alpha == 0) | (p.contrast.alpha == 1), MEASURED),
    "contrast.sacrum_alike_probability": (
        lambda p: p.contrast.mean[:, SACRUM] == p.contrast.mean[:, BONE],
        RANDOM | TABLE_ALONE,
    ),
    "contrast.physical.stir_probability": (lambda p: p.contrast.physical.inversion_ms > 0, PHYSICAL),
    "contrast.physical.t2_probability": (
        lambda p: p.contrast.physical.repetition_ms > 1000,
        PHYSICAL | {"contrast.physical.stir_probability": 0.0},
    ),
    "contrast.physical.high_field_probability": (lambda p: p.contrast.physical.field_tesla == 3, PHYSICAL),
    "arches.probability": lambda p: p.arches.blur_mm > 0,
    "partial_volume.probability": lambda p: p.partial_volume.sigma_mm > 0,
    "texture.probability": lambda p: p.texture.white[:, BONE] > 0,
    "cortex.probability": lambda p: p.cortex.strength[:, 0] > 0,
    "cortex.end_plate_probability": lambda p: p.cortex.end_plates.strength > 0,
    "implant.probability": lambda p: p.implant.displacement_mm != 0,
    "implant.second_probability": lambda p: p.implant.up_mm[:, 1] < 1000,
    "implant.rod_probability": lambda p: p.implant.axis_deg > 45,
    "flow_void.probability": lambda p: p.flow_void.depth > 0,
    "chemical_shift.probability": lambda p: p.chemical_shift.displacement_mm.abs().amax(1) > 0,
    "coil.probability": lambda p: p.coil.floor < 1,
    "bias.probability": lambda p: p.bias.log_std > 0,
    "wrap.probability": lambda p: p.wrap.strength > 0,
    "wrap.both_probability": lambda p: (p.wrap.width > 0).sum(1) == 2,
    "kspace_motion.probability": (lambda p: p.kspace_motion.swing_mm > 0, SWING),
    "kspace_motion.swing_probability": lambda p: p.kspace_motion.swing_mm > 0,
    "ghosting.probability": lambda p: p.ghosting.strength != 0,
    "gibbs.probability": lambda p: p.gibbs.kept[:, 0] < 1,
    "spike.probability": lambda p: p.spike.strength > 0,
    "motion_blur.probability": lambda p: p.motion_blur.length_mm > 0,
    "resolution.native_probability": lambda p: (p.resolution.spacing_mm == 1).all(1),
    "resolution.isotropic_probability": (lambda p: (p.resolution.spacing_mm > 1).all(1), COARSE),
    "noise.probability": lambda p: p.noise.level > 0,
    "noise.rician_probability": lambda p: p.noise.rician > 0,
    "noise.g_factor_probability": lambda p: p.noise.g_factor.extra > 0,
    "zipper.probability": lambda p: p.zipper.strength > 0,
    "clip.probability": lambda p: p.clip.high > 0,
    "gamma.probability": lambda p: p.gamma.gamma != 1,
    "curve.probability": lambda p: (p.curve.points[:, 1] - 0.25).abs() > 1e-6,
    "inversion.probability": lambda p: p.inversion.inverted > 0,
}

ELSEWHERE = {
    "ghosting.every": "whole numbers, see below",
    "contrast.physical.region_density": "no record holds it, see below",
    "contrast.physical.region_t1_ms": "the same",
    "contrast.physical.region_t2_ms": "the same",
}


def _leaves(config, path=""):
    """Path and annotation of every setting."""
    for entry in fields(config):
        value = getattr(config, entry.name)
        if is_dataclass(value):
            yield from _leaves(value, f"{path}{entry.name}.")
        else:
            yield f"{path}{entry.name}", value


def _with(config, settings):
    """The configuration with other values at some paths."""
    changes, inside = {}, {}
    for path, value in settings.items():
        name, _, rest = path.partition(".")
        if rest:
            inside.setdefault(name, {})[rest] = value
        else:
            changes[name] = value
    return replace(config, **changes, **{name: _with(getattr(config, name), s) for name, s in inside.items()})


ALWAYS = {path: 1.0 for path, _ in _leaves(GeneratorConfig()) if path.endswith("probability")}


@lru_cache
def _drawn(settings):
    """Parameters, with every feature always on but for the settings, and the configuration."""
    settings = dict(settings)
    dims = settings.pop("dims", 2)
    config = _with(GeneratorConfig(), ALWAYS | BASE | settings)
    return draw(config, 5, torch.arange(COUNT), maps=3, dims=dims), config


def _values(row, settings=()):
    """Drawn values of a row of a table, with the configuration they were drawn from."""
    get, own = row if isinstance(row, tuple) else (row, {})
    params, config = _drawn(tuple({**own, **dict(settings)}.items()))
    return get(params).double().flatten().numpy(), config


@pytest.mark.parametrize("path", UNIFORM)
def test_a_range_is_drawn_uniformly(path):
    values, config = _values(UNIFORM[path])
    low, high = _named(path)(config)
    tolerance = 1e-4 * max(abs(low), abs(high))
    assert low < high and len(values) >= COUNT
    assert values.min() >= low - tolerance and values.max() <= high + tolerance
    assert stats.kstest(values, stats.uniform(low, high - low).cdf).pvalue > LEAST_P


@pytest.mark.parametrize("path", DERIVED)
def test_a_product_of_draws_is_distributed_as_simulated(path):
    get, simulate, settings = DERIVED[path]
    values, config = _values((get, settings))
    expected = simulate(np.random.default_rng(0), *_named(path)(config))
    assert stats.ks_2samp(values, expected).pvalue > LEAST_P


@pytest.mark.parametrize("path", CHANCE)
def test_a_probability_is_how_often_it_happens(path):
    probability = 0.3
    flags, _ = _values(CHANCE[path], {path: probability})
    deviation = np.sqrt(probability * (1 - probability) / len(flags))
    assert abs(flags.mean() - probability) < 4 * deviation


@pytest.mark.parametrize("which", ["isotropic", "single_axis"])
def test_by_default_the_reciprocal_of_the_resolution_is_uniform(which):
    settings = COARSE | {"resolution.isotropic_probability": float(which == "isotropic")}
    values, config = _values((_factor, settings))
    low, high = getattr(config.resolution, which)
    assert stats.kstest(1 / values, stats.uniform(1 / high, 1 / low - 1 / high).cdf).pvalue > LEAST_P


@pytest.mark.parametrize("recipe", RECIPES)
def test_recipes_are_mixed_by_their_weights(recipe):
    weights = dict(zip(RECIPES, (0.5, 1.5, 3.0), strict=True))
    values, _ = _values(
        (_named("contrast.recipe"), {f"contrast.{name}_weight": weight for name, weight in weights.items()})
    )
    share = weights[recipe] / 5
    found = (values == RECIPES.index(recipe)).mean()
    assert abs(found - share) < 4 * np.sqrt(share * (1 - share) / COUNT)


def test_ghosts_lie_every_whole_number_of_lines_alike():
    values, _ = _values((_named("ghosting.every"), {"ghosting.every": (2.0, 5.0)}))
    numbers, counts = np.unique(values, return_counts=True)
    assert numbers.tolist() == [2, 3, 4, 5]
    assert stats.chisquare(counts).pvalue > LEAST_P


@pytest.mark.parametrize(("place", "name"), enumerate(["region_density", "region_t1_ms", "region_t2_ms"]))
def test_regions_have_uniform_densities_and_log_uniform_relaxation_times(place, name):
    config = PhysicalConfig()
    random = SampleRandom(sample_keys(5, torch.arange(COUNT // 10)))
    values = _draw_relaxation(config, random, torch.full((COUNT // 10,), 1.5))[place][:, len(TISSUES) :]
    low, high = getattr(config, name)
    values = values.double().flatten().numpy()
    if place > 0:
        low, high, values = np.log(low), np.log(high), np.log(values)
    assert len(values) >= COUNT
    assert stats.kstest(values, stats.uniform(low, high - low).cdf).pvalue > LEAST_P


def test_the_normal_part_of_gamma_is_normal():
    settings = {"gamma.log_gamma": (0.0, 0.0), "gamma.normal_std": 0.4}
    values, _ = _values((lambda p: p.gamma.gamma.log(), settings))
    assert stats.kstest(values, stats.norm(0, 0.4).cdf).pvalue > LEAST_P


def test_either_sign_side_and_axis_is_drawn_half_of_the_time():
    params, _ = _drawn(())
    halves = {
        "phase axis": params.ghosting.along_rows > 0,
        "ghosting": params.ghosting.strength > 0,
        "chemical shift": params.chemical_shift.displacement_mm.sum(1) > 0,
        "implant": params.implant.displacement_mm > 0,
        "implant axis": params.implant.along_rows > 0,
        "g-factor axis": params.noise.g_factor.width[:, 0] < params.noise.g_factor.width[:, 1],
    }
    for name, flags in halves.items():
        assert abs(flags.double().mean() - 0.5) < 4 * 0.5 / np.sqrt(COUNT), name


def test_different_settings_are_drawn_independently():
    """Any two numbers of a sample are uncorrelated, up to what 2000 samples leave."""
    params, _ = _drawn(())
    columns = {
        path: row(params).double().reshape(COUNT, -1)[:, 0].numpy()
        for path, row in UNIFORM.items()
        if not isinstance(row, tuple) and path not in ("affine.scale", "view.crop_mm")
    }
    correlation = np.abs(np.corrcoef(np.stack(list(columns.values()))) - np.eye(len(columns)))
    assert correlation.max() < 5 / np.sqrt(COUNT)


def test_every_range_and_every_probability_is_in_a_table():
    settings = {
        path
        for path, value in _leaves(GeneratorConfig())
        if path.endswith("probability") or (isinstance(value, tuple) and len(value) == 2)
    }
    assert settings == {*UNIFORM, *DERIVED, *CHANCE, *ELSEWHERE}
