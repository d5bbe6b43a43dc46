import os
import shutil

import pytest
import torch

from synthspine.gen import label_scheme
from synthspine.train.config import Plan
from synthspine.train.model.checkpoint import (
    CHECKPOINT_FORMAT,
    SNAPSHOT_FORMAT,
    CheckpointError,
    pack_payload,
    unpack_payload,
)
from synthspine.train.model.unet import UNet
from synthspine.train.snapshots import Progress, SnapshotFolder, pack_snapshot, restore, unpack_snapshot
from synthspine.train.step import Counts, Stepper

CHOICES = {"lr": 0.1}


def make_plan(folder, **run_identity):
    return Plan(
        title="test", steps=10, steps_per_epoch=10, batch_size=2, highest_rate=0.1, weight_decay=0.0,
        ema_decay=0.9, bf16=False, run_identity=CHOICES | run_identity, stem=folder / "run",
    )  # fmt: skip


@pytest.fixture
def told():
    return []


@pytest.fixture
def folder(tmp_path, told):
    return SnapshotFolder(make_plan(tmp_path), told.append)


@pytest.fixture
def make(tmp_path, alone):
    """Bytes of a snapshot with so many steps done."""

    def make(step, features=4, **run_identity):
        network = UNet(num_classes=4, base_features=features)
        stepper = Stepper(network, label_scheme(4), make_plan(tmp_path, **run_identity), alone)
        stepper.take(0, torch.rand(2, 1, 32, 32), torch.ones(2, 32, 32, dtype=torch.uint8))
        progress = Progress(step=step, best=0.5, seconds=3.0, counts=Counts(loss_sum=2.0, steps=4.0))
        return pack_snapshot(stepper, progress)

    return make


def step_of(found):
    return unpack_payload(found[1], found[0], SNAPSHOT_FORMAT)["progress"]["step"]


def test_the_newest_two_are_kept_and_ordered_by_number(folder, make, tmp_path):
    for step in (9, 10, 100_000_000):
        folder.save(step, make(step))
    assert [path.name for path in folder.files()] == ["run_last-100000000.pth", "run_last-00000010.pth"]
    assert step_of(folder.newest_good(CHOICES)) == 100_000_000
    assert len(list(tmp_path.iterdir())) == 2


def test_the_newest_is_that_of_the_most_steps_not_the_last_written(folder, make):
    for step in (10, 9):
        folder.save(step, make(step))
    assert step_of(folder.newest_good(CHOICES)) == 10


def truncate(path):
    path.write_bytes(path.read_bytes()[:5000])


def flip(path):
    """One bit of the moments of a weight; torch itself would load it."""
    data = bytearray(path.read_bytes())
    moments = unpack_payload(bytes(data), path, SNAPSHOT_FORMAT)["optimizer"]["state"]
    data[data.index(moments[0]["exp_avg"].numpy().tobytes()) + 5] ^= 16
    path.write_bytes(data)


def empty(path):
    path.write_bytes(b"")


def half_written(path):
    shutil.copy(path, path.with_name(f".tmp-1-{path.name}"))
    path.unlink()


@pytest.mark.parametrize("damage", [truncate, flip, empty, half_written])
def test_a_damaged_one_is_skipped_and_the_one_before_is_used(folder, make, told, damage):
    folder.save(3, make(3))
    damage(folder.save(7, make(7)))
    assert step_of(folder.newest_good(CHOICES)) == 3
    if damage is not half_written:
        assert "run_last-00000007.pth: damaged" in told[0]
        assert folder.file(7).with_suffix(".damaged.pth").is_file()
    folder.save(5, make(5))
    assert [path.name for path in folder.files()] == ["run_last-00000005.pth", "run_last-00000003.pth"]


def test_one_of_another_run_is_set_aside(folder, make, told):
    folder.save(7, make(7, lr=0.3))
    assert folder.newest_good(CHOICES) is None
    assert "belongs to a run with lr 0.3; it is kept as run_last-00000007.previous.pth" in told[0]
    assert not folder.files()


def test_one_from_before_losses_were_chosen_was_made_with_dice_and_cross_entropy(folder, make, told):
    folder.save(7, make(7))
    assert step_of(folder.newest_good(CHOICES | {"loss": "dice-ce"})) == 7
    assert folder.newest_good(CHOICES | {"loss": "dice-focal"}) is None
    assert "belongs to a run with loss dice-ce" in told[0]


def test_a_full_disk_keeps_the_old_ones(folder, make, small_files):
    folder.save(3, make(3))
    data = make(7)
    with small_files(10_000), pytest.raises(OSError, match=r"File too large: .*run_last-00000007\.pth"):
        folder.save(7, data)
    assert [path.name for path in folder.files()] == ["run_last-00000003.pth"]
    assert step_of(folder.newest_good(CHOICES)) == 3


def test_a_folder_that_is_not_there_has_none(told, tmp_path):
    missing = SnapshotFolder(make_plan(tmp_path / "nowhere"), told.append)
    assert missing.files() == []
    assert missing.newest_good(CHOICES) is None


def test_what_is_restored_is_what_was_packed(make, tmp_path, alone):
    data = make(6)
    other = Stepper(UNet(num_classes=4, base_features=4), label_scheme(4), make_plan(tmp_path), alone)
    payload = unpack_snapshot(data, "file", CHOICES)
    progress = restore(payload, "file", other)
    assert (progress.step, progress.best, progress.seconds, progress.counts.loss) == (6, 0.5, 3.0, 0.5)
    again = unpack_snapshot(pack_snapshot(other, progress), "again", CHOICES)
    for state in ("network", "average"):
        assert all(again[state][name].equal(value) for name, value in payload[state].items())
    assert other.statistics.read() == progress.counts


def test_one_of_another_shape_is_refused_in_one_line(make, tmp_path, alone):
    payload = unpack_snapshot(make(6, features=8), "file", CHOICES)
    other = Stepper(UNet(num_classes=4, base_features=4), label_scheme(4), make_plan(tmp_path), alone)
    with pytest.raises(CheckpointError, match=r"file: does not fit this network: .*size mismatch") as caught:
        restore(payload, "file", other)
    assert "\n" not in str(caught.value)


def test_a_checkpoint_is_no_snapshot():
    data = pack_payload({"format": SNAPSHOT_FORMAT, "state_dict": {}})
    with pytest.raises(CheckpointError, match="not a snapshot of a training, it lacks progress, network"):
        unpack_snapshot(data, "file", CHOICES)


def test_a_checkpoint_by_the_name_of_a_snapshot_is_called_what_it_is():
    data = pack_payload({"format": CHECKPOINT_FORMAT, "state_dict": {}})
    with pytest.raises(CheckpointError, match="file: a checkpoint, not a training snapshot"):
        unpack_snapshot(data, "file", CHOICES)


def test_what_an_earlier_run_left_is_set_aside_and_told(folder, make, tmp_path, told):
    content = make(3)
    folder.save(3, content)
    (tmp_path / "run_best.pth").write_bytes(b"weights")
    (tmp_path / "run_log.csv").write_text("step\n")
    (tmp_path / "other_best.pth").write_bytes(b"of another model")
    folder.set_aside()
    assert {path.name for path in tmp_path.iterdir()} == {
        "run_last-00000003.previous.pth",
        "run_best.previous.pth",
        "run_log.previous.csv",
        "other_best.pth",
    }
    assert (tmp_path / "run_last-00000003.previous.pth").read_bytes() == content
    assert len(told) == 1 and "run_best.pth" in told[0]
    folder.set_aside()
    assert len(told) == 1


def test_a_snapshot_that_cannot_be_read_does_not_hide_the_one_before(folder, make, told):
    folder.save(3, make(3))
    folder.save(5, make(5))
    newest = folder.file(5)
    newest.unlink()
    # Reading a folder is an error of the disk, as far as the reader knows.
    newest.mkdir()
    assert step_of(folder.newest_good(CHOICES)) == 3
    assert any("cannot be read" in line for line in told)


def test_half_written_files_of_a_killed_run_go(folder, make, tmp_path):
    kept = {folder.save(3, make(3)), tmp_path / ".tmp-7-0a1b-run_else_last-00000003.pth", tmp_path / ".tmp-x"}
    kept |= {tmp_path / "run_best.pth", tmp_path / "run_last-00000003.previous.pth"}
    gone = [tmp_path / f".tmp-7-0a1b2c3d-run_{name}" for name in ("last-00000004.pth", "best.pth", "log.csv")]
    for path in (*kept, *gone):
        path.touch()
    folder.clear_unfinished()
    assert set(tmp_path.iterdir()) == kept


def test_the_names_of_half_written_files_are_known(folder, make, tmp_path, monkeypatch):
    def dies(place, data):
        place.open("wb").write(data[:100])
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(type(tmp_path), "write_bytes", dies)
        patch.setattr(type(tmp_path), "unlink", lambda *_, **__: None)
        with pytest.raises(KeyboardInterrupt):
            folder.save(3, make(3))
    (left,) = tmp_path.iterdir()
    assert left.stat().st_size == 100
    folder.clear_unfinished()
    assert not list(tmp_path.iterdir())


def names_with(folder, mark):
    return sorted(path.name for path in folder.glob(f"*.{mark}.*"))


def test_what_one_run_left_stays_until_the_next_is_set_aside(folder, make, tmp_path):
    (tmp_path / "run_else_last-00000001.previous.pth").write_bytes(b"of another model")
    for steps in ((300, 400), (3, 4), (5,)):
        for step in steps:
            folder.save(step, make(step))
        (tmp_path / "run_best.pth").write_bytes(str(steps).encode())
        folder.set_aside()
        left = [f"run_last-{step:08d}.previous.pth" for step in steps]
        assert names_with(tmp_path, "previous") == [
            "run_best.previous.pth",
            "run_else_last-00000001.previous.pth",
            *left,
        ]
        assert (tmp_path / "run_best.previous.pth").read_bytes() == str(steps).encode()
    # A run that died before its first snapshot costs none of an earlier one.
    (tmp_path / "run_log.csv").write_text("step\n")
    folder.set_aside()
    assert "run_last-00000005.previous.pth" in names_with(tmp_path, "previous")


def test_every_best_model_and_its_log_are_kept_by_number(folder, tmp_path, told):
    best, log = tmp_path / "run_best.pth", tmp_path / "run_log.csv"
    for run in range(4):
        best.write_bytes(f"weights of run {run}".encode())
        if run != 1:  # a run that died before its first row
            log.write_text(f"log of run {run}")
        folder.set_aside()
        folder.set_aside()
    kept = {path.name: path.read_text() for path in tmp_path.iterdir()}
    assert kept == {
        "run_best.previous-1.pth": "weights of run 0",
        "run_log.previous-1.csv": "log of run 0",
        "run_best.previous-2.pth": "weights of run 1",
        "run_best.previous-3.pth": "weights of run 2",
        "run_log.previous-3.csv": "log of run 2",
        "run_best.previous.pth": "weights of run 3",
        "run_log.previous.csv": "log of run 3",
    }


def edited(data, change):
    payload = unpack_payload(data, "file", SNAPSHOT_FORMAT)
    change(payload)
    return pack_payload(payload)


@pytest.mark.parametrize(
    "change",
    [
        lambda payload: payload.update(network=[1]),
        lambda payload: payload["network"].popitem(),
        lambda payload: payload.update(average={}),
        lambda payload: payload.update(optimizer=[]),
        lambda payload: payload.update(optimizer={"state": 5}),
        lambda payload: payload["optimizer"]["state"].update({99: {}}),
        lambda payload: payload["optimizer"]["state"][0].update(exp_avg=torch.ones(3)),
        lambda payload: payload["optimizer"]["state"][0]["exp_avg_sq"].fill_(-1),
        lambda payload: payload["optimizer"]["state"][0]["step"].fill_(-1),
        lambda payload: payload["optimizer"]["state"][0]["exp_avg"].fill_(float("nan")),
        lambda payload: payload["network"]["head.bias"].fill_(float("inf")),
        lambda payload: payload.update(progress=7),
        lambda payload: payload["progress"].update(step=-1),
        lambda payload: payload["progress"].update(step=11),
        lambda payload: payload["progress"].update(step="7"),
        lambda payload: payload["progress"].update(step=1.5),
        lambda payload: payload["progress"].update(best=float("nan")),
        lambda payload: payload["progress"].update(seconds=-1.0),
        lambda payload: payload["progress"]["counts"].update(steps=float("inf")),
        lambda payload: payload["progress"]["counts"].update(more=1),
        lambda payload: payload.update(code=None),
        lambda payload: payload.update(run_identity="[" * 100_000),
        lambda payload: payload.update(run_identity={}),
        lambda payload: payload.update(run_identity="3"),
    ],
)
def test_one_that_makes_no_sense_is_skipped_and_the_one_before_is_used(
    folder, make, told, tmp_path, alone, change
):
    folder.save(3, make(3))
    folder.save(7, edited(make(7), change))
    stepper = Stepper(UNet(num_classes=4, base_features=4), label_scheme(4), make_plan(tmp_path), alone)
    found = folder.newest_good(CHOICES, lambda payload, path: restore(payload, path, stepper))
    assert step_of(found) == 3
    (line,) = told
    assert "run_last-00000007.pth: " in line and "\n" not in line
    assert folder.file(7).with_suffix(".damaged.pth").is_file()


def test_one_that_cannot_be_restored_leaves_the_state_as_it_was(make, tmp_path, alone):
    stepper = Stepper(UNet(num_classes=4, base_features=4), label_scheme(4), make_plan(tmp_path), alone)
    before = {name: value.clone() for name, value in stepper.network.state_dict().items()}
    payload = unpack_snapshot(make(6), "file", CHOICES)
    payload["optimizer"]["state"][0]["exp_avg"] = torch.ones(3)
    with pytest.raises(CheckpointError, match="moments of weight 0"):
        restore(payload, "file", stepper)
    assert all(value.equal(before[name]) for name, value in stepper.network.state_dict().items())
    assert not stepper.optimizer.state_dict()["state"]


def test_a_pipe_by_the_name_of_a_snapshot_is_not_waited_for(folder, make, told):
    folder.save(3, make(3))
    os.mkfifo(folder.file(9))
    assert step_of(folder.newest_good(CHOICES)) == 3
    assert "cannot be read (is not a regular file)" in told[0]


def test_damaged_and_foreign_snapshots_do_not_pile_up(folder, make, tmp_path):
    for step in (3, 7):
        truncate(folder.save(step, make(step)))
        folder.save(step + 1, make(step + 1, lr=0.3))
        assert folder.newest_good(CHOICES) is None
        assert names_with(tmp_path, "damaged") == [f"run_last-{step:08d}.damaged.pth"]
        assert names_with(tmp_path, "previous") == [f"run_last-{step + 1:08d}.previous.pth"]
    assert len(list(tmp_path.iterdir())) == 2


def test_both_snapshots_of_another_run_are_kept(folder, make, tmp_path):
    for step in (3, 4):
        folder.save(step, make(step, lr=0.3))
    assert folder.newest_good(CHOICES) is None
    folder.set_aside()
    assert names_with(tmp_path, "previous") == [f"run_last-{step:08d}.previous.pth" for step in (3, 4)]
