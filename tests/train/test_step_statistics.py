import math

import pytest
import torch

from synthspine.train.step_statistics import MOST_SKIPS_IN_A_ROW, Counts, Tally

CPU = torch.device("cpu")
GOOD, BAD = torch.tensor(True), torch.tensor(False)


def test_good_steps_add_up_and_bad_ones_are_counted():
    tally = Tally(CPU)
    for loss, finite in ((2.0, GOOD), (math.nan, BAD), (math.inf, BAD), (4.0, GOOD), (math.nan, BAD)):
        tally.add(torch.tensor(loss), finite)
    counts = tally.read()
    assert (counts.loss_sum, counts.steps, counts.skipped, counts.in_a_row) == (6, 2, 3, 1)
    assert counts.loss == 3


def test_a_new_epoch_forgets_the_loss_alone():
    tally = Tally(CPU)
    tally.add(torch.tensor(2.0), GOOD)
    tally.add(torch.tensor(math.nan), BAD)
    tally.new_epoch()
    assert tally.read() == Counts(skipped=1, in_a_row=1)
    assert math.isnan(tally.read().loss)


def test_too_many_in_a_row_are_still_seen_after_a_good_step():
    tally = Tally(CPU)
    for _ in range(MOST_SKIPS_IN_A_ROW):
        tally.add(torch.tensor(math.nan), BAD)
    tally.add(torch.tensor(1.0), GOOD)
    assert tally.read().in_a_row == MOST_SKIPS_IN_A_ROW


def test_one_less_is_forgotten():
    tally = Tally(CPU)
    for _ in range(MOST_SKIPS_IN_A_ROW - 1):
        tally.add(torch.tensor(math.nan), BAD)
    tally.add(torch.tensor(1.0), GOOD)
    assert tally.read().in_a_row == 0


def test_a_tally_goes_on_from_what_it_was():
    tally = Tally(CPU)
    counts = Counts(loss_sum=1.5, steps=2, skipped=3, in_a_row=1)
    tally.set(counts)
    assert tally.read() == counts
    assert counts.loss == pytest.approx(0.75)
