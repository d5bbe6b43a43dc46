"""Scores of networks whose answers are known, on slices whose truth is known."""

import numpy as np
import pytest
import torch
from torch import nn

from benchmarks.reality_runner import Runner
from benchmarks.reality_scoring import FACTORS, score
from synthspine.eval.studies.degrade import degrade
from synthspine.gen import label_scheme
from synthspine.gen.core.anatomy import IGNORE, MAX_RANK

CPU = torch.device("cpu")


class Answers(nn.Module):
    """Answers one class everywhere, and remembers what it was shown."""

    def __init__(self, num_classes, answer):
        super().__init__()
        self.num_classes = num_classes
        self.answer = answer
        self.shown = []

    def forward(self, image):
        self.shown.append(image.clone())
        logits = torch.zeros(len(image), self.num_classes, *image.shape[2:])
        logits[:, self.answer] = 10
        return logits


@pytest.fixture
def runner(study):
    return Runner(study())


def test_an_answer_of_one_structure_everywhere_has_the_dice_of_its_share(runner):
    (task,) = runner.tasks()[:1]
    found = score(Answers(4, 1), "as stored", runner.slices, task.fold, CPU)
    arrays = runner.slices.real["t1"]
    for entry in found:
        mine = [str(record["patient"]) == entry.patient for record in arrays.records]
        labels = arrays.labels[np.array(mine)]
        vertebra = ((labels > 0) & (labels <= MAX_RANK)).sum()
        known = (labels != IGNORE).sum()
        assert entry.dice["vertebra"] == pytest.approx(2 * vertebra / (vertebra + known), abs=1e-6)
        assert entry.dice["disc"] == entry.dice["canal"] == 0


def test_fourteen_classes_are_merged_before_they_are_scored(runner):
    (task,) = runner.tasks()[:1]
    names = label_scheme(14).structures
    for structure in ("vertebra", "disc", "canal"):
        four = 1 + ("vertebra", "disc", "canal").index(structure)
        plain = score(Answers(4, four), "as stored", runner.slices, task.fold, CPU)
        merged = score(Answers(14, names.index(structure)), "as stored", runner.slices, task.fold, CPU)
        assert plain == merged


def test_slices_are_shown_degraded_as_in_the_evaluation(runner):
    (task,) = runner.tasks()[:1]
    network = Answers(4, 1)
    found = score(network, "as stored", runner.slices, task.fold, CPU)
    assert {entry.factor for entry in found} == set(FACTORS)
    assert {entry.patient for entry in found} == task.fold.validation
    shown = len(FACTORS) * [runner.slices.real["t1"]]
    for image, factor, arrays in zip(network.shown[: len(FACTORS)], FACTORS, shown, strict=True):
        chosen = [str(record["patient"]) in task.fold.validation for record in arrays.records]
        plain = torch.from_numpy(arrays.images[np.array(chosen)]).float().unsqueeze(1)
        torch.testing.assert_close(image, degrade(plain, factor)[: len(image)])
