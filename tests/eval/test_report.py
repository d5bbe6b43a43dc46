import csv
import json
import math

import numpy as np
import pytest

from eval.figures import Overlay
from eval.report import as_csv, as_json, as_markdown, write_report


def overlay():
    truth = np.zeros((32, 32), dtype=np.uint8)
    truth[8:16, 8:16] = 1
    return Overlay(
        title="T1",
        image=np.zeros((32, 32)),
        inside=np.ones((32, 32), dtype=bool),
        maps={"truth": truth, "Model A": truth},
    )


def test_report_writes_all_files_and_shows_its_figures(tmp_path, outcome):
    written = write_report(outcome(), [overlay()], tmp_path / "new" / "folder")
    assert [path.name for path in written] == [
        "metrics.json",
        "metrics.csv",
        "contrast_shift.png",
        "resolution.png",
        "samples.png",
        "report.md",
    ]
    assert all(path.stat().st_size for path in written)
    text = written[-1].read_text()
    for path in written[2:5]:
        assert f"({path.name})" in text


def test_json_has_no_nan(tmp_path, outcome):
    measured = outcome()
    measured.results["A", "t1", 1.0]["structures"]["disc"] = {"dice": math.nan, "n": 0}
    metrics = write_report(measured, [overlay()], tmp_path)[0]

    def refuse(name):
        raise AssertionError(name)

    loaded = json.loads(metrics.read_text(), parse_constant=refuse)
    assert loaded["results"][0]["structures"]["disc"] == {"dice": None, "n": 0}
    assert loaded["models"]["A"]["minutes"] == 12.5


def test_csv_has_a_row_for_every_number(outcome):
    rows = list(csv.DictReader(as_csv(outcome()).splitlines()))
    assert len(rows) == 8 * (1 + 3 + 3)
    disc = next(
        row
        for row in rows
        if (row["model"], row["contrast"], row["resolution_factor"], row["kind"], row["name"])
        == ("B", "t2", "4", "structure", "disc")
    )
    assert (disc["dice"], disc["n"], disc["pixel_mm"]) == ("0.2500", "2", "4")


def test_report_says_how_dice_was_aggregated_and_over_how_many(outcome):
    text = as_markdown(outcome(), compare=False)
    assert "Dice per patient" in text
    assert "T1: 2 patients, 6 slices" in text
    assert "0.800 (2)" in text


@pytest.mark.parametrize("phantom", [True, False])
def test_report_marks_phantom_figures_and_only_those(outcome, phantom):
    text = as_markdown(outcome(phantom=phantom), compare=False)
    assert ("Smoke figures from the phantom" in text) is phantom
    assert ("van der Graaf" in text) is not phantom


@pytest.mark.parametrize("compare", [True, False])
def test_comparison_adds_the_reality_gap(outcome, compare):
    assert ("## Reality gap" in as_markdown(outcome(), compare=compare)) is compare


def test_missing_model_is_named(outcome):
    text = as_markdown(outcome(models=("A",)), compare=True)
    assert "Model B was not evaluated: models/B.pth is not there." in text
    assert "Both models are needed" in text


def test_checkpoint_and_minutes_are_told(outcome):
    text = as_markdown(outcome(), compare=False)
    assert "| A (synthetic only) | `models/A.pth` | 4 | 0.49 M | 100 | 12.5 | 0.700 |" in text
    assert "| B (real T1) | `models/B.pth` | 4 | 0.49 M | 100 | unknown | 0.700 |" in text


@pytest.mark.parametrize(("classes", "shown"), [(14, True), (4, False)])
def test_classes_are_shown_for_models_that_tell_ranks_apart(outcome, classes, shown):
    text = as_markdown(outcome(classes=classes), compare=False)
    assert ("## By class" in text) is shown
    assert ("disc L5/S1" in text) is shown


def test_undefined_dice_is_not_a_number_in_the_table(outcome):
    measured = outcome()
    measured.results["A", "t1", 1.0]["structures"]["disc"] = {"dice": math.nan, "n": 0}
    assert "n/a (0)" in as_markdown(measured, compare=False)
    assert ",structure,disc,,0" in as_csv(measured)


def test_json_tells_the_phantom(outcome):
    assert as_json(outcome(phantom=True))["phantom"] is True
