import csv
import dataclasses
import json
import math
import os
import signal

import pytest
import torch

from synthspine.train import config, experiment, trainer
from synthspine.train.config import TrainingError
from synthspine.train.data import feed
from synthspine.train.experiment import train_models
from synthspine.train.losses import LOSSES
from synthspine.train.model.checkpoint import SNAPSHOT_FORMAT, load_checkpoint, load_model, unpack_payload
from synthspine.train.runtime.stop import TrainingStopped


def newest(options, model="A"):
    found = sorted(options.save_dir.glob(options.file(model, "last-????????.pth").name))
    return unpack_payload(found[-1].read_bytes(), found[-1], SNAPSHOT_FORMAT)


def state_of(options, model="A", name="network"):
    return newest(options, model)[name]


def assert_equal_states(first, second):
    assert first.keys() == second.keys()
    assert all(torch.equal(first[name], second[name]) for name in first)


def test_both_models_are_trained_and_saved_with_what_made_them(options, alone, capsys):
    chosen = options()
    train_models(chosen, alone)
    told = capsys.readouterr().out
    for model in ("A", "B"):
        checkpoint = load_checkpoint(chosen.file(model, "best.pth"))
        assert (checkpoint.model, checkpoint.spacing_mm) == (model, 4.0)
        assert checkpoint.architecture == {"in_channels": 1, "num_classes": 4, "base_features": 4}
        config = json.loads(checkpoint.config)
        assert (config["epochs"], config["phantom"], config["shards"]["seed"]) == (2, False, 42)
        assert load_model(chosen.file(model, "best.pth"))(torch.rand(1, 1, 32, 32)).shape == (1, 4, 32, 32)
        assert f"wrote {chosen.file(model, 'best.pth')}" in told


def test_both_models_take_the_same_number_of_steps(options, alone):
    chosen = options(epochs=3)
    train_models(chosen, alone)
    rows = {}
    for model in ("A", "B"):
        with chosen.file(model, "log.csv").open() as stream:
            rows[model] = list(csv.DictReader(stream))
    assert [row["step"] for row in rows["A"]] == [row["step"] for row in rows["B"]]
    assert len(rows["A"]) == 3
    assert rows["A"][-1]["best"] == "1"
    assert 0 <= float(rows["A"][-1]["dice_vertebra"]) <= 1


def test_the_same_seed_gives_the_same_weights_and_another_gives_others(options, alone, tmp_path):
    states = []
    for name, seed in (("a", 1), ("b", 1), ("c", 2)):
        chosen = options(model="A", save_dir=tmp_path / name, seed=seed)
        torch.rand(len(states))
        train_models(chosen, alone)
        states.append(state_of(chosen))
    assert_equal_states(states[0], states[1])
    assert not all(torch.equal(states[0][name], states[2][name]) for name in states[0])


def test_training_leaves_the_callers_random_numbers_alone(options, alone):
    torch.manual_seed(5)
    before = torch.get_rng_state()
    train_models(options(model="A"), alone)
    assert torch.equal(torch.get_rng_state(), before)


@pytest.mark.parametrize(
    ("model", "source", "kind"),
    [("A", "render", feed.RenderFeed), ("A", "shards", feed.ShardFeed), ("B", "render", feed.RealFeed)],
)
def test_a_stopped_run_goes_on_to_the_weights_of_an_unstopped_one(
    options, alone, tmp_path, monkeypatch, model, source, kind
):
    whole = options(model=model, feed=source, save_dir=tmp_path / "whole", epochs=3)
    train_models(whole, alone)

    stopped = options(model=model, feed=source, save_dir=tmp_path / "stopped", epochs=3)
    batch = kind.batch

    def batch_with_signal(self, step):
        if step == 4:
            os.kill(os.getpid(), signal.SIGTERM)
        return batch(self, step)

    monkeypatch.setattr(kind, "batch", batch_with_signal)
    with pytest.raises(TrainingStopped, match=r"stopped after step \d+ of .* go on with .*--resume auto"):
        train_models(stopped, alone)
    monkeypatch.undo()
    reached = newest(stopped, model)["progress"]["step"]
    assert 4 <= reached <= 6
    so_far = load_checkpoint(stopped.file(model, "stopped.pth"))
    assert_equal_states(so_far.state_dict, newest(stopped, model)["average"])
    assert so_far.step == reached and math.isnan(so_far.validation_dice)

    train_models(dataclasses.replace(stopped, resume="auto"), alone)
    for name in ("network", "average"):
        assert_equal_states(state_of(whole, model, name), state_of(stopped, model, name))
    first, second = (load_checkpoint(run.file(model, "best.pth")) for run in (whole, stopped))
    assert_equal_states(first.state_dict, second.state_dict)
    assert first.validation_dice == second.validation_dice
    logs = [
        [
            {**row, "minutes": "", "images_per_second": ""}
            for row in csv.DictReader(run.file(model, "log.csv").open())
        ]
        for run in (whole, stopped)
    ]
    assert logs[0] == logs[1]


def test_what_is_evaluated_is_the_average(options, alone, monkeypatch):
    seen = []
    real = trainer.validate

    def watched(network, *arguments, **more):
        seen.append({name: value.clone() for name, value in network.state_dict().items()})
        return real(network, *arguments, **more)

    monkeypatch.setattr(trainer, "validate", watched)
    chosen = options(model="A")
    train_models(chosen, alone)
    assert_equal_states(seen[-1], state_of(chosen, name="average"))
    weights = state_of(chosen)
    assert not all(torch.equal(seen[-1][name], weights[name]) for name in weights)


def test_resuming_both_models_goes_on_with_the_one_that_was_stopped(
    options, alone, tmp_path, monkeypatch, capsys
):
    whole = options(save_dir=tmp_path / "whole")
    train_models(whole, alone)
    batch = feed.RealFeed.batch

    def batch_with_signal(self, step):
        if step == 2:
            os.kill(os.getpid(), signal.SIGINT)
        return batch(self, step)

    monkeypatch.setattr(feed.RealFeed, "batch", batch_with_signal)
    stopped = options(save_dir=tmp_path / "stopped")
    with pytest.raises(TrainingStopped, match="model B: stopped after step"):
        train_models(stopped, alone)
    monkeypatch.undo()
    capsys.readouterr()
    train_models(dataclasses.replace(stopped, resume="auto"), alone)
    told = capsys.readouterr().out
    assert "model A: going on from step 6" in told and "model B: going on from step" in told
    for model in ("A", "B"):
        assert_equal_states(state_of(whole, model), state_of(stopped, model))


def test_resuming_a_finished_run_does_no_step(options, alone, monkeypatch):
    chosen = options(model="A")
    train_models(chosen, alone)
    best = chosen.file("A", "best.pth").read_bytes()
    monkeypatch.setattr(feed.RenderFeed, "batch", None)
    train_models(dataclasses.replace(chosen, resume="auto"), alone)
    assert chosen.file("A", "best.pth").read_bytes() == best


def test_a_run_with_other_choices_is_set_aside_and_training_starts_anew(options, alone, capsys):
    train_models(options(model="A"), alone)
    chosen = options(model="A", lr=0.01, resume="auto")
    (snapshot,) = chosen.save_dir.glob("*_last-*.pth")
    earlier = snapshot.read_bytes()
    capsys.readouterr()
    train_models(chosen, alone)
    assert f"{snapshot.name}: belongs to a run with lr 0.001; it is kept as" in capsys.readouterr().out
    assert snapshot.with_suffix(".previous.pth").read_bytes() == earlier
    assert json.loads(load_checkpoint(chosen.file("A", "best.pth")).config)["lr"] == 0.01


def test_a_run_without_resume_starts_anew(options, alone):
    train_models(options(model="A"), alone)
    chosen = options(model="A", lr=0.01)
    train_models(chosen, alone)
    assert json.loads(load_checkpoint(chosen.file("A", "best.pth")).config)["lr"] == 0.01


def test_without_images_only_model_a_is_trained(options, alone, masks_dir, capsys):
    chosen = options(data_dir=masks_dir)
    train_models(chosen, alone)
    assert "no T1 image of a training patient" in capsys.readouterr().out
    assert chosen.file("A", "best.pth").is_file()
    assert not chosen.file("B", "best.pth").exists()


def test_model_b_without_images_is_an_error(options, alone, masks_dir):
    with pytest.raises(TrainingError, match=r"real_t1_train: no T1 image .* Model B cannot be trained"):
        train_models(options(data_dir=masks_dir, model="B"), alone)


def test_without_validation_patients_the_last_weights_are_kept(options, alone, tmp_path, capsys):
    split = tmp_path / "split.json"
    split.write_text('{"train": ["1", "2", "3", "4"], "validation": [], "test": []}')
    chosen = options(model="A", split=split)
    train_models(chosen, alone)
    assert "the last weights are kept" in capsys.readouterr().out
    best = load_checkpoint(chosen.file("A", "best.pth"))
    assert_equal_states(best.state_dict, state_of(chosen, name="average"))
    assert math.isnan(best.validation_dice)


def test_the_best_weights_are_kept_not_the_last(options, alone, monkeypatch):
    monkeypatch.setattr(config, "LEAST_STEPS_BETWEEN_VALIDATIONS", 1)
    scores = iter([0.3, 0.9, 0.5])
    monkeypatch.setattr(
        trainer,
        "validate",
        lambda *_, **__: trainer.Score(
            structures=dict.fromkeys(("vertebra", "disc", "canal"), next(scores)), samples=1
        ),
    )
    chosen = options(model="A", epochs=3)
    train_models(chosen, alone)
    checkpoint = load_checkpoint(chosen.file("A", "best.pth"))
    assert checkpoint.validation_dice == 0.9
    assert checkpoint.step == newest(chosen)["progress"]["step"] * 2 / 3


def test_a_loss_that_stays_infinite_stops_the_run(options, alone, monkeypatch):
    monkeypatch.setitem(LOSSES, "dice-ce", lambda logits, *_: logits.sum() * float("nan"))
    with pytest.raises(
        TrainingError, match="not finite in 10 steps in a row, up to step 10; try --precision fp32"
    ):
        train_models(options(model="A", epochs=10), alone)


def test_more_ranks_than_samples_in_a_step_are_refused(options):
    ranks = experiment.Ranks(rank=0, world_size=3, device=torch.device("cpu"))
    with pytest.raises(TrainingError, match="batch size 2 is less than the 3 ranks"):
        train_models(options(), ranks)


def test_a_small_network_learns_the_block_spine(options, alone):
    chosen = options(model="B", epochs=60, lr=0.01, batch_size=4, base_features=8)
    train_models(chosen, alone)
    assert load_checkpoint(chosen.file("B", "best.pth")).validation_dice > 0.6
