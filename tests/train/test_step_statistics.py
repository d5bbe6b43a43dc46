import math

import pytest
import torch

from synthspine.train.step import MOST_SKIPS_IN_A_ROW, Counts, StepStatistics

CPU = torch.device("cpu")
GOOD, BAD = torch.tensor(True), torch.tensor(False)


def test_good_steps_add_up_and_bad_ones_are_counted():
    statistics = StepStatistics(CPU)
    for loss, finite in ((2.0, GOOD), (math.nan, BAD), (math.inf, BAD), (4.0, GOOD), (math.nan, BAD)):
        statistics.add(torch.tensor(loss), finite)
    counts = statistics.read()
    assert (counts.loss_sum, counts.steps, counts.skipped, counts.in_a_row) == (6, 2, 3, 1)
    assert counts.loss == 3


def test_a_new_epoch_forgets_the_loss_alone():
    statistics = StepStatistics(CPU)
    statistics.add(torch.tensor(2.0), GOOD)
    statistics.add(torch.tensor(math.nan), BAD)
    statistics.new_epoch()
    assert statistics.read() == Counts(skipped=1, in_a_row=1)
    assert math.isnan(statistics.read().loss)


def test_too_many_in_a_row_are_still_seen_after_a_good_step():
    statistics = StepStatistics(CPU)
    for _ in range(MOST_SKIPS_IN_A_ROW):
        statistics.add(torch.tensor(math.nan), BAD)
    statistics.add(torch.tensor(1.0), GOOD)
    assert statistics.read().in_a_row == MOST_SKIPS_IN_A_ROW


def test_one_less_is_forgotten():
    statistics = StepStatistics(CPU)
    for _ in range(MOST_SKIPS_IN_A_ROW - 1):
        statistics.add(torch.tensor(math.nan), BAD)
    statistics.add(torch.tensor(1.0), GOOD)
    assert statistics.read().in_a_row == 0


def test_statistics_go_on_from_what_it_was():
    statistics = StepStatistics(CPU)
    counts = Counts(loss_sum=1.5, steps=2, skipped=3, in_a_row=1)
    statistics.set(counts)
    assert statistics.read() == counts
    assert counts.loss == pytest.approx(0.75)
