import numpy as np
import pytest

from synthspine.eval.labelling.ranks import order_ranks
from synthspine.gen.core.anatomy import CANAL, MAX_RANK, disc_code, vertebra_code


def stack(*ranks):
    """A column of vertebrae and discs of ten voxels each, with a canal."""
    codes = [code(rank) for rank in ranks for code in (vertebra_code, disc_code)]
    return np.array([*np.repeat(codes, 10), CANAL, 0], dtype=np.uint8)


def test_agreement_changes_nothing():
    codes = stack(1, 2, 3, 4, 5)
    assert np.array_equal(order_ranks(codes, codes), codes)


def test_confused_upper_ranks_are_put_in_order():
    counted = stack(1, 2, 3, 4, 5, 6, 7)
    modelled = stack(1, 2, 3, 4, 4, 5, 6)
    assert np.array_equal(order_ranks(counted, modelled), counted)


@pytest.mark.parametrize("start", [1, 2, 4])
def test_the_model_says_where_the_count_starts(start):
    counted = stack(1, 2, 3, 4)
    modelled = stack(*(rank + start for rank in (1, 2, 3, 4)))
    assert np.array_equal(order_ranks(counted, modelled), modelled)


def test_a_sacrum_below_the_lowest_rank_goes():
    counted = stack(1, 2, 3, 4, 5)
    modelled = stack(1, 1, 2, 3, 4)
    got = order_ranks(counted, modelled)
    assert not got[:20].any()
    assert np.array_equal(got[20:], modelled[20:])


def test_every_structure_stays_where_it_is():
    counted, modelled = stack(1, 2, 3), stack(3, 4, 5)
    got = order_ranks(counted, modelled)
    assert np.array_equal(got == CANAL, counted == CANAL)
    assert np.array_equal(got == 0, counted == 0)


def test_ranks_end_at_the_highest():
    counted, modelled = stack(23, 24, 25), stack(25, 25, 25)
    assert order_ranks(counted, modelled).max() <= max(disc_code(MAX_RANK), CANAL)


def test_nothing_found_stays_nothing():
    empty = np.zeros((2, 5, 5), dtype=np.uint8)
    assert not order_ranks(empty, empty).any()
