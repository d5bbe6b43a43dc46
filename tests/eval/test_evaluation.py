import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from eval.evaluation import EvaluationError, evaluate
from eval.options import EvaluationOptions
from shards.options import ShardOptions
from shards.slices import Grid
from train.checkpoint import CheckpointError

ROOT = Path(__file__).parents[2]
SPACING_MM = 2.0


@pytest.fixture
def options(tmp_path, spider_folder):
    def make(**changes):
        shards = ShardOptions(
            data_dir=spider_folder,
            shards_dir=str(tmp_path / "shards"),
            split=spider_folder / "split.json",
            device="cpu",
            grid=Grid(spacing_mm=SPACING_MM, shape=(112, 96)),
        )
        given = {
            "model_dir": tmp_path / "models",
            "output_dir": tmp_path / "out",
            "resolution_factors": "1",
            "shards": shards,
        }
        return EvaluationOptions(**(given | changes))

    return make


@pytest.fixture
def trained(tmp_path, save_untrained):
    def save(*models, spacing_mm=SPACING_MM, **changes):
        files = {"A": "model_a_synthetic_best.pth", "B": "model_b_real_best.pth"}
        for seed, model in enumerate(models):
            path = tmp_path / "models" / files[model]
            save_untrained(path, model, seed=seed, spacing_mm=spacing_mm, **changes)

    return save


def test_both_models_are_measured_on_both_contrasts_at_every_factor(options, trained, tmp_path):
    trained("A", "B")
    written = evaluate(options(model="compare", resolution_factors="1,3"), say=lambda line: None)
    assert all(path.is_file() for path in written)
    metrics = json.loads((tmp_path / "out" / "metrics.json").read_text())
    measured = [(r["model"], r["contrast"], r["resolution_factor"]) for r in metrics["results"]]
    assert sorted(measured) == sorted((m, c, f) for m in "AB" for c in ("t1", "t2") for f in (1.0, 3.0))
    assert metrics["results"][0]["n_patients"] == 2
    assert set(metrics["results"][0]["patients"]) == {"3", "4"}
    assert metrics["phantom"] is False


def test_missing_model_is_reported_and_the_other_measured(options, trained, tmp_path):
    trained("A")
    lines = []
    evaluate(options(), say=lines.append)
    assert any("model B is left out" in line for line in lines)
    metrics = json.loads((tmp_path / "out" / "metrics.json").read_text())
    assert {result["model"] for result in metrics["results"]} == {"A"}
    assert "model_b_real_best.pth" in metrics["missing"]["B"]


def test_a_model_that_learned_from_a_measured_patient_is_refused(options, trained):
    trained("A", config=json.dumps({"train_patients": ["1", "3"]}))
    with pytest.raises(EvaluationError, match=r"model_a.*trained on patient 3,"):
        evaluate(options(), say=lambda line: None)


def test_no_model_at_all_is_an_error(options):
    with pytest.raises(EvaluationError, match="no model to evaluate"):
        evaluate(options(), say=lambda line: None)


def test_other_number_of_classes_than_asked_for_is_an_error(options, trained):
    trained("A")
    with pytest.raises(CheckpointError, match="has 4 classes, but --num-classes is 14"):
        evaluate(options(num_classes=14), say=lambda line: None)


def test_fourteen_class_model_is_scored_by_class_too(options, trained, tmp_path):
    trained("A", num_classes=14)
    evaluate(options(model="A"), say=lambda line: None)
    assert "## By class" in (tmp_path / "out" / "report.md").read_text()


def test_model_of_another_pixel_size_is_an_error(options, trained):
    trained("A", spacing_mm=0.5)
    with pytest.raises(EvaluationError, match=r"trained at 0.5 mm, but the sets have 2 mm"):
        evaluate(options(model="A"), say=lambda line: None)


def test_contrast_without_slices_is_left_out(options, trained, spider_folder, tmp_path):
    for path in spider_folder.glob("*/*_t2.mha"):
        path.unlink()
    trained("A")
    lines = []
    evaluate(options(model="A"), say=lines.append)
    assert any("T2 is left out" in line for line in lines)
    assert set(json.loads((tmp_path / "out" / "metrics.json").read_text())["sets"]) == {"t1"}


def test_no_slices_at_all_is_an_error(options, trained, spider_folder):
    trained("A")
    split = {"train": ["1", "2", "3", "4"], "validation": [], "test": []}
    (spider_folder / "split.json").write_text(json.dumps(split))
    with pytest.raises(EvaluationError, match="no image of a validation patient"):
        evaluate(options(), say=lambda line: None)


def test_minutes_come_from_the_training_log(options, trained, tmp_path):
    trained("A")
    (tmp_path / "models" / "model_a_synthetic_log.csv").write_text("step,minutes\n10,1.5\n20,3.25\n")
    evaluate(options(model="A"), say=lambda line: None)
    metrics = json.loads((tmp_path / "out" / "metrics.json").read_text())
    assert metrics["models"]["A"]["minutes"] == 3.25


def test_command_evaluates_and_says_what_it_wrote(options, trained, tmp_path, spider_folder):
    trained("A", "B")
    arguments = [
        *("--data-dir", spider_folder, "--shards-dir", tmp_path / "shards", "--device", "cpu"),
        *("--split", spider_folder / "split.json", "--model-dir", tmp_path / "models"),
        *("--output-dir", tmp_path / "out", "--resolution-factors", "1.0,2.5", "--model", "compare"),
        *("--spacing-mm", SPACING_MM, "--shape", 112, 96),
    ]
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    command = [sys.executable, "eval/main.py", *map(str, arguments)]
    result = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stderr
    assert f"wrote {tmp_path / 'out' / 'report.md'}" in result.stdout


def test_command_says_in_one_line_what_is_wrong(tmp_path):
    command = [sys.executable, "eval/main.py", "--model-dir", str(tmp_path / "nothing")]
    result = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert result.returncode == 1
    assert result.stderr.splitlines()[-1].startswith("error: no model to evaluate in")
