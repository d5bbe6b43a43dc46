import numpy as np
import pytest

from synthspine.gen.intensity.spin_echo import (
    TISSUES,
    SpinEcho,
    draw_protocol,
    spin_echo_signal,
    tissue_signal,
)

T1 = {"repetition_ms": 550.0, "echo_ms": 10.0}
T2 = {"repetition_ms": 3500.0, "echo_ms": 100.0}


def signals(weighting, field_tesla):
    protocol = SpinEcho(**weighting, field_tesla=field_tesla)
    return {name: tissue_signal(name, protocol) for name in TISSUES}


def test_the_signal_follows_the_spin_echo_equation():
    protocol = SpinEcho(repetition_ms=500, echo_ms=20, field_tesla=1.5)
    # One T1 of recovery, one T2 of decay.
    signal = spin_echo_signal(
        np.array([1.0, 0.5]), np.array([500.0, 500.0]), np.array([20.0, 20.0]), protocol
    )
    np.testing.assert_allclose(signal, np.array([1.0, 0.5]) * (1 - np.exp(-1)) * np.exp(-1))


@pytest.mark.parametrize("field_tesla", [1.5, 3.0])
def test_on_t1_fat_is_brighter_than_marrow_muscle_and_fluid_in_this_order(field_tesla):
    signal = signals(T1, field_tesla)
    order = ["fat", "marrow", "muscle", "cerebrospinal fluid"]
    assert [signal[name] for name in order] == sorted((signal[name] for name in order), reverse=True)


@pytest.mark.parametrize("field_tesla", [1.5, 3.0])
def test_on_t2_fluid_is_brightest_and_bone_marrow_outshines_muscle_and_dry_discs(field_tesla):
    signal = signals(T2, field_tesla)
    assert max(signal, key=signal.__getitem__) in {"cerebrospinal fluid", "urine"}
    assert signal["marrow"] > signal["nucleus dry"] > signal["annulus"]
    assert signal["marrow"] > signal["muscle"]
    assert signal["nucleus hydrated"] > 2 * signal["nucleus dry"]


@pytest.mark.parametrize("weighting", [T1, T2])
def test_cortical_bone_and_air_give_no_signal(weighting):
    signal = signals(weighting, 1.5)
    assert signal["air"] == 0
    assert signal["cortical bone"] < 0.01


def test_an_echo_train_keeps_fat_bright_and_leaves_water_alone():
    protocol = SpinEcho(**T2, field_tesla=1.5)
    plain = {
        name: float(spin_echo_signal(tissue.density, tissue.t1_ms[0], tissue.t2_ms[0], protocol))
        for name, tissue in TISSUES.items()
    }
    assert signals(T2, 1.5)["fat"] > 1.5 * plain["fat"]
    assert signals(T2, 1.5)["muscle"] == plain["muscle"]


@pytest.mark.parametrize("contrast", ["t1", "t2"])
def test_protocols_weight_an_image_as_their_name_says(contrast):
    for seed in range(20):
        protocol = draw_protocol(np.random.default_rng(seed), contrast, 3.0)
        brighter = tissue_signal("cerebrospinal fluid", protocol) > tissue_signal("marrow", protocol)
        assert brighter == (contrast == "t2")
