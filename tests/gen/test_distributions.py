"""What is drawn follows its configuration: every range by Kolmogorov-Smirnov, every probability by counting.

One table row per setting: its path in the configuration, where the drawn value is found in the parameters,
and what else is set so that it shows there. A setting that no table names fails the last test.
"""

from dataclasses import fields, is_dataclass, replace
from functools import lru_cache

import numpy as np
import pytest
import torch
from scipy import stats

from gen import GeneratorConfig, draw
from gen.anatomy import CANAL, vertebra_code
from gen.body_layers import NEVER_MM
from gen.contrast import RECIPES
from gen.counter_rng import SampleRandom, sample_keys
from gen.palette import AIR, FAT, FAT_FRACTION, MUSCLE, SACRUM
from gen.physical_contrast import PhysicalConfig, _draw_relaxation, nulling_ms
from gen.spin_echo import TISSUES

COUNT = 2000
LEAST_P = 1e-4
"""The draws do not change, so a row that passes goes on passing; about 200 rows are tested."""
BONE = vertebra_code(1)
RANDOM, MEASURED, PHYSICAL = (
    {f"contrast.{name}_weight": float(name == recipe) for name in RECIPES} for recipe in RECIPES
)
COARSE = {"resolution.native_probability": 0.0, "resolution.sigma_factor": (1.0, 1.0)}
SLICES_TOO = {"dims": 3, "affine.rotation_deg": (0.0, 0.0), "affine.shear": (0.0, 0.0)}
STIR, T1, T2 = (
    PHYSICAL | {"contrast.physical.stir_probability": stir, "contrast.physical.t2_probability": t2}
    for stir, t2 in ((1.0, 0.0), (0.0, 0.0), (0.0, 1.0))
)
ROD, SCREW = {"implant.rod_probability": 1.0}, {"implant.rod_probability": 0.0}
JUMP, SWING = {"kspace_motion.swing_probability": 0.0}, {"kspace_motion.swing_probability": 1.0}
TABLE_ALONE = {"contrast.instance_jitter": (0.0, 0.0), "discs.degenerated_probability": 0.0}

BASE = {
    # Hidden structures lose their lines, which are looked at.
    "hidden.probability": 0.0,
    # Ranges that the preset leaves as one value.
    "body_layers.muscle_start_mm": (4.0, 9.0),
    "body_layers.strand_share": (0.1, 0.3),
    "body_layers.gap_share": (0.05, 0.2),
    "body_layers.uneven_mm": (2.0, 6.0),
    "sacrum.disc_thickness": (0.5, 0.9),
    "canal.root_length_mm": (12.0, 20.0),
    "canal.root_width_mm": (1.0, 2.0),
    "epidural_fat.thickness_mm": (1.0, 3.0),
    "view.crop_foot": True,
}


def _named(name):
    """The parameter of that path."""

    def get(params):
        for part in name.split("."):
            params = getattr(params, part)
        return params

    return get


def _affine(part):
    """A part of the affine map in 2D: its first column is turned, its second one sheared as well."""

    def get(params):
        matrix = params.affine.matrix.double()
        angle = torch.atan2(matrix[:, 1, 0], matrix[:, 0, 0])
        first = matrix[:, :, 0].norm(dim=1)
        across = torch.cos(angle) * matrix[:, 0, 1] + torch.sin(angle) * matrix[:, 1, 1]
        second = torch.linalg.det(matrix) / first
        parts = {"scale": torch.stack((1 / first, 1 / second)), "shear": across / second}
        return (parts | {"angle": torch.rad2deg(angle)})[part]

    return get


def _tilts(params):
    column = params.affine.matrix[:, :, 0].double()
    column = column / column.norm(dim=1, keepdim=True)
    return torch.rad2deg(torch.stack((torch.asin(column[:, 1]), torch.atan2(column[:, 2], column[:, 0]))))


def _factor(params):
    """Acquired over grid spacing along the axis that lost most."""
    return (params.resolution.spacing_mm / torch.tensor(params.spacing_mm)).amax(1)


def _marrow(params):
    white, coarse = (values[:, BONE].square() for values in (params.texture.white, params.texture.coarse))
    return coarse / (white + coarse)


def _muscle_grain(params):
    return params.texture.white[:, MUSCLE].square(), params.texture.coarse[:, MUSCLE].square()


def _inversion(params):
    physical = params.contrast.physical
    fat_ms = torch.tensor(TISSUES["fat"].t1_ms)[(physical.field_tesla == 3).long()]
    return physical.inversion_ms / nulling_ms(fat_ms, physical.repetition_ms)


def _along_phase(values, params):
    """Of values per row and per column, ``(B, 2)``, the phase-encoding axis' and the other one's."""
    rows = params.ghosting.along_rows.unsqueeze(1) > 0
    return torch.where(rows, values, values.flip(1))


UNIFORM = {
    "affine.scale": _affine("scale"),
    "affine.rotation_deg": _affine("angle"),
    "affine.shear": _affine("shear"),
    "affine.tilt_deg": (_tilts, SLICES_TOO),
    "affine.translation_mm": _named("affine.translation_mm"),
    "deformation.velocity_mm": _named("deformation.velocity_mm"),
    "deformation.velocity_correlation_mm": _named("deformation.velocity_correlation_mm"),
    "view.crop_mm": _named("view.lost_mm"),
    **{
        f"background.{name}": _named(f"background.{name}")
        for name in ("coarse_mm", "medium_mm", "medium_share", "fine_mm", "fine_share")
    },
    "body_layers.muscle_start_mm": lambda p: p.body_layers.muscle_mm[:, 0],
    "body_layers.muscle_mm": lambda p: p.body_layers.muscle_mm[:, 1],
    **{
        f"body_layers.{name}": _named(f"body_layers.{name}")
        for name in ("strand_mm", "strand_share", "gap_share", "fat_mm", "front_mm", "uneven_mm", "wave_mm")
    },
    "body_layers.vessel_near_mm": lambda p: p.body_layers.vessel_mm[:, 0],
    "body_layers.vessel_width_mm": lambda p: p.body_layers.vessel_mm.diff(dim=1),
    "bowel.head_mm": lambda p: p.bowel.middle_mm[:, 0],
    "bowel.foot_mm": lambda p: p.bowel.middle_mm[:, 1],
    "bowel.height_mm": lambda p: p.bowel.half_mm[:, 0],
    "bowel.width_mm": lambda p: p.bowel.half_mm[:, 1],
    **{
        f"bowel.{name}": _named(f"bowel.{name}")
        for name in ("front_mm", "loop_mm", "share", "wall_mm", "gas_share")
    },
    "sacrum.turn_deg": _named("sacrum.turn_deg"),
    "sacrum.shrink": lambda p: p.sacrum.scale[:, 0],
    "sacrum.disc_thickness": _named("sacrum.disc_thickness"),
    "floor.below_mm": _named("floor.below_mm"),
    "floor.tilt_deg": lambda p: torch.rad2deg(torch.atan(p.floor.slope)),
    **{f"canal.{name}": _named(f"canal.{name}") for name in ("cord_mm", "cord_offset_mm", "conus_mm")},
    "canal.roots_share": _named("canal.roots.share"),
    "canal.root_length_mm": _named("canal.roots.length_mm"),
    "canal.root_width_mm": _named("canal.roots.width_mm"),
    **{
        f"epidural_fat.{name}": _named(f"epidural_fat.{name}")
        for name in ("share", "thickness_mm", "patch_mm")
    },
    "discs.cleft": _named("discs.cleft"),
    "discs.lost_mm": lambda p: torch.cat((p.discs.lost_mm[:, 0], p.discs.lost_mm[:, 1, 1:]), dim=1),
    "discs.darkness": lambda p: 1 - p.discs.brightness,
    "modic.extent_mm": _named("modic.extent_mm"),
    "modic.patchiness_mm": _named("modic.patchiness_mm"),
    "modic.wave_mm": _named("modic.wave_mm"),
    **{
        f"{lesion}.{name}": _named(f"{lesion}.{name}")
        for lesion in ("schmorl", "haemangioma")
        for name in ("radius_mm", "behind_mm", "across_mm")
    },
    "contrast.random_mean": (
        lambda p: p.contrast.mean[:, [BONE, CANAL, FAT, MUSCLE]],
        RANDOM | TABLE_ALONE | {"contrast.dark_air_probability": 0.0, "contrast.random_mean": (0.1, 0.7)},
    ),
    "contrast.alpha": (_named("contrast.alpha"), MEASURED | {"contrast.end_probability": 0.0}),
    "contrast.instance_jitter": _named("contrast.jitter"),
    **{
        f"contrast.physical.{protocol}_{time}": (_named(f"contrast.physical.{time}"), settings)
        for protocol, settings in (("t1", T1), ("t2", T2), ("stir", STIR))
        for time in ("repetition_ms", "echo_ms")
    },
    "contrast.physical.inversion": (_inversion, STIR),
    "contrast.physical.full_scale": (
        lambda p: torch.maximum(p.contrast.mean[:, FAT], p.contrast.mean[:, CANAL]),
        T2 | TABLE_ALONE | {"contrast.physical.full_scale": (0.5, 0.9)},
    ),
    "partial_volume.sigma_mm": _named("partial_volume.sigma_mm"),
    "texture.strength": lambda p: sum(_muscle_grain(p)).sqrt(),
    "texture.correlated": lambda p: _muscle_grain(p)[1] / sum(_muscle_grain(p)),
    "texture.marrow": (_marrow, {"texture.correlated": (0.0, 0.0)}),
    "texture.correlation_mm": _named("texture.correlation_mm"),
    **{f"cortex.{name}": _named(f"cortex.{name}") for name in ("strength", "level", "width_mm", "offset_mm")},
    **{
        f"cortex.end_plate_{name}": _named(f"cortex.end_plates.{name}")
        for name in ("strength", "level", "width_mm", "offset_mm")
    },
    "implant.second_rise_mm": lambda p: p.implant.up_mm[:, 1],
    "implant.screw_mm": (lambda p: 2 * p.implant.half_mm, SCREW),
    "implant.screw_behind_mm": (_named("implant.behind_mm"), SCREW),
    "implant.rod_mm": (lambda p: 2 * p.implant.half_mm, ROD),
    "implant.rod_behind_mm": (_named("implant.behind_mm"), ROD),
    "implant.tilt_deg": (_named("implant.axis_deg"), SCREW),
    "implant.displacement_mm": lambda p: p.implant.displacement_mm.abs(),
    **{
        f"implant.{name}": _named(f"implant.{name}")
        for name in ("rise_mm", "across_mm", "radius_mm", "halo_mm")
    },
    "flow_void.depth": _named("flow_void.depth"),
    "flow_void.threshold": _named("flow_void.threshold"),
    "chemical_shift.displacement_mm": lambda p: p.chemical_shift.displacement_mm.abs().sum(1),
    "chemical_shift.fatness": lambda p: p.chemical_shift.fat_fraction[:, BONE] / FAT_FRACTION[BONE],
    **{f"coil.{name}": _named(f"coil.{name}") for name in ("floor", "half_mm", "width_mm")},
    "bias.log_std": _named("bias.log_std"),
    "bias.correlation_mm": _named("bias.correlation_mm"),
    "wrap.strength": _named("wrap.strength"),
    "wrap.width": lambda p: p.wrap.width[:, :2] + p.wrap.width[:, 2:],
    "kspace_motion.jump_mm": (
        lambda p: p.kspace_motion.displacement_mm.double().diff(dim=1).norm(dim=2),
        JUMP,
    ),
    "kspace_motion.jump_time": _named("kspace_motion.jump_time"),
    "kspace_motion.swing_mm": (_named("kspace_motion.swing_mm"), SWING),
    "kspace_motion.swing_cycles": _named("kspace_motion.swing_cycles"),
    "ghosting.strength": lambda p: p.ghosting.strength.abs(),
    "gibbs.phase_kept": lambda p: _along_phase(p.gibbs.kept, p)[:, 0],
    "gibbs.readout_kept": lambda p: _along_phase(p.gibbs.kept, p)[:, 1],
    "spike.strength": _named("spike.strength"),
    "spike.stripe_mm": lambda p: 1 / p.spike.frequency.norm(dim=1),
    "motion_blur.length_mm": _named("motion_blur.length_mm"),
    "motion_blur.direction_deg": _named("motion_blur.direction_deg"),
    "resolution.isotropic": (
        _factor,
        COARSE | {"resolution.isotropic_probability": 1.0, "resolution.uniform_in": "factor"},
    ),
    "resolution.single_axis": (
        _factor,
        COARSE | {"resolution.isotropic_probability": 0.0, "resolution.uniform_in": "factor"},
    ),
    "resolution.thickness_share": (
        lambda p: (p.resolution.thickness_mm / p.resolution.spacing_mm)[:, 0],
        COARSE,
    ),
    "resolution.sigma_factor": (
        lambda p: p.resolution.sigma_mm / p.resolution.thickness_mm,
        {"resolution.sigma_factor": (0.8, 1.4), "resolution.sigma_per_thickness": 1.0},
    ),
    "noise.level": _named("noise.level"),
    "noise.g_factor": _named("noise.g_factor.extra"),
    "noise.g_factor_middle": _named("noise.g_factor.middle"),
    "noise.g_factor_width": lambda p: p.noise.g_factor.width.amin(1),
    "noise.g_factor_breadth": lambda p: p.noise.g_factor.width.amax(1),
    "zipper.strength": _named("zipper.strength"),
    "zipper.width_mm": _named("zipper.width_mm"),
    "clip.low": _named("clip.low"),
    "clip.high": _named("clip.high"),
    "gamma.log_gamma": lambda p: p.gamma.gamma.log(),
}

DERIVED = {
    # A nucleus is the product of what its contrast gives, its spine's health and its own.
    "discs.health": (
        lambda p: p.discs.core[:, 3],
        lambda random, low, high: random.uniform(low, high, COUNT) * random.uniform(0, 1, COUNT) ** 2,
        MEASURED | {"discs.nucleus_t1": 1.0, "discs.nucleus_t2": 1.0, "discs.health": (0.2, 0.9)},
    ),
    "discs.random_nucleus": (
        lambda p: p.discs.core[:, 3],
        lambda random, low, high: random.uniform(low, high, COUNT) * random.uniform(0, 1, COUNT) ** 2,
        RANDOM | {"discs.health": (1.0, 1.0)},
    ),
    # Waves of a field of that correlation length.
    "flow_void.length_mm": (
        lambda p: p.flow_void.waves[:, 0, 1],
        lambda random, low, high: random.normal(size=COUNT) / random.uniform(low, high, COUNT),
        {},
    ),
    "flow_void.width_mm": (
        lambda p: p.flow_void.waves[:, 0, 2],
        lambda random, low, high: random.normal(size=COUNT) / random.uniform(low, high, COUNT),
        {},
    ),
    # The difference of the logarithms of two steps.
    "curve.strength": (
        lambda p: p.curve.points.diff(dim=1)[:, :2].log().diff(dim=1)[:, 0],
        lambda random, low, high: 2**0.5 * random.normal(size=COUNT) * random.uniform(low, high, COUNT),
        {},
    ),
}

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
    "floor.probability": lambda p: p.floor.below_mm < NEVER_MM,
    "floor.fat_probability": lambda p: p.floor.fat > 0,
    "canal.cord_probability": lambda p: p.canal.cord_mm > 0,
    "canal.roots_probability": lambda p: p.canal.roots.share > 0,
    "epidural_fat.probability": lambda p: p.epidural_fat.share > 0,
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
