"""The proof on a GPU: steps are run in order, noted, bounded and done once; the dry run does all of them."""

import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from benchmarks import gpu_proof
from benchmarks.gpu_proof import Arguments, Step, run_steps, steps_of

ROOT = Path(__file__).parents[2]
CPU = torch.device("cpu")


def step(name, code, weight=1.0, **more):
    return Step(name=name, weight=weight, command=lambda _: [sys.executable, "-c", code], **more)


def outcome(out, name):
    return json.loads((out / f"{name}.json").read_text())


def test_a_step_that_fails_is_noted_and_the_next_goes_on(tmp_path):
    table = tmp_path / "metrics.csv"
    steps = [
        step("bad", "print('it broke'); raise SystemExit(3)"),
        step("good", f"open({str(table)!r}, 'w').write('dice'); print('fine')", keep=(table,)),
        Step(name="odd", weight=1.0, command=lambda _: 1 / 0),
    ]
    out = tmp_path / "out"
    assert not run_steps(steps, out, 60, CPU)
    assert outcome(out, "bad")["state"] == "failed with status 3"
    assert outcome(out, "bad")["error"] == "it broke"
    assert outcome(out, "odd")["state"] == "failed: division by zero"
    assert outcome(out, "good")["state"] == "done"
    assert (out / "good.txt").read_text() == "fine\n" and (out / "good" / "metrics.csv").exists()
    summary = (out / "summary.md").read_text()
    assert "| good | done |" in summary and "good/metrics.csv" in summary and "it broke" in summary


def test_what_is_done_is_not_done_again_and_what_failed_is(tmp_path):
    count = (
        "import pathlib; p = pathlib.Path({!r}); p.write_text((p.read_text() if p.exists() else '') + 'x')"
    )
    counts = [str(tmp_path / "first"), str(tmp_path / "second")]
    steps = [
        step("first", count.format(counts[0])),
        step("second", count.format(counts[1]) + "; raise SystemExit(len(p.read_text()) < 2)"),
    ]
    assert not run_steps(steps, tmp_path / "out", 60, CPU)
    assert run_steps(steps, tmp_path / "out", 60, CPU)
    assert [Path(path).read_text() for path in counts] == ["x", "xx"]


def test_a_step_that_takes_too_long_is_stopped_with_what_it_started(tmp_path, monkeypatch):
    monkeypatch.setattr(gpu_proof, "_GRACE_S", 0.2)
    deaf = "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); print('begun', flush=True); "
    assert not run_steps([step("slow", deaf + "time.sleep(60)")], tmp_path, 1.5, CPU)
    found = outcome(tmp_path, "slow")
    assert found["state"].startswith("stopped after") and found["seconds"] < 20


def test_time_that_is_left_goes_to_later_steps_and_none_begins_without(tmp_path):
    limits = []

    def command(seconds):
        limits.append(seconds)
        return [sys.executable, "-c", ""]

    steps = [Step(name=name, weight=1.0, command=command) for name in ("a", "b")]
    run_steps(steps, tmp_path, 40, CPU)
    assert 19 < limits[0] <= 20 < limits[1] <= 40
    assert not run_steps([replace(steps[0], name="c")], tmp_path, 0, CPU)
    assert not (tmp_path / "c.json").exists()


def test_epochs_follow_the_rate_that_was_measured(tmp_path):
    assert gpu_proof.epochs(tmp_path, tmp_path, 100) == 6
    assert gpu_proof.epochs(tmp_path, tmp_path, 900) == 6  # a training goes on with the same number
    (tmp_path / "work" / "epochs.txt").unlink()
    (tmp_path / "training").mkdir()
    row = "| (b) Model A, rendered one batch ahead (as in training) | 2,000.5 | 1,900.0 | 2,100.0 | 90 % |"
    (tmp_path / "training" / "training_cuda.md").write_text(f"| way | images/s |\n{row}\n")
    assert gpu_proof.epochs(tmp_path, tmp_path, 100) == 120


def test_the_gpu_runs_the_steps_of_the_dry_run_and_real_slices_where_there_are_some(tmp_path):
    dry, plain, real = (
        steps_of(arguments, tmp_path)
        for arguments in (Arguments(dry_run=True), Arguments(), Arguments(real=tmp_path))
    )
    assert [each.name for each in dry] == [each.name for each in real]
    assert [each.name for each in plain] == [each.name for each in dry][:-1]
    words = [str(word) for each in plain for word in each.command(60)]
    assert "cpu" not in words and words.count("cuda") == len(plain)


@pytest.mark.timeout(900)
def test_the_dry_run_does_every_step(tmp_path):
    command = [sys.executable, "benchmarks/gpu_proof.py", "--dry-run", "--minutes", "14", "--out", tmp_path]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    out = tmp_path / "dry-run"
    summary = (out / "summary.md").read_text()
    assert done.returncode == 0, f"{done.stderr[-2000:]}\n{summary}"
    assert summary.count("| done |") == 9
    assert (out / "real-slices" / "metrics.csv").read_text().count("\n") > 2
