"""Random numbers as functions of seed, index and name."""

import numpy as np
import pytest
import torch
from scipy import stats

from gen.counter_rng import SampleRandom, normal_field, sample_keys, uniform_field


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


GOLDEN = [[0.2190012, 0.70667291], [0.21191773, 0.45700404], [0.10758439, 0.68663025]]


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
