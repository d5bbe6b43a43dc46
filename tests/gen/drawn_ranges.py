"""How every range and probability of the generator is drawn, by its path in the configuration.

By default a range is that of the parameter of the same name, and a probability is how often the first range
of its feature is not 0. The tables name the exceptions: where the drawn value is found, and what else is set
so that it shows there.
"""

from dataclasses import fields, is_dataclass

import torch

from synthspine.gen import GeneratorConfig
from synthspine.gen.core.anatomy import CANAL, STRUCTURES, vertebra_code
from synthspine.gen.geometry.spine_frame import NEVER_MM
from synthspine.gen.intensity.contrast import RECIPES
from synthspine.gen.intensity.physical_contrast import nulling_ms
from synthspine.gen.intensity.spin_echo import TISSUES
from synthspine.gen.tissues.palette import AIR, FAT, FAT_FRACTION, FLUID, MARROW, MUSCLE, SACRUM

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
TABLE_ALONE = {
    "contrast.instance_jitter": (0.0, 0.0),
    "discs.degenerated_probability": 0.0,
    "canal.alike_probability": 0.0,
}

BASE = {
    # Hidden structures lose their lines, which are looked at.
    "hidden.probability": 0.0,
    # Ranges that the preset leaves as one value.
    "body_layers.muscle_start_mm": (4.0, 9.0),
    "body_layers.strand_share": (0.1, 0.3),
    "body_layers.gap_share": (0.05, 0.2),
    "body_layers.uneven_mm": (2.0, 6.0),
    "canal.root_length_mm": (12.0, 20.0),
    "canal.root_width_mm": (1.0, 2.0),
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


def leaves(config, path=""):
    """Path and annotation of every setting."""
    for entry in fields(config):
        value = getattr(config, entry.name)
        if is_dataclass(value):
            yield from leaves(value, f"{path}{entry.name}.")
        else:
            yield f"{path}{entry.name}", value


UNLIKE_THEIR_NAMES = {
    "affine.scale": _affine("scale"),
    "affine.rotation_deg": _affine("angle"),
    "affine.shear": _affine("shear"),
    "affine.tilt_deg": (_tilts, SLICES_TOO),
    "view.crop_mm": _named("view.lost_mm"),
    "body_layers.muscle_start_mm": lambda p: p.body_layers.muscle_mm[:, 0],
    "body_layers.muscle_mm": lambda p: p.body_layers.muscle_mm[:, 1],
    "body_layers.vessel_near_mm": lambda p: p.body_layers.vessel_mm[:, 0],
    "body_layers.vessel_width_mm": lambda p: p.body_layers.vessel_mm.diff(dim=1),
    "beside.before_mm": lambda p: p.beside.keep_mm[:, 0],
    "beside.behind_mm": lambda p: p.beside.keep_mm[:, 1],
    "bowel.head_mm": lambda p: p.bowel.middle_mm[:, 0],
    "bowel.foot_mm": lambda p: p.bowel.middle_mm[:, 1],
    "bowel.height_mm": lambda p: p.bowel.half_mm[:, 0],
    "bowel.width_mm": lambda p: p.bowel.half_mm[:, 1],
    "sacrum.shrink": lambda p: p.sacrum.scale[:, 0],
    "floor.tilt_deg": lambda p: torch.rad2deg(torch.atan(p.floor.slope)),
    "canal.roots_share": _named("canal.roots.share"),
    "canal.root_length_mm": _named("canal.roots.length_mm"),
    "canal.root_width_mm": _named("canal.roots.width_mm"),
    "canal.sink_mm": _named("canal.roots.sink_mm"),
    "canal.crowded": _named("canal.roots.crowded"),
    "discs.lost_mm": lambda p: torch.cat((p.discs.lost_mm[:, 0], p.discs.lost_mm[:, 1, 1:]), dim=1),
    "discs.darkness": lambda p: 1 - p.discs.brightness,
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
    "texture.strength": lambda p: sum(_muscle_grain(p)).sqrt(),
    "texture.correlated": lambda p: _muscle_grain(p)[1] / sum(_muscle_grain(p)),
    "texture.marrow": (_marrow, {"texture.correlated": (0.0, 0.0)}),
    **{
        f"cortex.{name}_offset_mm": (lambda p, i=i: p.cortex.offset_mm[:, i])
        for i, name in enumerate(STRUCTURES)
    },
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
    "chemical_shift.displacement_mm": lambda p: p.chemical_shift.displacement_mm.abs().sum(1),
    "chemical_shift.fatness": lambda p: p.chemical_shift.fat_fraction[:, BONE] / FAT_FRACTION[BONE],
    "wrap.width": lambda p: p.wrap.width[:, :2] + p.wrap.width[:, 2:],
    "kspace_motion.jump_mm": (
        lambda p: p.kspace_motion.displacement_mm.double().diff(dim=1).norm(dim=2),
        JUMP,
    ),
    "kspace_motion.swing_mm": (_named("kspace_motion.swing_mm"), SWING),
    "ghosting.strength": lambda p: p.ghosting.strength.abs(),
    "gibbs.phase_kept": lambda p: _along_phase(p.gibbs.kept, p)[:, 0],
    "gibbs.readout_kept": lambda p: _along_phase(p.gibbs.kept, p)[:, 1],
    "spike.stripe_mm": lambda p: 1 / p.spike.frequency.norm(dim=1),
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
    "noise.g_factor": _named("noise.g_factor.extra"),
    "noise.g_factor_middle": _named("noise.g_factor.middle"),
    "noise.g_factor_width": lambda p: p.noise.g_factor.width.amin(1),
    "noise.g_factor_breadth": lambda p: p.noise.g_factor.width.amax(1),
    "gamma.log_gamma": lambda p: p.gamma.gamma.log(),
}
"""Ranges whose value is not the parameter of the same name, or that need other settings as well."""

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

UNLIKE_THEIR_FIRST_RANGES = {
    "flip.left_right_probability": (lambda p: p.flip.left_right > 0, {"dims": 3}),
    "flip.head_foot_probability": lambda p: p.flip.head_foot > 0,
    "flip.front_back_probability": lambda p: p.flip.front_back > 0,
    "view.probability": lambda p: p.view.lost_mm.amax(1) > 0,
    "pathology.wedge_probability": lambda p: p.pathology.wedge > 0,
    "pathology.laminectomy_probability": lambda p: p.pathology.opened > 0,
    "background.probability": lambda p: p.background.regions > 0,
    "body_layers.probability": lambda p: p.body_layers.front_mm < NEVER_MM,
    "body_layers.vessel_probability": lambda p: p.body_layers.vessel_mm[:, 0] < NEVER_MM,
    "beside.probability": lambda p: p.beside.side > 0,
    "beside.away_probability": (lambda p: p.beside.away > 0, {"beside.probability": 1.0}),
    "beside.quadratus_probability": lambda p: p.beside.quadratus > 0,
    "beside.vessel_probability": lambda p: p.beside.vessel > 0,
    "beside.kidney_probability": lambda p: p.beside.kidney > 0,
    "beside.ilium_probability": lambda p: p.beside.ilium > 0,
    "beside.alike_probability": lambda p: (p.beside.codes == MARROW) | (p.beside.codes == FLUID),
    "bowel.probability": lambda p: p.bowel.middle_mm[:, 1] < NEVER_MM,
    "bowel.head_probability": lambda p: p.bowel.middle_mm[:, 0] < NEVER_MM,
    "sacrum.probability": lambda p: p.sacrum.scale[:, 0] > 0,
    "sacrum.canal_probability": lambda p: p.sacrum.canal > 0,
    "floor.probability": lambda p: p.floor.below_mm < NEVER_MM,
    "floor.fat_probability": lambda p: p.floor.fat > 0,
    "canal.cord_probability": lambda p: p.canal.cord_mm > 0,
    "canal.roots_probability": lambda p: p.canal.roots.share > 0,
    "canal.crowded_probability": lambda p: p.canal.roots.crowded > 0,
    "canal.alike_probability": lambda p: p.canal.alike > 0,
    "fat_pads.probability": lambda p: p.fat_pads.thickness_mm > 0,
    "fat_pads.regular_probability": lambda p: p.fat_pads.regular > 0,
    "fat_pads.front_probability": lambda p: p.fat_pads.front_mm > 0,
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
    "arches.fatter_probability": lambda p: p.arches.fatter > 0,
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
    "texture.probability": lambda p: p.texture.white[:, BONE] > 0,
    "cortex.probability": lambda p: p.cortex.strength[:, 0] > 0,
    "cortex.end_plate_probability": lambda p: p.cortex.end_plates.strength > 0,
    "implant.probability": lambda p: p.implant.displacement_mm != 0,
    "implant.second_probability": lambda p: p.implant.up_mm[:, 1] < 1000,
    "implant.rod_probability": lambda p: p.implant.axis_deg > 45,
    "chemical_shift.probability": lambda p: p.chemical_shift.displacement_mm.abs().amax(1) > 0,
    "coil.probability": lambda p: p.coil.floor < 1,
    "wrap.both_probability": lambda p: (p.wrap.width > 0).sum(1) == 2,
    "kspace_motion.probability": (lambda p: p.kspace_motion.swing_mm > 0, SWING),
    "kspace_motion.swing_probability": lambda p: p.kspace_motion.swing_mm > 0,
    "gibbs.probability": lambda p: p.gibbs.kept[:, 0] < 1,
    "resolution.native_probability": lambda p: (p.resolution.spacing_mm == 1).all(1),
    "resolution.isotropic_probability": (lambda p: (p.resolution.spacing_mm > 1).all(1), COARSE),
    "noise.rician_probability": lambda p: p.noise.rician > 0,
    "noise.g_factor_probability": lambda p: p.noise.g_factor.extra > 0,
    "gamma.probability": lambda p: p.gamma.gamma != 1,
    "curve.probability": lambda p: (p.curve.points[:, 1] - 0.25).abs() > 1e-6,
    "inversion.probability": lambda p: p.inversion.inverted > 0,
}
"""Probabilities that are not seen in the first range of their feature, which is 0 without it."""

ELSEWHERE = {
    "ghosting.every": "whole numbers, see below",
    **{f"contrast.physical.region_{name}": "no record holds it" for name in ("density", "t1_ms", "t2_ms")},
}

RANGES = [path for path, value in leaves(GeneratorConfig()) if isinstance(value, tuple) and len(value) == 2]
PROBABILITIES = [path for path, _ in leaves(GeneratorConfig()) if path.endswith("probability")]
UNIFORM = {
    path: UNLIKE_THEIR_NAMES.get(path, _named(path)) for path in RANGES if path not in {*DERIVED, *ELSEWHERE}
}


def _first_range(path):
    """Whether the first range of a feature that has that probability was drawn."""
    feature = path.split(".")[0]
    first = next(name for name in RANGES if name.startswith(f"{feature}."))
    return lambda params: _named(first)(params) != 0


CHANCE = {
    path: UNLIKE_THEIR_FIRST_RANGES[path] if path in UNLIKE_THEIR_FIRST_RANGES else _first_range(path)
    for path in PROBABILITIES
}
