"""Training that begins with the weights of a checkpoint."""

import json
from dataclasses import replace

import pytest
import torch

from synthspine.train.config import TrainingError
from synthspine.train.experiment import train_models
from synthspine.train.model.checkpoint import CheckpointError, load_checkpoint, save_checkpoint


@pytest.fixture
def trained(options, alone):
    chosen = options(model="A")
    train_models(chosen, alone)
    return chosen.file("A", "best.pth")


def test_b_begins_with_the_weights_of_a(options, alone, trained, tmp_path):
    """With a rate of next to nothing the weights stay what they were."""
    chosen = options(model="B", start_from=trained, lr=1e-12, ema_decay=0.0, save_dir=tmp_path / "tuned")
    train_models(chosen, alone)
    tuned, start = load_checkpoint(chosen.file("B", "best.pth")), load_checkpoint(trained)
    assert tuned.model == "B" and json.loads(tuned.config)["start_from"] == str(trained)
    for name, weights in start.state_dict.items():
        torch.testing.assert_close(tuned.state_dict[name], weights, atol=1e-6, rtol=0)


def test_a_tuned_model_names_the_patients_of_the_model_that_it_starts_from(options, alone, trained, tmp_path):
    base = load_checkpoint(trained)
    own = json.loads(base.config)["train_patients"]
    save_checkpoint(trained, replace(base, config=json.dumps({"train_patients": ["77", *own[:1]]})))
    chosen = options(model="A", start_from=trained, save_dir=tmp_path / "tuned", epochs=1)
    train_models(chosen, alone)
    config = json.loads(load_checkpoint(chosen.file("A", "best.pth")).config)
    assert config["train_patients"] == sorted(["77", *own])


def test_a_run_from_another_checkpoint_is_another_run(options, alone, trained, tmp_path, capsys):
    chosen = options(model="A", start_from=trained, save_dir=tmp_path / "tuned", resume="auto")
    train_models(chosen, alone)
    moved = trained.with_name("moved.pth")
    moved.write_bytes(trained.read_bytes())
    capsys.readouterr()
    train_models(options(model="A", start_from=moved, save_dir=tmp_path / "tuned", resume="auto"), alone)
    assert "belongs to a run" not in capsys.readouterr().out
    train_models(options(model="A", save_dir=tmp_path / "tuned", resume="auto"), alone)
    assert "belongs to a run with started_from" in capsys.readouterr().out


def test_a_checkpoint_that_does_not_fit_or_is_missing_is_told_before_anything_is_made(
    options, alone, trained, tmp_path
):
    with pytest.raises(
        TrainingError, match=r"best.pth: .* network of 4 base features .* --base-features 4 or 8"
    ):
        train_models(options(start_from=trained, base_features=12, shards_dir=str(tmp_path / "new")), alone)
    with pytest.raises(CheckpointError, match=r"nothing.pth: no such checkpoint"):
        train_models(options(start_from=tmp_path / "nothing.pth", shards_dir=str(tmp_path / "new")), alone)
    assert not (tmp_path / "new").exists()
