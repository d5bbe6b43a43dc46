"""Contrast by the signal equations of spin echo and inversion recovery."""

import math

import numpy as np
import pytest
import torch

from synthspine.gen.core.anatomy import CANAL, disc_code, vertebra_code
from synthspine.gen.core.counter_rng import SampleRandom, sample_keys
from synthspine.gen.intensity.physical_contrast import (
    PhysicalConfig,
    draw_physical,
    inversion_signal,
    nulling_ms,
)
from synthspine.gen.intensity.spin_echo import SpinEcho, spin_echo_signal, tissue_signal
from synthspine.gen.tissues.palette import AIR, FAT, MUSCLE, OUTSIDE, PAINT_CODES, REGIONS

COUNT = 2000
STILL = {"relaxation_spread": 0.0, "density_spread": 0.0, "full_scale": (1.0, 1.0)}


def _draw(count=COUNT, first=0, place=0.5, **changes):
    random = SampleRandom(sample_keys(4, torch.arange(first, first + count)))
    return draw_physical(PhysicalConfig(**changes), random, torch.full((count, PAINT_CODES), place))


def _stir(**changes):
    return _draw(stir_probability=1.0, **changes)


def test_signal_without_inversion_equals_the_spin_echo_formula():
    rng = np.random.default_rng(0)
    density, t1, t2 = rng.uniform(0.1, 1, 50), rng.uniform(200, 4000, 50), rng.uniform(10, 2000, 50)
    for repetition, echo in ((500.0, 10.0), (3500.0, 100.0)):
        protocol = SpinEcho(repetition_ms=repetition, echo_ms=echo, field_tesla=1.5)
        times = (torch.tensor(value, dtype=torch.float64) for value in (repetition, echo, 0.0))
        ours = inversion_signal(*(torch.from_numpy(value) for value in (density, t1, t2)), *times)
        np.testing.assert_allclose(ours, spin_echo_signal(density, t1, t2, protocol), rtol=1e-12)


def test_inversion_recovery_ends_at_the_spin_echo_with_full_recovery():
    one, repetition = torch.ones(()), torch.tensor(1e6)
    late = inversion_signal(one, 500 * one, 80 * one, repetition, 40 * one, torch.tensor(1e5))
    assert float(late) == pytest.approx(math.exp(-40 / 80), abs=1e-6)
    early = inversion_signal(one, 500 * one, 80 * one, repetition, 40 * one, torch.tensor(1e-3))
    assert float(early) == pytest.approx(-math.exp(-40 / 80), abs=1e-4)


def test_the_nulling_time_nulls_and_is_t1_times_ln_2_for_a_long_repetition():
    t1 = torch.tensor([200.0, 343.0, 900.0], dtype=torch.float64)
    for repetition in (1500.0, 4000.0, 1e6):
        inversion = nulling_ms(t1, torch.tensor(repetition, dtype=torch.float64))
        signal = inversion_signal(
            torch.ones(3, dtype=torch.float64),
            t1,
            t1,
            torch.tensor(repetition),
            torch.tensor(50.0),
            inversion,
        )
        assert signal.abs().max() < 1e-7
    torch.testing.assert_close(inversion, t1 * math.log(2))


@pytest.mark.parametrize(("t2_probability", "name"), [(0.0, "t1"), (1.0, "t2")])
@pytest.mark.parametrize(("high", "tesla"), [(0.0, 1.5), (1.0, 3.0)])
def test_drawn_means_are_the_phantoms_tissue_signals_in_proportion(t2_probability, name, high, tesla):
    mean, weighting, params = _draw(
        count=5, stir_probability=0.0, t2_probability=t2_probability, high_field_probability=high, **STILL
    )
    assert (weighting == t2_probability).all()
    assert (params.field_tesla == tesla).all()
    assert (params.inversion_ms == 0).all()
    names = {CANAL: "cerebrospinal fluid", FAT: "fat", MUSCLE: "muscle", AIR: "air"}
    for sample in range(5):
        protocol = SpinEcho(
            repetition_ms=float(params.repetition_ms[sample]),
            echo_ms=float(params.echo_ms[sample]),
            field_tesla=tesla,
        )
        signal = {code: tissue_signal(tissue, protocol) for code, tissue in names.items()}
        brightest = max(signal[CANAL], signal[FAT])
        for code, value in signal.items():
            assert float(mean[sample, code]) == pytest.approx(value / brightest, abs=1e-5), name
        # Halfway in its blend of 0 to 0.4 fat.
        marrow = 0.8 * tissue_signal("marrow", protocol) + 0.2 * tissue_signal("fat", protocol)
        assert float(mean[sample, vertebra_code(2)]) == pytest.approx(marrow / brightest, abs=1e-5)


def test_stir_nulls_fat_and_shows_fluid_brightest():
    mean, weighting, params = _stir(inversion=(1.0, 1.0), **STILL)
    assert mean[:, FAT].max() < 1e-5
    assert (mean[:, CANAL] == mean.clamp(max=1).amax(1)).float().mean() > 0.95
    assert (weighting == 1).all()
    expected = torch.where(params.field_tesla == 3.0, 382 * math.log(2), 343 * math.log(2))
    torch.testing.assert_close(params.inversion_ms, expected, rtol=1e-3, atol=0.0)


def test_fat_stays_dark_on_stir_when_patients_differ():
    mean, _, _ = _stir()
    assert mean[:, FAT].mean() < 0.2
    assert mean[:, FAT].mean() < 0.5 * mean[:, vertebra_code(1)].mean() + 0.1


def test_weightings_look_as_they_should():
    t1, _, _ = _draw(stir_probability=0.0, t2_probability=0.0)
    t2, _, _ = _draw(stir_probability=0.0, t2_probability=1.0)
    assert (t1[:, CANAL] < t1[:, vertebra_code(1)]).float().mean() > 0.99
    assert (t2[:, CANAL] > t2[:, vertebra_code(1)]).float().mean() > 0.95
    assert (t2[:, disc_code(1)] < t2[:, vertebra_code(1)]).float().mean() > 0.95


def test_shares_and_times_match_the_configuration():
    config = PhysicalConfig()
    _, weighting, params = _draw()
    stir = params.inversion_ms > 0
    assert float(stir.float().mean()) == pytest.approx(config.stir_probability, abs=0.04)
    assert float(weighting[~stir].mean()) == pytest.approx(config.t2_probability, abs=0.05)
    assert float((params.field_tesla == 3.0).float().mean()) == pytest.approx(0.5, abs=0.05)
    for chosen, name in ((stir, "stir"), (~stir & (weighting == 1), "t2"), (weighting == 0, "t1")):
        for column in ("repetition_ms", "echo_ms"):
            low, high = getattr(config, f"{name}_{column}")
            values = getattr(params, column)[chosen]
            assert low <= float(values.min()) < low + 0.05 * (high - low)
            assert high - 0.05 * (high - low) < float(values.max()) <= high


def test_patients_differ_by_the_relaxation_spread():
    still, _, _ = _draw(**STILL, t1_repetition_ms=(500.0, 500.0), t1_echo_ms=(10.0, 10.0),
                        stir_probability=0.0, t2_probability=0.0, high_field_probability=0.0)  # fmt: skip
    moved, _, _ = _draw(density_spread=0.0, full_scale=(1.0, 1.0), t1_repetition_ms=(500.0, 500.0),
                        t1_echo_ms=(10.0, 10.0), stir_probability=0.0, t2_probability=0.0,
                        high_field_probability=0.0)  # fmt: skip
    assert still[:, MUSCLE].std() < 1e-6
    assert moved[:, MUSCLE].std() > 0.01


def test_regions_differ_from_one_another_and_every_value_is_finite():
    mean, _, _ = _draw()
    assert torch.isfinite(mean).all()
    assert (mean >= 0).all()
    assert mean[:, REGIONS].std(1).min() > 0
    assert (mean[:, OUTSIDE] == 0).all()


def test_a_sample_is_drawn_alike_alone_and_in_a_batch():
    batch, alone = _draw(count=8), _draw(count=1, first=5)
    assert torch.equal(alone[0][0], batch[0][5])
    assert alone[2].to_records()[0] == batch[2].to_records()[5]


@pytest.mark.parametrize(
    ("changes", "name"),
    [
        ({"t1_echo_ms": (0.0, 10.0)}, "t1_echo_ms"),
        ({"t2_echo_ms": (100.0, 3000.0)}, "t2_echo_ms"),
        ({"stir_repetition_ms": (50.0, 4000.0)}, "stir_echo_ms"),
        ({"region_t1_ms": (0.0, 100.0)}, "region_t1_ms"),
        ({"stir_probability": 2.0}, "stir_probability"),
        ({"full_scale": (0.0, 1.0)}, "full_scale"),
    ],
)
def test_an_invalid_protocol_is_refused_by_name(changes, name):
    with pytest.raises(ValueError, match=name):
        PhysicalConfig(**changes)
