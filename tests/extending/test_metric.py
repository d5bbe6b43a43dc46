"""The program of the document evaluates with a metric that the packages do not have."""

import csv
import json
import sys

import pytest
from extending_page import block

from synthspine.eval.metrics.table import METRICS

PROGRAM = block("A metric", "python")
KEY, TITLE = "volume_error", "volume error, %"


@pytest.fixture
def folder(tmp_path, spider_folder, save_untrained, monkeypatch):
    """The output of the program."""
    for seed, (model, name) in enumerate({"A": "model_a_synthetic", "B": "model_b_real"}.items()):
        save_untrained(tmp_path / "models" / f"{name}_best.pth", model, seed=seed, spacing_mm=2.0)
    arguments = [
        *("--data-dir", spider_folder, "--shards-dir", tmp_path / "shards", "--device", "cpu"),
        *("--split", spider_folder / "split.json", "--model-dir", tmp_path / "models"),
        *("--output-dir", tmp_path / "out", "--model", "compare", "--studies", "contrast"),
        *("--quick", "--overlays", 0, "--spacing-mm", 2.0, "--shape", 112, 96),
    ]
    monkeypatch.setattr(sys, "argv", ["my_evaluation.py", *map(str, arguments)])
    monkeypatch.setitem(METRICS, KEY, None)  # removes the metric when the test ends
    del METRICS[KEY]
    exec(PROGRAM, {"__name__": "__main__"})
    return tmp_path / "out"


def test_the_metric_is_measured_compared_and_written(folder):
    outcome = json.loads((folder / "outcome.json").read_text())
    assert outcome["metrics"][KEY]["title"] == TITLE
    measured = {(m["model"], m["set"]): m["patients"] for m in outcome["measurements"]}
    record = measured["A", "t1"]["3"]
    assert all(
        record[kind][name][KEY] >= 0 for kind in ("structures", "classes") for name in ("vertebra", "disc")
    )

    with (folder / "metrics.csv").open(newline="") as stream:
        rows = [row for row in csv.DictReader(stream) if row["metric"] == KEY]
    assert {(row["model"], row["set"], row["measure"]) for row in rows} == {
        (model, place, measure)
        for model in "AB"
        for place in ("t1", "t2")
        for measure in ("overall", "vertebra", "disc", "canal")
    }
    (row,) = (row for row in rows if (row["model"], row["set"], row["measure"]) == ("A", "t1", "vertebra"))
    values = [patient["structures"]["vertebra"][KEY] for patient in measured["A", "t1"].values()]
    assert float(row["mean"]) == pytest.approx(sum(values) / len(values), abs=1e-4)

    report = (folder / "report.md").read_text()
    heads = [line for line in report.splitlines() if line.startswith("| Set |") and f"| {TITLE} |" in line]
    assert [head.split(" | ")[1] for head in heads] == ["Structure", "Class"]
    assert f"| T1 | {TITLE} |" in report
    assert report.count("Volume error: difference of predicted and true pixels") >= 3
    assert f'<th scope="col">{TITLE}</th>' in (folder / "report.html").read_text()
