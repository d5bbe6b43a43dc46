"""Random numbers as functions of seed, index and name."""

import subprocess
import sys

import numpy as np
import pytest
import torch
from scipy import stats

from synthspine.gen import draw, generator, preset
from synthspine.gen.core import counter_rng
from synthspine.gen.core.counter_rng import (
    SampleRandom,
    bell_field,
    named_keys,
    normal_field,
    sample_keys,
    uniform_field,
)


def _keys(count, seed=0):
    return sample_keys(seed, torch.arange(count))


def test_numbers_do_not_depend_on_the_batch():
    indices = torch.tensor([3, 2**33, 7])
    together = uniform_field(sample_keys(5, indices), "a", 10)
    for place in range(3):
        assert torch.equal(
            uniform_field(sample_keys(5, indices[place : place + 1]), "a", 10)[0], together[place]
        )


def test_uniform_numbers_are_uniform_along_indices_and_along_a_field():
    along_indices = SampleRandom(_keys(20000)).uniform("a").numpy()
    along_field = uniform_field(_keys(1), "a", 20000)[0].numpy()
    for values in (along_indices, along_field):
        assert stats.kstest(values, "uniform").pvalue > 1e-3
        assert values.min() > 0 and values.max() < 1


def test_normal_numbers_are_normal_and_independent():
    field = normal_field(_keys(2), "a", 40001).double().numpy()
    assert stats.kstest(field[0], "norm").pvalue > 1e-3
    for other in (field[1], np.roll(field[0], 1), np.roll(field[0], 20001)):
        # 4 standard deviations of a correlation of 40001 independent pairs.
        assert abs(np.corrcoef(field[0], other)[0, 1]) < 4 / np.sqrt(40001)


def test_bell_numbers_have_their_mean_variance_and_kurtosis_and_are_independent():
    field = bell_field(_keys(2), "a", 40001).double().numpy()
    assert abs(field.mean()) < 4 / np.sqrt(field.size)
    assert abs(field.var() - 1) < 4 * np.sqrt(1.7 / field.size)
    assert abs(stats.kurtosis(field, axis=None) + 1.2 / 4) < 0.05
    for other in (field[1], np.roll(field[0], 1)):
        assert abs(np.corrcoef(field[0], other)[0, 1]) < 4 / np.sqrt(40001)


def test_names_seeds_and_indices_give_unrelated_numbers():
    base = uniform_field(_keys(1000), "a", 1)[:, 0].numpy()
    for other in (
        uniform_field(_keys(1000), "b", 1),
        uniform_field(_keys(1000, seed=1), "a", 1),
        uniform_field(sample_keys(0, torch.arange(1000) + 2**32), "a", 1),
        uniform_field(_keys(1000, seed=2**32), "a", 1),
    ):
        assert abs(np.corrcoef(base, other[:, 0].numpy())[0, 1]) < 4 / np.sqrt(1000)


def test_no_two_samples_of_neighbouring_seeds_have_the_same_key():
    keys = torch.cat([sample_keys(seed, torch.arange(2000)) for seed in range(20)])
    assert len(torch.unique(keys, dim=0)) == 20 * 2000
    first_words = torch.unique(keys[:, 0])
    # 40000 draws from 2**32 meet about 0.2 times; 10 would be no chance.
    assert len(first_words) > 20 * 2000 - 10


def test_known_numbers_stay():
    """Golden values: a change of these changes every picture ever rendered."""
    values = uniform_field(sample_keys(42, torch.tensor([0, 1, 2**40])), "golden", 2)
    expected = torch.tensor(GOLDEN)
    assert torch.allclose(values, expected, atol=1e-7)


GOLDEN = [[0.26444951, 0.60678613], [0.39223197, 0.24351385], [0.65034306, 0.60061789]]


def test_numbers_hashed_together_equal_numbers_hashed_alone():
    memory = {}
    asked = [("a", ()), ("b", (5,)), ("c", (2, 3))]
    alone = [SampleRandom(_keys(4), memory).uniform(*[asked[0][0]])]
    random = SampleRandom(_keys(4), memory)
    alone += [random.uniform(name, shape=shape) for name, shape in asked[1:]]
    together = SampleRandom(_keys(4), memory)
    assert set(memory) == {"a", "b", "c"}
    for (name, shape), value in zip(asked, alone, strict=True):
        assert torch.equal(together.uniform(name, shape=shape), value)


def test_a_name_asked_for_twice_is_refused():
    random = SampleRandom(_keys(1))
    random.uniform("a")
    with pytest.raises(ValueError, match="'a'"):
        random.chance("a", 0.5)
    with pytest.raises(ValueError, match="'a'"):
        random.key("a")


def test_integers_reach_every_value_and_none_beyond():
    values = SampleRandom(_keys(5000)).integer("a", 7)
    assert sorted(set(values.tolist())) == list(range(7))


def test_keys_asked_for_together_equal_keys_asked_for_alone():
    memory = {}
    alone = SampleRandom(_keys(3), memory).key("a")
    assert torch.equal(SampleRandom(_keys(3), memory).key("a"), alone)
    assert torch.equal(named_keys(_keys(3), "a"), alone)


def test_no_two_decisions_of_a_preset_share_a_number():
    """Decisions differ by a mixed counter alone: 32 bits that must not meet for any sample."""
    memory = {}
    config = preset("spine")
    generator._memory.cache_clear()
    draw(config, 0, torch.arange(1), maps=2, dims=3)
    memory = generator._memory(config, 3)
    counters = torch.cat([counter_rng._counters(name, count, "cpu") for name, count in memory.items()])
    assert len(counters) > 500 and len(torch.unique(counters)) == len(counters)


def test_the_generator_does_not_import_the_compiler():
    program = "import sys, synthspine.gen.generator; print('torch._dynamo' in sys.modules)"
    result = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert result.stdout.strip() == "False"
