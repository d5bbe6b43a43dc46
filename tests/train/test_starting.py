"""How a run starts: anew or from what is there, and what it says of that."""

import dataclasses
import json
import os
import signal

import pytest

from synthspine.shards.format.provenance import code_state
from synthspine.train import config, experiment, sources, trainer
from synthspine.train.data import feed
from synthspine.train.experiment import train_models
from synthspine.train.model.checkpoint import load_checkpoint
from synthspine.train.runtime.stop import TrainingStopped


def test_a_restart_during_the_first_model_does_not_take_the_second_ones_old_snapshots(
    options, alone, monkeypatch
):
    train_models(options(seed=7), alone)
    steps = load_checkpoint(options(seed=7).file("B", "best.pth")).step
    chosen = options(seed=7)
    batch = feed.RenderFeed.batch

    def crashing(self, step):
        if step == 4:
            raise RuntimeError("a rank was killed")
        return batch(self, step)

    monkeypatch.setattr(feed.RenderFeed, "batch", crashing)
    with pytest.raises(RuntimeError, match="killed"):
        train_models(chosen, alone)
    monkeypatch.undo()
    taken = []
    real_batch = feed.RealFeed.batch
    monkeypatch.setattr(
        feed.RealFeed, "batch", lambda self, step: [taken.append(step), real_batch(self, step)][1]
    )
    train_models(chosen, dataclasses.replace(alone, restarted=True))
    assert set(range(steps)) <= set(taken)
    assert chosen.file("B", "best.previous.pth").is_file()


def test_a_run_of_other_code_goes_on_with_a_warning_that_says_what_to_do(options, alone, monkeypatch, capsys):
    train_models(options(model="A"), alone)
    chosen = options(model="A", resume="auto")
    assert json.loads(load_checkpoint(chosen.file("A", "best.pth")).config)["code"] == code_state()
    capsys.readouterr()
    train_models(chosen, alone)
    assert "warning" not in capsys.readouterr().out
    monkeypatch.setattr(experiment, "code_state", lambda: {"version": "2", "commit": "ab"})
    monkeypatch.setattr(feed.RenderFeed, "batch", None)
    train_models(chosen, alone)
    (line,) = [line for line in capsys.readouterr().out.splitlines() if line.startswith("warning")]
    made_by = ", ".join(f"{name} {text}" for name, text in code_state().items() if name != "changes")
    assert f"its 6 steps were made by other code ({made_by}); to train anew: --resume never" in line
    assert str(chosen.save_dir / "model_a_synthetic_last-*.pth") in line


def test_the_best_score_is_not_compared_over_other_validation_samples(options, alone, monkeypatch, capsys):
    monkeypatch.setattr(config, "LEAST_STEPS_BETWEEN_VALIDATIONS", 1)
    scores = iter([0.9, 0.3, 0.2])
    monkeypatch.setattr(
        trainer,
        "validate",
        lambda *_, **__: trainer.Score(
            structures=dict.fromkeys(("vertebra", "disc", "canal"), next(scores)), samples=1
        ),
    )
    save = trainer.SnapshotFolder.save

    def killed(self, step, data):
        save(self, step, data)
        raise RuntimeError("killed")

    for model, samples, compared in (("A", 4, True), ("A", 5, False), ("B", 99, True)):
        scores = iter([0.9, 0.3, 0.2])
        chosen = options(model=model, epochs=3, validation_samples=4)
        with monkeypatch.context() as patch, pytest.raises(RuntimeError, match="killed"):
            patch.setattr(trainer.SnapshotFolder, "save", killed)
            train_models(chosen, alone)
        capsys.readouterr()
        train_models(dataclasses.replace(chosen, resume="auto", validation_samples=samples), alone)
        told = "the validation samples are others than before" in capsys.readouterr().out
        best = load_checkpoint(chosen.file(model, "best.pth")).validation_dice
        assert (told, best) == ((False, 0.9) if compared else (True, 0.3)), (model, samples)


def test_a_signal_while_sets_are_made_ends_with_a_message(options, alone, monkeypatch):
    def building(*_):
        os.kill(os.getpid(), signal.SIGTERM)
        raise AssertionError("the building went on")

    monkeypatch.setattr(sources, "ensure_sets", building)
    chosen = options(model="A")
    with pytest.raises(TrainingStopped, match="stopped before the training began: nothing is trained"):
        train_models(chosen, alone)
    assert not chosen.save_dir.exists()
