"""How every range of the generator is drawn: the value that should be uniform, or its simulation."""

import torch

from synthspine.gen.core.anatomy import CANAL, STRUCTURES, vertebra_code
from synthspine.gen.intensity.contrast import RECIPES
from synthspine.gen.intensity.physical_contrast import nulling_ms
from synthspine.gen.intensity.spin_echo import TISSUES
from synthspine.gen.tissues.palette import FAT, FAT_FRACTION, MUSCLE

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
    "sacrum.taper": _named("sacrum.taper"),
    "sacrum.disc_thickness": _named("sacrum.disc_thickness"),
    "sacrum.disc_width": _named("sacrum.disc_width"),
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
    **{f"fat_pads.{name}": _named(f"fat_pads.{name}") for name in ("share", "thickness_mm", "length_mm")},
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
    **{
        f"arches.{name}": _named(f"arches.{name}")
        for name in ("blur_mm", "through", "patch_mm", "lines_lost")
    },
    "partial_volume.sigma_mm": _named("partial_volume.sigma_mm"),
    "texture.strength": lambda p: sum(_muscle_grain(p)).sqrt(),
    "texture.correlated": lambda p: _muscle_grain(p)[1] / sum(_muscle_grain(p)),
    "texture.marrow": (_marrow, {"texture.correlated": (0.0, 0.0)}),
    "texture.correlation_mm": _named("texture.correlation_mm"),
    **{f"cortex.{name}": _named(f"cortex.{name}") for name in ("strength", "level", "width_mm")},
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
