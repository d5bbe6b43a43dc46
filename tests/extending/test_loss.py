"""The program of the document trains with a loss that the packages do not have."""

import json
import sys

import numpy as np
import pytest
import torch
from extending_page import block

from synthspine.shards.readers.spider import write_mha
from synthspine.train.losses import LOSSES, LossContext, count_pixels, find_loss
from synthspine.train.model.checkpoint import load_checkpoint

PROGRAM = block("A loss", "python")


@pytest.fixture
def masks(tmp_path):
    """A folder of label maps of four patients: three vertebrae, discs, canal."""
    mask = np.zeros((3, 32, 32), dtype=np.int16)
    for number in (1, 2, 3):
        bottom = 30 - 9 * (number - 1)
        mask[:, bottom - 8 : bottom - 2, 8:18] = number
        mask[:, bottom - 2 : bottom, 8:18] = 200 + number
    mask[:, 2:-2, 20:24] = 100
    for patient in range(1, 5):
        write_mha(mask, (4.0, 4.0, 4.0), "LPS", tmp_path / "masks" / f"{patient}_t1.mha")
    return tmp_path


def start(monkeypatch, folder, name):
    """Exit status of the program with the loss of a name."""
    flags = (
        f"--model A --data-dir {folder} --shards-dir {folder}/shards --save-dir {folder}/saved --device cpu"
    )
    size = "--spacing-mm 4 --shape 32 32 --base-features 4 --batch-size 2 --epochs 1 --no-tensorboard"
    monkeypatch.setattr(sys, "argv", ["my_training.py", *flags.split(), *size.split(), "--loss", name])
    monkeypatch.setitem(LOSSES, "dice-brier", None)  # the table is as before when the test ends
    with pytest.raises(SystemExit) as ended:
        exec(PROGRAM, {"__name__": "__main__"})
    return ended.value.code


def test_the_program_trains_with_its_loss_and_the_checkpoint_names_it(masks, monkeypatch):
    assert start(monkeypatch, masks, "dice-brier") == 0
    checkpoint = load_checkpoint(masks / "saved" / "model_a_synthetic_best.pth")
    assert json.loads(checkpoint.config)["loss"] == "dice-brier"


def test_the_program_refuses_an_unknown_loss_and_names_its_own(masks, monkeypatch, capsys):
    assert start(monkeypatch, masks, "brier") != 0
    told = " ".join(capsys.readouterr().err.replace("│", " ").split())
    assert f"loss 'brier' must be one of {', '.join(LOSSES)}" in told and "dice-brier" in told


def test_the_loss_of_the_document_equals_its_formula_and_is_shared_by_ranks(monkeypatch):
    monkeypatch.setitem(LOSSES, "dice-brier", None)
    exec(PROGRAM, {"__name__": "my_training"})
    loss = find_loss("dice-brier")
    target = torch.tensor([[[0, 0]], [[0, 255]]], dtype=torch.uint8)
    logits = torch.tensor([[0.9, 0.4], [0.3, 0.2]]).log().view(2, 1, 1, 2)
    logits = torch.cat((logits, (1 - logits.exp()).log()), dim=1)
    context = LossContext(class_pixels=count_pixels(target, 2), samples=2)
    # There is background alone, which has no Dice.
    wanted = (0.1**2 + 0.6**2 + 0.7**2) / 3
    assert loss(logits, target, context).item() == pytest.approx(wanted, rel=1e-5)
    shares = [loss(logits[part], target[part], context) for part in (slice(0, 1), slice(1, 2))]
    assert sum(shares).item() == pytest.approx(wanted, rel=1e-5)
