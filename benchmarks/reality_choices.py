"""All arms of the study, by group."""

import dataclasses
import inspect
from typing import Any

from benchmarks.reality_arms import REFERENCE, Arm, Training
from gen import GeneratorConfig

Changes = dict[str, Any]

SURROUNDINGS = ("background", "body_layers", "bowel", "sacrum", "floor", "canal", "epidural_fat", "fat_pads")
DISTRACTORS = ("bowel", "sacrum", "floor", "canal", "epidural_fat", "fat_pads")
LESIONS = ("modic", "haemangioma", "schmorl")
MOTION = ("kspace_motion", "motion_blur", "ghosting")
ARTEFACTS = (*MOTION, "flow_void", "chemical_shift", "wrap", "gibbs", "spike", "zipper")
SHOTS = (1, 2, 5, 10)

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
        *_network(),
        *_controls(),
        *_fine_tuned(),
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
            "One grey around and behind the structures, fluid alone in the canal.",
            off(*SURROUNDINGS),
        ),
        arm("regions", "Random regions alone.", off(*SURROUNDINGS[1:])),
        arm(
            "layers",
            "Random regions and body layers, nothing that looks like a structure.",
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
        arm("t1", "About the measured T1 means alone.", _mixture(0, 1, 0, alpha=[0.0, 0.0])),
        arm("t2", "About the measured T2 means alone.", _mixture(0, 1, 0, alpha=[1.0, 1.0])),
        arm("measured", "About the measured means of T1, T2 and between.", _mixture(0, 1, 0)),
        arm("random", "Random means alone.", _mixture(1, 0, 0)),
        arm("physical", "Spin-echo physics alone.", _mixture(0, 0, 1)),
        arm("random-measured", "Random and measured, half each.", _mixture(0.5, 0.5, 0)),
        arm("random-physical", "Random and physical, half each: no measured means.", _mixture(0.5, 0, 0.5)),
        arm("measured-physical", "Measured and physical, half each.", _mixture(0, 0.5, 0.5)),
        arm("thirds", "A third of each recipe.", _mixture(1, 1, 1)),
        arm("mostly-random", "Eight tenths random.", _mixture(0.8, 0.15, 0.05)),
        arm("mostly-measured", "Seven tenths measured.", _mixture(0.2, 0.7, 0.1)),
        arm("wider", "Twice the measured spread of the means.", {"contrast": {"spread": 2.0}}),
        arm("narrower", "Half the measured spread of the means.", {"contrast": {"spread": 0.5}}),
        arm("inverted", "A fifth of the pictures inverted.", {"inversion": {"probability": 0.2}}),
        arm("curves", "Half of the pictures with a random contrast curve.", {"curve": {"probability": 0.5}}),
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
        arm("appearance", "texture-stronger", "Twice the grain.", {"texture": {"strength": [0.0, 0.2]}}),
        arm("appearance", "clip-stronger", "Twice the saturation.", {"clip": {"high": [0.0, 0.1]}}),
        arm("shading", "bias-stronger", "Twice the bias field.", {"bias": {"log_std": [0.0, 0.7]}}),
        arm("shading", "no-shading", "Neither coil fall-off nor bias field.", off("coil", "bias")),
        arm(
            "resolution",
            "resolution-none",
            "Native resolution alone.",
            {"resolution": {"native_probability": 1.0}},
        ),
        arm("resolution", "resolution-1-2", "Up to 2 times coarser.", finest(1.0, 2.0)),
        arm("resolution", "resolution-1-8", "Up to 8 times coarser.", finest(1.0, 8.0)),
        arm("resolution", "resolution-always", "Never native.", {"resolution": {"native_probability": 0.0}}),
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
        arm("geometry", "affine-none", "No affine motion.", {"affine": still}),
        arm("geometry", "affine-half", "Half the affine motion.", {"affine": half}),
        arm("noise", "noise-stronger", "Twice the noise.", {"noise": {"level": [0.0, 0.16]}}),
        arm("artefacts", "no-motion", "No motion: neither in k-space, nor blur, nor ghosts.", off(*MOTION)),
        arm("artefacts", "motion-often", "Motion three times as often.", _often(MOTION, 3.0)),
        arm("artefacts", "no-artefacts", "None of the artefacts.", off(*ARTEFACTS)),
        arm("artefacts", "artefacts-often", "All artefacts three times as often.", _often(ARTEFACTS, 3.0)),
        arm("anatomy", "no-lesions", "No Modic changes, haemangiomas, Schmorl's nodes.", off(*LESIONS)),
        arm("anatomy", "lesions-often", "Lesions three times as often.", _often(LESIONS, 3.0)),
        Arm(
            name="synthseg",
            group="peers",
            question="SynthSeg's recipe with its published numbers.",
            preset="synthseg",
        ),
    ]


def _often(names: tuple[str, ...], factor: float) -> Changes:
    spine = GeneratorConfig()
    return {name: {"probability": min(1.0, factor * getattr(spine, name).probability)} for name in names}


def _network() -> list[Arm]:
    def arm(group: str, name: str, question: str, **training: Any) -> Arm:
        return Arm(name=name, group=group, question=question, training=Training(**training))

    return [
        arm("input", "input-min-max", "Least and greatest value of every slice to 0 and 1.", input="min-max"),
        arm(
            "input",
            "input-percentiles",
            "Percentiles 1 and 99 of every slice to 0 and 1.",
            input="percentiles",
        ),
        arm("input", "input-standardised", "Mean 0, deviation 1 of every slice.", input="standardised"),
        arm("labels", "classes-14", "14 classes, merged to 4 when scored.", num_classes=14),
        arm(
            "labels",
            "classes-14-no-structures",
            "14 classes without the second loss, which tells structures apart.",
            num_classes=14,
            structure_loss=0.0,
        ),
        arm("network", "width-4", "Half the channels.", base_features=4),
        arm("network", "width-16", "Twice the channels.", base_features=16),
        arm("network", "levels-4", "One level less.", levels=4),
        arm("network", "levels-6", "One level more.", levels=6),
        arm("training", "no-balance", "Small classes are not lifted at first.", balanced=False),
        arm("training", "no-coarse-levels", "The finest level alone answers.", coarse_levels=0),
        arm(
            "training",
            "plain-loss",
            "Neither: what trained all models before.",
            balanced=False,
            coarse_levels=0,
        ),
        arm("training", "ema-0", "No average of the weights.", ema_decay=0.0),
        arm("training", "ema-0.9", "An average over the last ten steps.", ema_decay=0.9),
        arm("training", "lr-0.001", "A third of the learning rate.", lr=0.001),
        arm("training", "lr-0.006", "Twice the learning rate.", lr=0.006),
        arm(
            "training", "batch-half", "Half the batch, the same samples.", batch_factor=0.5, steps_factor=2.0
        ),
        arm(
            "training",
            "batch-double",
            "Twice the batch, the same samples.",
            batch_factor=2.0,
            steps_factor=0.5,
        ),
        arm("steps", "steps-half", "Half the steps.", steps_factor=0.5),
        arm("steps", "steps-2x", "Twice the steps.", steps_factor=2.0),
        arm("steps", "steps-4x", "Four times the steps.", steps_factor=4.0),
    ]


def _controls() -> list[Arm]:
    def arm(group: str, name: str, question: str, **training: Any) -> Arm:
        return Arm(name=name, group=group, question=question, training=Training(**training))

    return [
        arm("control", "a-on-b-slices", "A with the label maps of B's slices alone.", learns_from="slices"),
        arm("control", "b", "B: real T1 slices, ordinary augmentation.", learns_from="t1"),
        arm(
            "control",
            "b-strong",
            "B with strong augmentation of contrast and resolution.",
            learns_from="t1",
            augmentation="strong",
        ),
        arm("control", "b-both", "Real T1 and T2 slices: what supervision reaches.", learns_from="t1+t2"),
        arm(
            "control",
            "b-both-strong",
            "Real T1 and T2 slices with strong augmentation.",
            learns_from="t1+t2",
            augmentation="strong",
        ),
        arm("phantom", "a0", "A0: the phantom's label maps alone.", learns_from="phantom"),
        arm("phantom", "a0-mixed", "Half phantom, half real label maps.", learns_from="mixed"),
    ]


def _fine_tuned() -> list[Arm]:
    return [
        Arm(
            name=f"fine-tuned-{shots}",
            group="fine-tuning",
            question=f"The reference, then a fifth of its steps on {shots} real T1 slice{'s' * (shots > 1)}.",
            training=Training(learns_from="t1", start=REFERENCE, shots=shots, lr=0.0005, steps_factor=0.2),
        )
        for shots in SHOTS
    ]
