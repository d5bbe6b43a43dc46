import os
import re
import signal
import sys
import time
from pathlib import Path

import pytest
import torch

from synthspine.train import main
from synthspine.train.losses import LOSSES
from synthspine.train.model.checkpoint import SNAPSHOT_FORMAT, load_checkpoint, unpack_payload
from synthspine.train.runtime.distributed import Ranks
from synthspine.train.save_lock import held_for_one_run


def finish(process, status=0):
    output, errors = process.communicate(timeout=200)
    assert process.returncode == status, output + errors
    return output, errors


def snapshots(folder):
    return sorted((folder / "saved").glob("model_a_synthetic_last-????????.pth"))


def newest(folder):
    path = snapshots(folder)[-1]
    return unpack_payload(path.read_bytes(), path, SNAPSHOT_FORMAT)


def wait_for_snapshot(process, folder):
    while not snapshots(folder):
        assert process.poll() is None, process.communicate()
        time.sleep(0.02)


def ranks_of(launcher):
    """Process numbers of the training processes that torchrun started, lowest rank first."""
    children = Path(f"/proc/{launcher.pid}/task/{launcher.pid}/children").read_text().split()
    training = [int(child) for child in children if b"train/main.py" in cmdline(child)]

    def rank(process):
        variables = Path(f"/proc/{process}/environ").read_bytes().split(b"\0")
        return next(int(text[5:]) for text in variables if text.startswith(b"RANK="))

    return sorted(training, key=rank)


def cmdline(process):
    return Path(f"/proc/{process}/cmdline").read_bytes()


def assert_same_end(first, second):
    first, second = newest(first), newest(second)
    assert first["progress"]["step"] == second["progress"]["step"]
    for state in ("network", "average"):
        assert all(first[state][name].equal(second[state][name]) for name in first[state])


def test_the_command_trains_a_model_and_says_what_it_wrote(python, flags, tmp_path):
    output, errors = finish(python("train/main.py", "--model", "A", *flags))
    best = tmp_path / "saved" / "model_a_synthetic_best.pth"
    assert load_checkpoint(best).model == "A"
    assert output.splitlines()[-2:] == [
        f"wrote {best}",
        f"wrote {best.with_name('model_a_synthetic_log.csv')}",
    ]
    assert "step/s" in errors or "s/step" in errors


def test_a_missing_folder_is_one_line_without_a_traceback(python, flags, tmp_path):
    _, errors = finish(python("train/main.py", *flags, "--data-dir", tmp_path / "nowhere"), status=1)
    assert errors.startswith("error: ")
    assert "nowhere" in errors
    assert "Traceback" not in errors
    assert len(errors.splitlines()) == 1


def test_a_wrong_choice_is_told_without_a_traceback(python, flags):
    process = python("train/main.py", *flags, "--num-classes", "6")
    _, errors = process.communicate(timeout=200)
    assert process.returncode != 0
    assert "no label scheme has 6 classes" in errors
    assert "Traceback" not in errors


def test_memory_that_runs_out_in_a_step_is_one_line_with_what_helps(flags, monkeypatch, capsys):
    def runs_out(*_, **__):
        raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB. GPU 0 has a total")

    monkeypatch.setitem(LOSSES, "dice-ce", runs_out)
    monkeypatch.setattr(sys, "argv", ["train/main.py", "--model", "A", *flags])
    assert main.main(ends_process=False) == 1
    errors = capsys.readouterr().err.splitlines()
    (line,) = [line for line in errors if line.startswith("error: ")]
    assert "the memory of GPU ran out, 2.00 GiB more wanted" in line
    for flag in ("--accumulate", "--batch-size", "--base-features", "--precision bf16", "--render-batch"):
        assert flag in line
    assert not any("Traceback" in line for line in errors)


@pytest.mark.parametrize("wanted", [False, True])
def test_deterministic_mode_lasts_for_the_training(flags, monkeypatch, wanted):
    seen = []
    monkeypatch.setattr(
        main, "train_models", lambda *_: seen.append(torch.are_deterministic_algorithms_enabled())
    )
    flag = "--deterministic" if wanted else "--no-deterministic"
    monkeypatch.setattr(sys, "argv", ["train/main.py", *flags, flag])
    assert main.main(ends_process=False) == 0
    assert seen == [wanted]


LATE_SIGNALS = """
import atexit, os, signal, sys
from synthspine.train import main, trainer

save = trainer.SnapshotFolder.save
def saved(self, step, data):
    path = save(self, step, data)
    if step == 6:
        os.kill(os.getpid(), signal.SIGTERM)
    return path
trainer.SnapshotFolder.save = saved
atexit.register(lambda: os.kill(os.getpid(), signal.SIGTERM))

class AtTheVeryEnd:
    kill, number, process = os.kill, signal.SIGTERM, os.getpid()
    def __del__(self):
        self.kill(self.process, self.number)

sys.last_object = AtTheVeryEnd()
sys.exit(main.main(ends_process=True))
"""


def test_signals_after_the_last_step_was_saved_do_not_change_the_status(python, flags, tmp_path):
    output, errors = finish(python("-c", LATE_SIGNALS, "--model", "A", *flags))
    assert "wrote" in output
    assert "Traceback" not in errors
    assert newest(tmp_path)["progress"]["step"] == 6


def test_the_second_of_two_runs_with_one_save_folder_is_refused(python, flags, tmp_path):
    with held_for_one_run(tmp_path / "saved", Ranks(rank=0, world_size=1, device=torch.device("cpu"))):
        _, errors = finish(python("train/main.py", "--model", "B", *flags), status=1)
    assert re.fullmatch(r"error: --save-dir .*saved: another training writes there; .*\n", errors)
    assert not (tmp_path / "saved").exists()


LONG = ["--model", "A", "--epochs", "100", "--snapshot-minutes", "0.01"]
LAST_STEP = 300


@pytest.mark.slow
def test_a_killed_run_resumes_to_the_weights_of_an_unkilled_one(python, flags, tmp_path):
    finish(python("train/main.py", *flags, *LONG, "--save-dir", tmp_path / "whole" / "saved"))
    killed = python("train/main.py", *flags, *LONG)
    wait_for_snapshot(killed, tmp_path)
    killed.kill()
    killed.communicate()
    assert newest(tmp_path)["progress"]["step"] < LAST_STEP
    finish(python("train/main.py", *flags, *LONG, "--resume", "auto"))
    assert_same_end(tmp_path / "whole", tmp_path)


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_ends_a_run_with_status_0_and_it_goes_on(python, flags, tmp_path, number):
    running = python("train/main.py", *flags, *LONG)
    wait_for_snapshot(running, tmp_path)
    running.send_signal(number)
    _, errors = finish(running)
    reached = newest(tmp_path)["progress"]["step"]
    assert f"model A: stopped after step {reached} of {LAST_STEP}, state saved in" in errors
    assert "go on with the same command and --resume auto" in errors
    assert "Traceback" not in errors
    assert reached < LAST_STEP
    assert not list((tmp_path / "saved").glob(".tmp-*"))
    output, _ = finish(python("train/main.py", *flags, *LONG, "--resume", "auto"))
    assert f"going on from step {reached}" in output
    assert newest(tmp_path)["progress"]["step"] == LAST_STEP


@pytest.mark.slow
def test_sigterm_while_sets_are_made_ends_with_status_0_and_the_training_can_begin(python, flags, tmp_path):
    running = python("train/main.py", *flags, "--model", "A")
    place = tmp_path / "shards"
    while not place.is_dir():
        assert running.poll() is None, running.communicate()
        time.sleep(0.001)
    running.send_signal(signal.SIGTERM)
    _, errors = finish(running)
    # Small sets may be done before the signal comes; then it is the training that stops.
    assert re.search("stopped (before the training began|after step)", errors)
    assert "Traceback" not in errors
    finish(python("train/main.py", *flags, "--model", "A", "--resume", "auto"))


@pytest.mark.slow
def test_a_signal_to_one_rank_stops_all_ranks_and_torchrun_ends_with_status_0(python, flags, tmp_path):
    running = python("train/main.py", *flags, *LONG, ranks=2, restarts=2)
    wait_for_snapshot(running, tmp_path)
    os.kill(ranks_of(running)[1], signal.SIGTERM)
    _, errors = finish(running)
    assert errors.count("stopped after step") == 1
    assert newest(tmp_path)["progress"]["step"] < LAST_STEP


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_to_torchrun_stops_all_ranks_with_the_state_saved(python, flags, tmp_path, number):
    running = python("train/main.py", *flags, *LONG, ranks=2)
    wait_for_snapshot(running, tmp_path)
    running.send_signal(number)
    _, errors = running.communicate(timeout=60)
    reached = newest(tmp_path)["progress"]["step"]
    # torchrun itself ends with the signal, whatever its processes say.
    assert f"stopped after step {reached} of {LAST_STEP}" in errors
    assert reached < LAST_STEP
    finish(python("train/main.py", *flags, *LONG, "--resume", "auto", ranks=2))
    assert newest(tmp_path)["progress"]["step"] == LAST_STEP


@pytest.mark.slow
@pytest.mark.parametrize("rank", [0, 1])
def test_torchrun_goes_on_from_the_snapshot_when_a_rank_is_killed(python, flags, tmp_path, rank):
    whole = python("train/main.py", *flags, *LONG, "--save-dir", tmp_path / "whole" / "saved", ranks=2)
    finish(whole)
    running = python("train/main.py", *flags, *LONG, ranks=2, restarts=2)
    wait_for_snapshot(running, tmp_path)
    os.kill(ranks_of(running)[rank], signal.SIGKILL)
    output, _ = finish(running)
    assert re.search(r"going on from step [1-9]\d* ", output)
    assert_same_end(tmp_path / "whole", tmp_path)


@pytest.mark.slow
def test_all_ranks_end_alike_where_the_save_folder_cannot_be_written(python, flags, tmp_path):
    (tmp_path / "file").touch()
    process = python("train/main.py", *flags, "--save-dir", tmp_path / "file", ranks=2)
    _, errors = process.communicate(timeout=200)
    assert process.returncode == 1
    assert re.search(r"^error: --save-dir .*file is a file, not a folder$", errors, re.MULTILINE)
    # Nobody was left waiting for a rank that is gone.
    assert "Connection" not in errors


@pytest.mark.slow
def test_torchrun_trains_both_models_in_step(python, flags, tmp_path):
    finish(python("train/main.py", *flags, ranks=2))
    for name in ("model_a_synthetic", "model_b_real"):
        assert load_checkpoint(tmp_path / "saved" / f"{name}_best.pth").step > 0
