"""All arms of the study, by group; here are those that change the generator."""

import dataclasses
import inspect
from typing import Any

from benchmarks.reality_arms import REFERENCE, Arm
from benchmarks.reality_training_arms import controls, fine_tuned, network
from synthspine.gen import GeneratorConfig

Changes = dict[str, Any]

SURROUNDINGS = ("background", "body_layers", "bowel", "sacrum", "floor", "canal", "epidural_fat", "fat_pads")
DISTRACTORS = ("bowel", "sacrum", "floor", "canal", "epidural_fat", "fat_pads")
LESIONS = ("modic", "haemangioma", "schmorl")
MOTION = ("kspace_motion", "motion_blur", "ghosting")
ARTEFACTS = (*MOTION, "flow_void", "chemical_shift", "wrap", "gibbs", "spike", "zipper")

_OWN_ARMS = ("contrast", "resolution")
"""Features whose probabilities are shares of a mixture: they have arms of their own."""
_GROUPS = {
    "texture": "appearance",
    "cortex": "appearance",
    "arches": "appearance",
    "partial_volume": "appearance",
    "clip": "appearance",
    "gamma": "appearance",
    "curve": "appearance",
    "coil": "shading",
    "bias": "shading",
    "deformation": "geometry",
    "flip": "geometry",
    "view": "geometry",
    "noise": "noise",
}
"""Group of the arm that leaves a feature out; "features" for all others."""


def off(*features: str) -> Changes:
    """Changes that leave features of the generator out."""
    return {feature: dict.fromkeys(_chances(feature), 0.0) for feature in features}


def features() -> list[str]:
    """Features of the generator that can be left out, each of which has an arm ``no-...``."""
    names = [entry.name for entry in dataclasses.fields(GeneratorConfig)]
    return [name for name in names if name not in _OWN_ARMS and any(_chances(name).values())]


def _chances(feature: str) -> dict[str, float]:
    """The probabilities of a feature of the reference; none for what is not a feature."""
    config = getattr(GeneratorConfig(), feature)
    if not dataclasses.is_dataclass(config):
        return {}
    names = [entry.name for entry in dataclasses.fields(config) if entry.name.endswith("probability")]
    return {name: getattr(config, name) for name in names}


def all_arms() -> dict[str, Arm]:
    """Every arm by name, the reference first and those that go on from it last.

    Raises:
        ValueError: two arms have one name.
    """
    arms = [
        Arm(
            name=REFERENCE,
            group="reference",
            question="The preset as it is; all others are compared with it.",
        ),
        *_background(),
        *_contrast(),
        *(_without(feature) for feature in features()),
        *_more_of(),
        *network(),
        *controls(),
        *fine_tuned(),
    ]
    named = {arm.name: arm for arm in arms}
    if len(named) < len(arms):
        raise ValueError("two arms of the study have one name")
    return named


def _without(feature: str) -> Arm:
    text = inspect.getdoc(type(getattr(GeneratorConfig(), feature))) or feature
    return Arm(
        name=f"no-{feature.replace('_', '-')}",
        group=_GROUPS.get(feature, "features"),
        question=f"Without: {text.splitlines()[0]}",
        changes=off(feature),
    )


def _background() -> list[Arm]:
    def arm(name: str, question: str, changes: Changes) -> Arm:
        return Arm(name=f"background-{name}", group="background", question=question, changes=changes)

    return [
        arm(
            "constant",
            "One grey around all structures, and fluid alone in the canal.",
            off(*SURROUNDINGS),
        ),
        arm(
            "regions",
            "Nothing but random regions around the structures, and fluid alone in the canal.",
            off(*SURROUNDINGS[1:]),
        ),
        arm(
            "layers",
            "Random regions and body layers, without bowel, sacrum, cord or fat that look like structures.",
            off(*DISTRACTORS),
        ),
    ]


def _mixture(random: float, measured: float, physical: float, **more: Any) -> Changes:
    weights = {"random_weight": random, "measured_weight": measured, "physical_weight": physical}
    return {"contrast": weights | more}


def _contrast() -> list[Arm]:
    def arm(name: str, question: str, changes: Changes) -> Arm:
        return Arm(name=f"contrast-{name}", group="contrast", question=question, changes=changes)

    return [
        arm(
            "t1",
            "Tissue intensities about those measured in T1 scans alone.",
            _mixture(0, 1, 0, alpha=[0.0, 0.0]),
        ),
        arm(
            "t2",
            "Tissue intensities about those measured in T2 scans alone.",
            _mixture(0, 1, 0, alpha=[1.0, 1.0]),
        ),
        arm(
            "measured",
            "Tissue intensities about those measured in T1 and T2 scans, and between the two.",
            _mixture(0, 1, 0),
        ),
        arm("random", "Random tissue intensities alone.", _mixture(1, 0, 0)),
        arm("physical", "Tissue intensities from spin-echo physics alone.", _mixture(0, 0, 1)),
        arm("random-measured", "Tissue intensities half random, half measured.", _mixture(0.5, 0.5, 0)),
        arm(
            "random-physical",
            "Tissue intensities half random, half physical; none measured.",
            _mixture(0.5, 0, 0.5),
        ),
        arm("measured-physical", "Tissue intensities half measured, half physical.", _mixture(0, 0.5, 0.5)),
        arm("thirds", "Tissue intensities random, measured and physical, a third each.", _mixture(1, 1, 1)),
        arm(
            "mostly-random",
            "Tissue intensities mostly random: 80 %; 15 % measured, 5 % physical.",
            _mixture(0.8, 0.15, 0.05),
        ),
        arm(
            "mostly-measured",
            "Tissue intensities mostly measured: 70 %; 20 % random, 10 % physical.",
            _mixture(0.2, 0.7, 0.1),
        ),
        arm(
            "wider",
            "Twice the spread of tissue intensities about the measured ones.",
            {"contrast": {"spread": 2.0}},
        ),
        arm(
            "narrower",
            "Half the spread of tissue intensities about the measured ones.",
            {"contrast": {"spread": 0.5}},
        ),
        arm(
            "inverted",
            "A fifth of the images inverted: dark becomes bright.",
            {"inversion": {"probability": 0.2}},
        ),
        arm("curves", "Half of the images with a random contrast curve.", {"curve": {"probability": 0.5}}),
    ]


def _more_of() -> list[Arm]:
    """Arms that turn a feature up, or leave several out."""
    still = {
        "scale": [1.0, 1.0],
        "rotation_deg": [0.0, 0.0],
        "tilt_deg": [0.0, 0.0],
        "shear": [0.0, 0.0],
        "translation_mm": [0.0, 0.0],
    }
    half = {
        "scale": [0.925, 1.075],
        "rotation_deg": [-7.5, 7.5],
        "tilt_deg": [-2.5, 2.5],
        "shear": [-0.025, 0.025],
        "translation_mm": [-6.0, 6.0],
    }

    def arm(group: str, name: str, question: str, changes: Changes) -> Arm:
        return Arm(name=name, group=group, question=question, changes=changes)

    def finest(low: float, high: float) -> Changes:
        return {"resolution": {"isotropic": [low, high], "single_axis": [low, high]}}

    return [
        arm(
            "appearance",
            "texture-stronger",
            "Up to twice as strong a grain inside the tissues.",
            {"texture": {"strength": [0.0, 0.2]}},
        ),
        arm(
            "appearance",
            "clip-stronger",
            "Up to twice as many of the brightest pixels clipped.",
            {"clip": {"high": [0.0, 0.1]}},
        ),
        arm(
            "shading",
            "bias-stronger",
            "Up to twice as strong a bias field.",
            {"bias": {"log_std": [0.0, 0.7]}},
        ),
        arm(
            "shading",
            "no-shading",
            "No smooth change of brightness: neither the coil's fall-off nor a bias field.",
            off("coil", "bias"),
        ),
        arm(
            "resolution",
            "resolution-none",
            "Every image at the full resolution of the slices.",
            {"resolution": {"native_probability": 1.0}},
        ),
        arm(
            "resolution",
            "resolution-1-2",
            "Images up to 2 times coarser than the slices (reference: 4).",
            finest(1.0, 2.0),
        ),
        arm(
            "resolution",
            "resolution-1-8",
            "Images up to 8 times coarser than the slices (reference: 4).",
            finest(1.0, 8.0),
        ),
        arm(
            "resolution",
            "resolution-always",
            "Every image coarser than the slices (reference: half of them).",
            {"resolution": {"native_probability": 0.0}},
        ),
        arm(
            "geometry",
            "deformation-half",
            "Half the deformation.",
            {"deformation": {"velocity_mm": [0.0, 2.5]}},
        ),
        arm(
            "geometry",
            "deformation-1.5x",
            "1.5 times the deformation.",
            {"deformation": {"velocity_mm": [0.0, 7.5]}},
        ),
        arm(
            "geometry",
            "affine-none",
            "No affine change: no scaling, rotation, shear or shift.",
            {"affine": still},
        ),
        arm(
            "geometry",
            "affine-half",
            "Half the affine change: scaling, rotation, shear and shift.",
            {"affine": half},
        ),
        arm("noise", "noise-stronger", "Up to twice as much noise.", {"noise": {"level": [0.0, 0.16]}}),
        arm("artefacts", "no-motion", "No motion: neither in k-space, nor blur, nor ghosts.", off(*MOTION)),
        arm("artefacts", "motion-often", "Motion three times as often.", _often(MOTION, 3.0)),
        arm(
            "artefacts",
            "no-artefacts",
            "No artefacts: no motion, flow voids, fat shift, wrap-around, ringing, stripes, zippers.",
            off(*ARTEFACTS),
        ),
        arm("artefacts", "artefacts-often", "All artefacts three times as often.", _often(ARTEFACTS, 3.0)),
        arm("anatomy", "no-lesions", "No Modic changes, haemangiomas, Schmorl's nodes.", off(*LESIONS)),
        arm(
            "anatomy",
            "lesions-often",
            "Modic changes, haemangiomas and Schmorl's nodes three times as often.",
            _often(LESIONS, 3.0),
        ),
        Arm(
            name="synthseg",
            group="peers",
            question="SynthSeg's generator with its published numbers, nothing made for spines.",
            preset="synthseg",
        ),
    ]


def _often(names: tuple[str, ...], factor: float) -> Changes:
    spine = GeneratorConfig()
    return {name: {"probability": min(1.0, factor * getattr(spine, name).probability)} for name in names}
