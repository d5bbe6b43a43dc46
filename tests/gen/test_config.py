"""Configurations as text."""

import dataclasses
import json
import runpy

import pytest
import yaml

from synthspine.gen import config_diff, config_from_text, config_to_json, config_to_yaml, preset
from synthspine.gen.config import config_hash, flat, nested
from synthspine.gen.presets import PRESETS


@pytest.mark.parametrize("base", ["spine", "synthseg"])
@pytest.mark.parametrize("write", [config_to_yaml, config_to_json])
@pytest.mark.parametrize("name", PRESETS)
def test_every_preset_goes_through_text_over_any_base(name, write, base):
    config = preset(name, spacing_mm=0.7)
    again = config_from_text(write(config), preset(base))
    assert again == config
    assert config_hash(again) == config_hash(config)


def test_text_holds_every_setting_in_the_order_of_the_fields():
    values = yaml.safe_load(config_to_yaml(preset("spine")))
    assert list(values) == [entry.name for entry in dataclasses.fields(preset("spine"))]
    assert json.loads(config_to_json(preset("spine"))) == values


def test_presets_have_different_hashes():
    assert len({config_hash(config) for config in PRESETS.values()}) == len(PRESETS)


@pytest.mark.parametrize("text", ["", "# nothing", "{}", "noise: {}"])
def test_text_that_names_nothing_leaves_the_base_as_it_is(text):
    assert config_from_text(text, preset("t2")) == preset("t2")


def test_a_part_of_a_configuration_changes_only_that_part():
    base = preset("spine")
    text = "noise: {level: [0, 0.02]}\ncontrast:\n  physical: {t1_echo_ms: [8, 9]}\nview: {crop_foot: true}"
    config = config_from_text(text, base)
    assert config.noise == dataclasses.replace(base.noise, level=(0, 0.02))
    assert config.contrast.physical.t1_echo_ms == (8, 9) and config.view.crop_foot is True
    assert config_diff(config, base) == [
        "view.crop_foot: False -> True",
        "contrast.physical.t1_echo_ms: 7..14 -> 8..9",
        "noise.level: 0..0.08 -> 0..0.02",
    ]


@pytest.mark.parametrize("name", PRESETS)
def test_what_a_part_leaves_out_stays_as_in_the_base_not_as_by_default(name):
    base = preset(name)
    config = config_from_text("bias: {probability: 0.5}\ncontrast: {physical: {stir_probability: 1}}", base)
    physical = dataclasses.replace(base.contrast.physical, stir_probability=1)
    assert config.bias == dataclasses.replace(base.bias, probability=0.5)
    assert config.contrast == dataclasses.replace(base.contrast, physical=physical)
    assert {line.split(".")[0] for line in config_diff(config, base)} <= {"bias", "contrast"}


def test_an_absent_number_goes_through_text():
    config = config_from_text("resolution: {native_sigma: null}", preset("synthseg"))
    assert config.resolution.native_sigma is None
    assert config_from_text(config_to_yaml(config), preset("spine")) == config


@pytest.mark.parametrize(
    ("text", "known"),
    [
        ("noise: {levle: [0, 1]}", "'noise.levle'.*'level'"),
        ("niose: {level: [0, 1]}", "'niose'.*'noise'"),
        ("contrast: {physical: {t1_echos_ms: [8, 9]}}", "'contrast.physical.t1_echos_ms'.*'t1_echo_ms'"),
        ("affine: {rotation: [0, 1]}", "'affine.rotation'.*'rotation_deg'"),
        ("inversion: {zzz: 1}", "'inversion.zzz'.*there are probability"),
        ("1: 2", "'1'"),
    ],
)
def test_an_unknown_name_is_refused_with_the_nearest_known_one(text, known):
    with pytest.raises(ValueError, match=known):
        config_from_text(text, preset("spine"))


@pytest.mark.parametrize(
    ("text", "error", "match"),
    [
        ("noise: 3", TypeError, "noise is 3"),
        ("noise:", TypeError, "noise is None"),
        ("noise: [level]", TypeError, r"noise is \['level'\]"),
        ("[1, 2]", TypeError, "the configuration is"),
        ("word", TypeError, "the configuration is 'word'"),
        ("noise: {level: 3}", TypeError, "NoiseConfig.level is 3"),
        ("noise: {level: [0, high]}", TypeError, "NoiseConfig.level is 'high'"),
        ("noise: {level: [0, 1, 2]}", TypeError, "NoiseConfig.level"),
        ("noise: {level: {low: 0}}", TypeError, "NoiseConfig.level"),
        ("noise: {probability: yes}", TypeError, "NoiseConfig.probability is True"),
        ("noise: {probability: 1.5}", ValueError, "NoiseConfig.probability is 1.5"),
        ("noise: {level: [.nan, 1]}", ValueError, "NoiseConfig.level is nan"),
        ("noise: {level: [2, 1]}", ValueError, "NoiseConfig.level"),
        ("view: {crop_foot: 1}", TypeError, "FieldOfViewConfig.crop_foot is 1"),
        ("resolution: {native_sigma: wide}", TypeError, "ResolutionConfig.native_sigma is 'wide'"),
        ("resolution: {native_sigma: .nan}", ValueError, "ResolutionConfig.native_sigma is nan"),
        ("resolution: {uniform_in: steps}", ValueError, "ResolutionConfig.uniform_in is 'steps'"),
        ("noise: {level: [0, 1}", ValueError, "not YAML"),
        ("noise: !!python/object/apply:os.getcwd []", ValueError, "not YAML"),
        (b"noise: {}", TypeError, "want text"),
        (None, TypeError, "want text"),
    ],
)
def test_text_of_the_wrong_kind_is_refused_by_name(text, error, match):
    with pytest.raises(error, match=match):
        config_from_text(text, preset("spine"))


def test_equal_configurations_have_no_difference_and_a_preset_reads_as_one():
    assert config_diff(preset("t1"), preset("t1")) == []
    mixed = preset("spine").contrast
    assert config_diff(preset("t1"), preset("spine")) == [
        f"contrast.random_weight: {mixed.random_weight:g} -> 0",
        f"contrast.measured_weight: {mixed.measured_weight:g} -> 1",
        f"contrast.physical_weight: {mixed.physical_weight:g} -> 0",
        "contrast.alpha: 0..1 -> 0..0",
    ]


def test_a_difference_names_every_value_that_differs_and_no_other():
    ours, theirs = (yaml.safe_load(config_to_yaml(preset(name))) for name in ("synthseg", "spine"))
    differing = {path for path, value in flat(ours).items() if value != flat(theirs)[path]}
    assert {line.split(":")[0] for line in config_diff(preset("synthseg"), preset("spine"))} == differing


def test_dotted_names_and_nested_dictionaries_are_the_same_configuration():
    values = yaml.safe_load(config_to_yaml(preset("t2")))
    dotted = flat(values)
    assert dotted["contrast.physical.t1_echo_ms"] == [7.0, 14.0] and not any(
        isinstance(value, dict) for value in dotted.values()
    )
    assert nested(dotted) == values


@pytest.mark.parametrize("dotted", [{"noise": 1, "noise.level": 2}, {"noise.level": 2, "noise": 1}])
def test_a_name_that_is_both_a_value_and_a_group_is_refused(dotted):
    with pytest.raises(ValueError, match="noise"):
        nested(dotted)


@pytest.mark.parametrize("kind", ["yaml", "json"])
def test_the_command_prints_a_preset_that_reads_back(kind, monkeypatch, capsys):
    """``python -m synthspine.gen synthseg --format yaml``, without a second interpreter."""
    monkeypatch.setattr("sys.argv", ["synthspine.gen", "synthseg", "--format", kind])
    with pytest.raises(SystemExit) as ended:
        runpy.run_module("synthspine.gen", run_name="__main__", alter_sys=True)
    assert ended.value.code == 0
    assert config_from_text(capsys.readouterr().out, preset("spine")) == preset("synthseg")
