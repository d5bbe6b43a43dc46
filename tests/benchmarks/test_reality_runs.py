"""Running the study: what is done is skipped, what is stopped leaves nothing, every kind of arm runs."""

import shutil
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from benchmarks import reality_runner, reality_training
from benchmarks.reality_choices import all_arms, off
from benchmarks.reality_inputs import INPUTS
from benchmarks.reality_results import read
from benchmarks.reality_runner import Runner, run_study
from benchmarks.reality_study import Study
from benchmarks.reality_training import EMA, RAW, ImpossibleTask, Trained, samples_of
from synthspine.shards.reading.open import SampleArrays
from synthspine.train.model.checkpoint import load_model
from synthspine.train.model.unet import UNet
from synthspine.train.plan import TrainingError

ROOT = Path(__file__).parents[2]


@pytest.fixture
def quick(monkeypatch):
    """Runs without training: a small network with its first weights; the names of the arms that ran."""
    ran = []

    def train(task, *_):
        ran.append(task.arm.name)
        network = UNet(num_classes=4, base_features=1)
        return Trained(weights={EMA: network, RAW: network}, loss=0.5, minutes=0.0, samples=1)

    monkeypatch.setattr(reality_runner, "train", train)
    return ran


def arms_in(path):
    return [key.arm for key in dict.fromkeys(row.key for row in read(path))]


def test_a_run_writes_its_lines_and_both_kinds_of_weights(study):
    asked = study(arms="contrast-t1")
    run_study(asked)
    rows = read(asked.csv)
    assert arms_in(asked.csv) == ["spine", "contrast-t1"]
    # Two contrasts, four resolutions, two patients; the reference twice.
    assert [sum(row.key.arm == arm for row in rows) for arm in ("spine", "contrast-t1")] == [32, 16]
    assert {row.patient for row in rows} == {"4", "5"}
    assert {row.factor for row in rows} == {1.0, 2.0, 3.0, 4.0}
    assert {(r.patient, r.contrast) for r in rows if not r.own_mask} == {("4", "t2")}
    runner = Runner(asked)
    for task in runner.tasks():
        for path in runner.checkpoints(runner.key(task)).values():
            assert load_model(path).checkpoint.step == 2


def test_what_is_done_is_skipped_and_what_is_missing_is_done(study, quick):
    asked = study(arms="contrast-t1")
    run_study(asked)
    assert quick == ["spine", "contrast-t1"]
    before = asked.csv.read_text()
    run_study(asked)
    assert len(quick) == 2 and asked.csv.read_text() == before
    quick.clear()
    run_study(study(arms="contrast-t1", seeds="0,1"))
    assert quick == ["spine", "contrast-t1"]
    quick.clear()
    lines = asked.csv.read_text().splitlines(keepends=True)
    asked.csv.write_text("".join(line for line in lines if not line.startswith("contrast-t1")))
    run_study(asked)
    assert quick == ["contrast-t1"]
    quick.clear()
    run_study(study(arms="contrast-t1", steps=3))
    run_study(study(arms="contrast-t1", fold="1"))
    assert quick == ["spine", "contrast-t1"] * 2


def test_an_arm_goes_on_from_the_reference_even_if_only_its_lines_are_there(study, quick):
    asked = study(arms="spine")
    run_study(asked)
    shutil.rmtree(asked.places.work_dir / "runs")
    run_study(study(arms="fine-tuned-1"))
    assert quick == ["spine", "spine", "fine-tuned-1"]
    assert len(read(asked.csv)) == 32 + 16


def test_scoring_again_changes_no_line(study, capsys):
    asked = study(arms="contrast-t1")
    run_study(asked)
    before = read(asked.csv)
    Runner(asked).rescore()
    assert read(asked.csv) == before
    assert capsys.readouterr().out.splitlines()[-1] == "2 of 2 runs were scored again"


def test_scoring_again_says_how_many_runs_could_not_be(study, quick, capsys):
    asked = study(arms="contrast-t1")
    run_study(asked)
    runner = Runner(asked)
    reference, arm = runner.tasks()
    runner.checkpoints(runner.key(arm))[EMA].unlink()
    before = read(asked.csv)
    again = Runner(study(arms="contrast-t1", seeds="0,1"))
    capsys.readouterr()
    again.rescore()
    said = capsys.readouterr().out.splitlines()
    assert said[:2] == [f"{reference.title}: scored again", "1 of 4 runs were scored again"]
    assert "their checkpoints are not in" in said[2]
    assert len(read(asked.csv)) == len(before)


def test_scoring_again_reads_the_csv_once_and_makes_every_key_once(study, quick, monkeypatch):
    asked = study(arms="contrast-t1", seeds="0,1")
    run_study(asked)
    shutil.rmtree(asked.places.work_dir / "runs")
    runner = Runner(asked)
    made, read_files = [], []
    key, read_rows = runner.key, reality_runner.results.read
    monkeypatch.setattr(runner, "key", lambda task: made.append(task.title) or key(task))
    monkeypatch.setattr(
        reality_runner.results, "read", lambda path: read_files.append(path) or read_rows(path)
    )
    runner.rescore()
    assert (len(made), len(read_files)) == (4, 1)


def test_a_run_that_fails_does_not_keep_the_others_from_running(study, quick, monkeypatch):
    good = reality_runner.train

    def train(task, *rest):
        if task.arm.name == "contrast-t1":
            raise TrainingError("the loss is not finite")
        return good(task, *rest)

    monkeypatch.setattr(reality_runner, "train", train)
    asked = study(arms="contrast-t1,contrast-t2")
    with pytest.raises(ValueError, match="failed: contrast-t1"):
        run_study(asked)
    assert arms_in(asked.csv) == ["spine", "contrast-t2"]


def test_other_code_makes_a_run_new_unless_old_ones_are_kept(study, quick, monkeypatch):
    asked = study(arms="spine")
    run_study(asked)
    monkeypatch.setattr(reality_runner, "code_hash", lambda: "other")
    (task,) = Runner(asked).tasks()
    assert not Runner(asked).is_done(task)
    assert Runner(replace(asked, keep_old=True)).is_done(task)


def test_old_runs_are_kept_whatever_the_generator_was_but_not_whatever_the_training(
    study, quick, monkeypatch
):
    asked = study(arms="spine")
    run_study(asked)
    runner = Runner(replace(asked, keep_old=True))
    (task,) = runner.tasks()
    other_generator = replace(task, arm=replace(task.arm, changes=off("sacrum")))
    other_training = replace(task, arm=replace(task.arm, training=replace(task.arm.training, lr=0.1)))
    assert runner.is_done(other_generator) and not Runner(asked).is_done(other_generator)
    assert not runner.is_done(other_training)
    assert not runner.is_done(replace(task, seed=1))


def test_a_stop_in_the_middle_of_a_run_leaves_nothing_of_it(study, monkeypatch):
    asked = study(arms="spine", seeds="0,1", steps=4)
    taken = []

    class Stepper(reality_training.Stepper):
        def take(self, step, *rest, **more):
            taken.append(step)
            if len(taken) == 6:
                signal.raise_signal(signal.SIGTERM)
            return super().take(step, *rest, **more)

    monkeypatch.setattr(reality_training, "Stepper", Stepper)
    with pytest.raises(KeyboardInterrupt):
        run_study(asked)
    assert taken == [0, 1, 2, 3, 0, 1]
    assert {row.key.seed for row in read(asked.csv)} == {0}
    assert len(list((asked.places.work_dir / "runs").iterdir())) == 2
    run_study(asked)
    assert {row.key.seed for row in read(asked.csv)} == {0, 1}


def test_a_run_that_another_process_is_at_is_left_to_it(study, quick):
    asked = study(arms="spine")
    first, second = Runner(asked), Runner(asked)
    (task,) = first.tasks()
    with first._claim(task, wait=False) as mine:
        assert mine
        second.run()
        assert read(asked.csv) == []
    second.run()
    assert arms_in(asked.csv) == ["spine"]


@pytest.mark.parametrize(
    ("arms", "samples"),
    [
        # Three patients with three slices of T1 and of T2 each.
        ("a-on-b-slices,b,b-strong,b-both", [18, 9, 9, 9, 18]),
        ("classes-14,input-standardised,input-percentiles,levels-4", [18] * 5),
        ("fine-tuned-1,fine-tuned-2", [18, 1, 2]),
    ],
)
def test_every_kind_of_arm_runs(study, arms, samples):
    asked = study(arms=arms)
    run_study(asked)
    found = {row.key.arm: row.samples for row in read(asked.csv)}
    assert sorted(found) == sorted([*arms.split(","), "spine"])
    assert sorted(found.values()) == sorted(samples)


def test_an_arm_that_needs_more_slices_than_there_are_is_left_out(study, quick, capsys, monkeypatch):
    monkeypatch.setattr(reality_runner, "train", reality_training.train)
    asked = study(arms="fine-tuned-10")
    run_study(asked)
    assert arms_in(asked.csv) == ["spine"]
    assert "has 9 slices to learn from, and arm fine-tuned-10 needs 10" in capsys.readouterr().out


def test_learning_takes_no_slice_of_a_measured_or_test_patient(study):
    runner = Runner(study(fold="all"))
    for task in runner.tasks():
        if task.arm.training.learns_from in ("phantom", "mixed"):
            continue
        try:
            samples = samples_of(task, runner.slices)
        except ImpossibleTask:
            continue
        learned = {str(record["patient"]) for record in samples.records}
        assert learned and not learned & (task.fold.validation | {"6"})


def test_slices_to_fine_tune_on_are_nested_and_differ_between_seeds(study):
    runner = Runner(study(seeds="0,1,2,3", arms="fine-tuned-1,fine-tuned-2,fine-tuned-5"))
    chosen = {}
    for task in runner.tasks():
        if task.arm.training.shots:
            records = samples_of(task, runner.slices).records
            chosen[task.seed, task.arm.training.shots] = [(r["source"], r["slice"]) for r in records]
    for seed in range(4):
        assert chosen[seed, 1] == chosen[seed, 2][:1] == chosen[seed, 5][:1]
    assert len({tuple(chosen[seed, 1]) for seed in range(4)}) > 1


def test_a_mixture_draws_from_the_phantom_as_often_as_from_real_maps(study):
    runner = Runner(study(arms="a0,a0-mixed"))
    maps = runner.slices.maps
    few = SampleArrays(None, np.full((4, 32, 32), 60, dtype=np.uint8), [{"patient": "1001"}] * 4)
    runner.slices.__dict__["phantom"] = few
    _, alone, mixed = (samples_of(task, runner.slices) for task in runner.tasks())
    assert alone is few
    phantoms = sum(record["patient"] == "1001" for record in mixed.records)
    assert phantoms == 18 == len(mixed.labels) // 2 and len(maps.labels) == 27


@pytest.mark.parametrize(
    ("changes", "hint"),
    [
        ({"arms": "spin"}, "no arm is called spin"),
        ({"group": "contrasts"}, "no group is called contrasts"),
        ({"seeds": "0,a"}, "--seeds '0,a'"),
        ({"seeds": ""}, "--seeds ''"),
        ({"steps": 0}, "steps 0 must be at least 1"),
        ({"jobs": 0}, "jobs 0 must be at least 1"),
        ({"folds": 1}, "folds 1 must be at least 2"),
        ({"fold": "9"}, "--fold '9': want fixed, all, or numbers from 0 to 1"),
        ({"fold": "0;1"}, "--fold '0;1'"),
    ],
)
def test_bad_choices_are_refused_by_name(study, changes, hint):
    with pytest.raises(ValueError, match=hint):
        study(**changes)


def test_the_usual_study_is_the_one_that_the_tables_show():
    assert (Study().steps, Study().batch_size) == (500, 4)


def test_a_training_follows_the_arm_in_its_loss(study):
    runner = Runner(study(arms="fine-tuned-1,no-balance,no-coarse-levels"))
    for task in runner.tasks():
        plan = reality_training._plan(task, runner.ranks)
        assert (plan.balanced, plan.coarse_levels) == (
            task.arm.training.balanced,
            task.arm.training.coarse_levels,
        )


def test_a_group_brings_its_arms_and_the_reference():
    chosen = Study(group="contrast", arms="b").chosen()
    assert chosen[0].name == "spine"
    assert {arm.group for arm in chosen[1:]} == {"contrast", "control"}
    assert len(Study().chosen()) == len(all_arms())


@pytest.mark.parametrize("name", [name for name in INPUTS if name != "as stored"])
def test_inputs_do_not_depend_on_brightness_and_contrast(name):
    torch.manual_seed(0)
    image = torch.rand(2, 1, 24, 20) * 0.5 + 0.25
    image[:, :, :4] = 0.0 if name != "min-max" else 0.25
    changed = torch.where(image > 0, image * 0.7 + (0.1 if name != "min-max" else 0.0), 0.0)
    torch.testing.assert_close(INPUTS[name](changed), INPUTS[name](image), atol=2e-2, rtol=0)


@pytest.mark.slow
def test_the_phantom_is_written_and_learned_from(study):
    asked = study(arms="a0")
    asked = replace(asked, places=replace(asked.places, phantom_patients=1))
    run_study(asked)
    assert arms_in(asked.csv) == ["spine", "a0"]


@pytest.mark.slow
@pytest.mark.parametrize("jobs", [1, 2])
def test_the_command_stops_in_good_order_and_goes_on(folder, tmp_path, jobs):
    csv = tmp_path / "found.csv"
    command = [sys.executable, "benchmarks/reality_gap.py", "run", "--arms", "b", "--seeds", "0,1,2,3"]
    command += ["--steps", "30", "--batch-size", "2", "--jobs", str(jobs), "--device", "cpu"]
    command += ["--data-dir", folder / "pairs", "--labels-dir", folder / "labels"]
    command += ["--split", folder / "split.json", "--csv", csv, "--work-dir", tmp_path / "work"]
    command += ["--spacing-mm", "4", "--shape", "32", "32"]
    process = subprocess.Popen(list(map(str, command)), cwd=ROOT)
    try:
        deadline = time.monotonic() + 100
        while not read(csv) and process.poll() is None and time.monotonic() < deadline:
            time.sleep(0.05)
        process.send_signal(signal.SIGTERM)
        assert process.wait(timeout=60) == 130
    finally:
        process.kill()
    counts = [sum(row.key == key for row in read(csv)) for key in {row.key for row in read(csv)}]
    assert 1 <= len(counts) < 8 and set(counts) <= {16, 32}
    subprocess.run(list(map(str, command)), cwd=ROOT, check=True, timeout=200)
    assert len({row.key for row in read(csv)}) == 8
