"""What a run lives through: full disks, damaged snapshots, steps that are not finite, stops."""

import csv
import dataclasses
import errno
import json
import os
import signal
import subprocess
from importlib import metadata

import pytest
import torch
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from synthspine.gen.config import config_hash
from synthspine.shards.reading.open import open_set
from synthspine.train import config, experiment, snapshots
from synthspine.train.config import TrainingError
from synthspine.train.data import feed
from synthspine.train.experiment import train_models
from synthspine.train.model.checkpoint import SNAPSHOT_FORMAT, load_checkpoint, unpack_payload
from synthspine.train.runtime.stop import TrainingStopped


def files_of(options):
    return sorted(options.save_dir.glob(options.file("A", "last-????????.pth").name))


def end_of(options):
    path = files_of(options)[-1]
    return unpack_payload(path.read_bytes(), path, SNAPSHOT_FORMAT)


def assert_same_end(first, second):
    first, second = end_of(first), end_of(second)
    for state in ("network", "average"):
        assert all(first[state][name].equal(second[state][name]) for name in first[state])


def spoil(monkeypatch, steps):
    """Makes the images of some steps not finite."""
    batch = feed.RenderFeed.batch

    def spoilt(self, step):
        images, codes = batch(self, step)
        return (images * float("nan") if step in steps else images), codes

    monkeypatch.setattr(feed.RenderFeed, "batch", spoilt)


def interrupt(monkeypatch, step):
    """Asks the run to stop when it takes a step."""
    batch = feed.RenderFeed.batch

    def asking(self, number):
        if number == step:
            os.kill(os.getpid(), signal.SIGTERM)
        return batch(self, number)

    monkeypatch.setattr(feed.RenderFeed, "batch", asking)


def rows(options):
    with options.file("A", "log.csv").open() as stream:
        return list(csv.DictReader(stream))


def test_a_resumed_run_logs_every_epoch_once(options, alone, monkeypatch):
    chosen = options(model="A", epochs=4, tensorboard=True)
    interrupt(monkeypatch, 7)
    with pytest.raises(TrainingStopped):
        train_models(chosen, alone)
    monkeypatch.undo()
    reached = end_of(chosen)["progress"]["step"]
    assert 7 <= reached < 12
    train_models(dataclasses.replace(chosen, resume="auto"), alone)
    steps = [int(row["step"]) for row in rows(chosen)]
    assert steps == [3, 6, 9, 12]
    events = EventAccumulator(str(chosen.file("A", "tensorboard"))).Reload()
    assert [event.step for event in events.Scalars("loss")] == steps
    assert events.Images("validation: image, truth, prediction")


def test_the_state_is_saved_at_intervals_and_two_are_kept(options, alone):
    chosen = options(model="A", epochs=3, snapshot_minutes=1e-9)
    train_models(chosen, alone)
    assert [path.name[-12:-4] for path in files_of(chosen)] == ["00000008", "00000009"]


@pytest.mark.parametrize("cut", [0, 3000])
def test_a_run_goes_on_from_the_one_before_where_the_newest_is_damaged(options, alone, tmp_path, capsys, cut):
    whole = options(model="A", epochs=3, snapshot_minutes=1e-9, save_dir=tmp_path / "whole")
    train_models(whole, alone)
    chosen = dataclasses.replace(whole, save_dir=tmp_path / "damaged")
    train_models(chosen, alone)
    newest = files_of(chosen)[-1]
    newest.write_bytes(newest.read_bytes()[:cut])
    (chosen.save_dir / ".tmp-1-0a1b-model_a_synthetic_last-00000009.pth").write_bytes(b"half")
    capsys.readouterr()
    train_models(dataclasses.replace(chosen, resume="auto"), alone)
    told = capsys.readouterr().out
    assert f"{newest.name}: damaged" in told
    assert "going on from step 8" in told
    assert_same_end(whole, chosen)
    assert not list(chosen.save_dir.glob(".tmp-*"))


def test_a_step_that_is_not_finite_is_skipped_counted_and_told(options, alone, monkeypatch, capsys):
    chosen = options(model="A", epochs=3)
    spoil(monkeypatch, {1, 4, 5})
    train_models(chosen, alone)
    assert [row["skipped"] for row in rows(chosen)] == ["1", "3", "3"]
    assert all(0 < float(row["loss"]) < 10 for row in rows(chosen))
    assert "skipped 1 step(s) up to step 2, loss or gradient not finite; 1 in all" in capsys.readouterr().out
    state = load_checkpoint(chosen.file("A", "best.pth")).state_dict
    assert all(value.isfinite().all() for value in state.values())


def test_many_in_a_row_stop_the_run_and_one_less_does_not(options, alone, monkeypatch):
    spoil(monkeypatch, set(range(2, 11)))
    train_models(options(model="A", epochs=4), alone)
    monkeypatch.undo()
    spoil(monkeypatch, set(range(1, 11)))
    told = "not finite in 10 steps in a row, up to step 11; try .*, or a lower --lr, which starts anew"
    with pytest.raises(TrainingError, match=told):
        train_models(options(model="A", epochs=4), alone)


def full_disk(*_):
    raise OSError(errno.ENOSPC, "No space left on device")


def test_a_full_disk_costs_a_snapshot_and_not_the_run(options, alone, monkeypatch, tmp_path, capsys):
    whole = options(model="A", epochs=3, save_dir=tmp_path / "whole")
    train_models(whole, alone)
    save = snapshots.SnapshotFolder.save
    monkeypatch.setattr(
        snapshots.SnapshotFolder,
        "save",
        lambda self, step, data: full_disk() if step < 9 else save(self, step, data),
    )
    chosen = options(model="A", epochs=3, save_dir=tmp_path / "full", snapshot_minutes=1e-9)
    capsys.readouterr()
    train_models(chosen, alone)
    told = capsys.readouterr().out
    assert "warning: the snapshot could not be written ([Errno 28] No space left on device)" in told
    assert_same_end(whole, chosen)


def test_a_disk_that_is_really_full_keeps_the_old_snapshot_and_the_run_can_go_on(
    options, alone, tmp_path, capsys
):
    whole = options(model="A", epochs=3, snapshot_minutes=1e-9, save_dir=tmp_path / "whole")
    train_models(whole, alone)
    size = files_of(whole)[-1].stat().st_size
    disk = tmp_path / "disk"
    disk.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", f"size={int(1.7 * size)}", "tmpfs", str(disk)]
    if subprocess.run(mount, capture_output=True, check=False).returncode:
        pytest.skip("a disk that can be filled cannot be mounted here")
    try:
        chosen = dataclasses.replace(whole, save_dir=disk)
        capsys.readouterr()
        with pytest.raises(OSError, match=r"No space left on device: .*model_a_synthetic_"):
            train_models(chosen, alone)
        assert "warning: the snapshot could not be written ([Errno 28] No space" in capsys.readouterr().out
        assert [path.name[-12:-4] for path in files_of(chosen)] == ["00000001"]
        assert not list(disk.glob(".tmp-*"))
        subprocess.run(["mount", "-o", f"remount,size={9 * size}", str(disk)], check=True)
        train_models(dataclasses.replace(chosen, resume="auto"), alone)
        assert "going on from step 1 " in capsys.readouterr().out
        assert_same_end(whole, chosen)
    finally:
        subprocess.run(["umount", str(disk)], check=True)


@pytest.mark.parametrize("what", ["save_checkpoint", "save"])
def test_a_full_disk_at_the_end_is_an_error(options, alone, monkeypatch, what):
    place = experiment if what == "save_checkpoint" else snapshots.SnapshotFolder
    monkeypatch.setattr(place, what, full_disk)
    with pytest.raises(OSError, match="No space left"):
        train_models(options(model="A"), alone)


def test_the_best_of_a_full_disk_is_no_best(options, alone, monkeypatch, capsys):
    monkeypatch.setattr(config, "LEAST_STEPS_BETWEEN_VALIDATIONS", 1)
    save = experiment.save_checkpoint
    steps = []

    def fails_first(path, checkpoint):
        steps.append(checkpoint.step)
        full_disk() if len(steps) == 1 else save(path, checkpoint)

    monkeypatch.setattr(experiment, "save_checkpoint", fails_first)
    chosen = options(model="A", epochs=3)
    train_models(chosen, alone)
    assert "warning: the best weights could not be saved" in capsys.readouterr().out
    # The score that was not saved is not what later ones have to beat.
    assert steps[:2] == [3, 6]
    assert [row["best"] for row in rows(chosen)][:2] == ["0", "1"]


def test_the_whole_configuration_is_told_and_written(options, alone, capsys):
    chosen = options(model="A", ema_decay=0.5)
    train_models(chosen, alone)
    told = capsys.readouterr().out
    words = " ".join(told.partition("configuration: ")[2].split())
    choices = chosen.to_dict()
    shared = choices.pop("shards")
    every = choices | shared.pop("grid") | shared
    assert {"lr", "epochs", "seed", "spacing_mm", "ema_decay"} <= every.keys()
    for name, value in every.items():
        text = " x ".join(map(str, value)) if isinstance(value, list) else str(value)
        assert value is None or f"{name} {text}" in words
    written = json.loads(chosen.file("A", "config.json").read_text())
    checkpoint = json.loads(load_checkpoint(chosen.file("A", "best.pth")).config)
    run = written.pop("run")
    assert written == checkpoint
    assert chosen.to_dict().items() <= written.items()
    assert (run["steps"], run["ranks"], run["arithmetic"]) == (6, 1, "float32")
    assert written["made_with"]["torch"] == torch.__version__


def test_a_checkpoint_names_the_generator_the_label_maps_and_the_versions(options, alone):
    chosen = options(model="A")
    train_models(chosen, alone)
    stored = json.loads(load_checkpoint(chosen.file("A", "best.pth")).config)
    labels = open_set(chosen.shards.place / "labels").manifest
    assert stored["config_hash"] == stored["generator"] == config_hash(chosen.shards.generator())
    assert stored["label_maps"] == labels.label_digest
    assert stored["made_with"]["torch"] == torch.__version__
    assert stored["made_with"]["synthspine"] == metadata.version("synthspine")


def test_the_average_is_saved_and_without_one_the_weights(options, alone, tmp_path):
    for decay, name in ((0.999, "average"), (0.0, "network")):
        chosen = options(model="A", ema_decay=decay, save_dir=tmp_path / name)
        train_models(chosen, alone)
        saved, end = load_checkpoint(chosen.file("A", "best.pth")).state_dict, end_of(chosen)
        assert all(saved[key].equal(end[name][key]) for key in saved)
        other = end["network" if name == "average" else "average"]
        assert all(saved[key].equal(other[key]) for key in saved) == (decay == 0)


def test_a_dry_run_says_what_would_happen_and_writes_nothing(options, alone, capsys):
    chosen = options(dry_run=True, tensorboard=True)
    train_models(chosen, alone)
    told = capsys.readouterr().out
    for model, steps in (("A", 6), ("B", 6)):
        assert f"model {model}: dry run: loss " in told
        assert f"{steps} steps and 1 validations would take about" in told
        assert f"would write {chosen.file(model, '*')} (snapshots: none yet); nothing written there" in told
    assert "wrote" not in told.partition("model A: dry run")[2]
    assert not chosen.save_dir.exists()


@pytest.mark.parametrize("wrong", [0, 1])
def test_a_dry_run_fails_with_a_loss_that_is_not_finite(options, alone, monkeypatch, wrong):
    spoil(monkeypatch, {wrong})
    chosen = options(model="A", dry_run=True)
    with pytest.raises(
        TrainingError, match=rf"model A: dry run: loss .* of step {wrong + 1} is not finite; try"
    ):
        train_models(chosen, alone)
    assert not chosen.save_dir.exists()


def test_a_dry_run_can_be_interrupted(options, alone, monkeypatch):
    batch = feed.RenderFeed.batch

    def interrupting(self, step):
        os.kill(os.getpid(), signal.SIGINT)
        return batch(self, step)

    monkeypatch.setattr(feed.RenderFeed, "batch", interrupting)
    with pytest.raises(KeyboardInterrupt):
        train_models(options(model="A", dry_run=True), alone)


@pytest.mark.parametrize("dry_run", [True, False])
def test_a_save_folder_without_room_is_told_before_anything_is_done(
    options, alone, tmp_path, small_files, dry_run
):
    with (
        small_files(10),
        pytest.raises(TrainingError, match=r"--save-dir .*saved: nothing can be written there"),
    ):
        train_models(options(dry_run=dry_run), alone)
    assert not list(tmp_path.iterdir())


def test_a_save_folder_that_is_a_file_is_refused_before_anything_is_done(options, alone, tmp_path):
    (tmp_path / "file").touch()
    chosen = options(save_dir=tmp_path / "file" / "models")
    with pytest.raises(TrainingError, match=r"--save-dir .*file/models: .*/file is a file, not a folder"):
        train_models(chosen, alone)
    assert [path.name for path in tmp_path.iterdir()] == ["file"]
