"""The arms of the study: each is valid, is its own question, and every feature of the generator has one."""

import dataclasses

import pytest

from benchmarks.reality_arms import REFERENCE, Arm, Training
from benchmarks.reality_choices import all_arms, features, off
from synthspine.gen import GeneratorConfig, preset
from synthspine.gen.config import config_hash

ARMS = all_arms()


def test_the_reference_is_the_preset_with_the_usual_training():
    assert next(iter(ARMS)) == REFERENCE
    assert ARMS[REFERENCE].generator() == preset("spine")
    assert ARMS[REFERENCE].training == Training()


@pytest.mark.parametrize("name", ARMS)
def test_an_arm_is_a_valid_configuration_with_a_question_of_one_line(name):
    arm = ARMS[name]
    assert isinstance(arm.generator(spacing_mm=2.0), GeneratorConfig)
    assert arm.generator(2.0).spacing_mm == 2.0
    assert arm.question and "\n" not in arm.question and "|" not in arm.question
    assert arm.training.start in ("", REFERENCE)


def test_no_two_arms_are_the_same_run():
    hashes = {}
    for arm in ARMS.values():
        same = hashes.setdefault(arm.settings_hash(), arm.name)
        assert same == arm.name, f"{arm.name} trains what {same} trains"


def test_every_arm_that_renders_differs_from_the_reference_in_what_it_says():
    for arm in list(ARMS.values())[1:]:
        changed = arm.generator() != preset("spine")
        assert changed == bool(arm.changes or arm.preset != REFERENCE), arm.name
        assert changed or arm.training != Training(), arm.name


def test_features_that_the_reference_has_can_be_left_out():
    assert {"texture", "cortex", "coil", "noise", "implant", "sacrum", "bias", "clip"} <= set(features())
    for feature in features():
        left = getattr(ARMS[f"no-{feature.replace('_', '-')}"].generator(), feature)
        chances = [e.name for e in dataclasses.fields(left) if e.name.endswith("probability")]
        assert chances and not any(getattr(left, chance) for chance in chances)


def test_leaving_one_feature_out_changes_no_other():
    plain, changed = preset("spine"), ARMS["no-sacrum"].generator()
    others = {entry.name for entry in dataclasses.fields(plain)} - {"sacrum"}
    assert all(getattr(plain, name) == getattr(changed, name) for name in others)
    assert off("sacrum") == {"sacrum": {"probability": 0.0, "canal_probability": 0.0}}


@pytest.mark.parametrize(
    ("changes", "hint"), [({"noize": {}}, "noise"), ({"noise": {"levels": [0, 1]}}, "noise.levels")]
)
def test_an_unknown_change_is_refused_by_name(changes, hint):
    with pytest.raises(ValueError, match=f"arm odd.*{hint}"):
        Arm(name="odd", group="odd", question="?", changes=changes).generator()


def test_an_unknown_input_is_refused():
    with pytest.raises(ValueError, match="input 'blurred'"):
        Training(input="blurred")


def test_only_arms_that_render_depend_on_the_generator():
    assert ARMS["b"].generator_hash() == "-"
    assert ARMS[REFERENCE].generator_hash() == config_hash(preset("spine"))[:12]
    assert ARMS["fine-tuned-5"].generator_hash() == ARMS[REFERENCE].generator_hash()


def test_arms_that_go_on_from_the_reference_lift_no_class_and_augment_strongly():
    later = [arm for arm in ARMS.values() if arm.training.start]
    assert later
    assert all((arm.training.balanced, arm.training.augmentation) == (False, "strong") for arm in later)


def test_settings_with_another_generator_still_tell_other_training_apart():
    arm, other = ARMS[REFERENCE], ARMS["width-4"]
    assert arm.settings_hash_with(arm.generator_hash()) == arm.settings_hash()
    assert arm.settings_hash_with("x") != arm.settings_hash()
    assert arm.settings_hash_with("x") != other.settings_hash_with("x")
    assert arm.settings_hash_with("x") == ARMS["no-sacrum"].settings_hash_with("x")
