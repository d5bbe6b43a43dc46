import os
import signal
import time

import pytest

from train.checkpoint import load_checkpoint, read_payload


def finish(process, status=0):
    output, errors = process.communicate(timeout=200)
    assert process.returncode == status, output + errors
    return output, errors


def weights(folder, name="model_a_synthetic_last.pth"):
    return read_payload(folder / name)["network"]


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


@pytest.mark.slow
def test_a_killed_run_resumes_to_the_weights_of_an_unkilled_one(python, flags, tmp_path):
    epochs = ["--model", "A", "--epochs", "150"]
    finish(python("train/main.py", *flags, *epochs, "--save-dir", tmp_path / "whole"))
    killed = python("train/main.py", *flags, *epochs)
    snapshot = tmp_path / "saved" / "model_a_synthetic_last.pth"
    while not snapshot.exists():
        assert killed.poll() is None, "the run ended before it could be killed"
        time.sleep(0.02)
    killed.kill()
    killed.communicate()
    assert read_payload(snapshot)["step"] < 750
    finish(python("train/main.py", *flags, *epochs, "--resume"))
    whole, resumed = weights(tmp_path / "whole"), weights(tmp_path / "saved")
    assert all(whole[name].equal(resumed[name]) for name in whole)


@pytest.mark.slow
def test_sigterm_stops_all_ranks_at_one_step_and_the_run_goes_on(python, flags, tmp_path):
    arguments = ["train/main.py", *flags, "--model", "A", "--epochs", "400"]
    running = python(*arguments, ranks=2)
    log = tmp_path / "saved" / "model_a_synthetic_log.csv"
    while not log.exists():
        assert running.poll() is None, running.communicate()
        time.sleep(0.05)
    os.kill(running.pid, signal.SIGTERM)
    running.communicate(timeout=60)
    assert running.returncode != 0
    reached = read_payload(tmp_path / "saved" / "model_a_synthetic_last.pth")["step"]
    assert 0 < reached < 2000
    finish(python(*arguments, "--resume", "--epochs", "400", ranks=2))
    assert read_payload(tmp_path / "saved" / "model_a_synthetic_last.pth")["step"] > reached


@pytest.mark.slow
def test_torchrun_trains_both_models_in_step(python, flags, tmp_path):
    finish(python("train/main.py", *flags, ranks=2))
    for name in ("model_a_synthetic", "model_b_real"):
        assert load_checkpoint(tmp_path / "saved" / f"{name}_best.pth").step > 0
