"""Two runs never write one save folder."""

import dataclasses
import subprocess
import sys

import pytest

from synthspine.train import save_lock
from synthspine.train.config import TrainingError
from synthspine.train.experiment import train_models
from synthspine.train.save_lock import LOCK_FILE, held_for_one_run

HOLD = "import sys, filelock\nwith filelock.FileLock(sys.argv[1]): print('held', flush=True); input()"


@pytest.fixture
def holder(tmp_path):
    """Another process that holds the folder ``saved``."""
    (tmp_path / "saved").mkdir()
    command = [sys.executable, "-c", HOLD, str(tmp_path / "saved" / LOCK_FILE)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None and process.stdout.readline() == "held\n"
        yield process
        process.kill()


def test_a_folder_is_held_and_left_as_it_was(tmp_path, alone):
    folder = tmp_path / "models" / "saved"
    with held_for_one_run(folder, alone):
        assert (folder / LOCK_FILE).is_file()
    assert not list(tmp_path.iterdir())
    with held_for_one_run(folder, alone):
        (folder / "best.pth").touch()
    assert [path.name for path in folder.iterdir()] == ["best.pth"]


def test_a_second_run_is_refused_before_it_changes_anything(options, alone, holder, tmp_path, monkeypatch):
    monkeypatch.setattr(save_lock, "PATIENCE_S", 0.1)
    best = tmp_path / "saved" / "model_a_synthetic_best.pth"
    best.write_bytes(b"of the first run")
    with pytest.raises(TrainingError, match=r"--save-dir .*saved: another training writes there") as caught:
        train_models(options(model="A"), alone)
    assert "\n" not in str(caught.value)
    assert best.read_bytes() == b"of the first run"
    assert not (tmp_path / "shards").exists()


def test_a_dry_run_beside_a_run_is_no_harm(options, alone, holder):
    train_models(options(model="A", dry_run=True), alone)


def test_a_killed_run_does_not_lock_the_folder_for_ever(tmp_path, alone, holder):
    holder.kill()
    holder.wait()
    restarted = dataclasses.replace(alone, restarted=True)
    with held_for_one_run(tmp_path / "saved", restarted):
        pass


def test_a_link_at_the_name_of_the_lock_is_not_followed(tmp_path, alone):
    (tmp_path / "saved").mkdir()
    (tmp_path / "mine.txt").write_text("text")
    (tmp_path / "saved" / LOCK_FILE).symlink_to(tmp_path / "mine.txt")
    with (
        pytest.raises(TrainingError, match=r"--save-dir .*saved: cannot be locked"),
        held_for_one_run(tmp_path / "saved", alone),
    ):
        pass
    assert (tmp_path / "mine.txt").read_text() == "text"
