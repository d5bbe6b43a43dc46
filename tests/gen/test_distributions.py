"""What is drawn follows its configuration: every range by Kolmogorov-Smirnov, every probability by counting.

Where the drawn values are found is said in ``drawn_ranges``.
"""

from dataclasses import replace
from functools import lru_cache

import numpy as np
import pytest
import torch
from drawn_ranges import (
    BASE,
    CHANCE,
    COARSE,
    COUNT,
    DERIVED,
    ELSEWHERE,
    LEAST_P,
    PROBABILITIES,
    RANGES,
    UNIFORM,
    UNLIKE_THEIR_FIRST_RANGES,
    UNLIKE_THEIR_NAMES,
    _factor,
    _named,
)
from scipy import stats

from synthspine.gen import GeneratorConfig, draw
from synthspine.gen.core.counter_rng import SampleRandom, sample_keys
from synthspine.gen.intensity.contrast import RECIPES
from synthspine.gen.intensity.physical_contrast import PhysicalConfig, _draw_relaxation
from synthspine.gen.intensity.spin_echo import TISSUES


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


ALWAYS = dict.fromkeys(PROBABILITIES, 1.0)


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


def test_an_exception_names_a_setting_that_there_is():
    assert {*UNLIKE_THEIR_NAMES, *DERIVED, *ELSEWHERE} <= set(RANGES)
    assert set(UNLIKE_THEIR_FIRST_RANGES) <= set(PROBABILITIES)
