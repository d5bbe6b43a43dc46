"""Models of other label schemes, from checkpoint to report."""

import json
import re
from pathlib import Path

import pytest

from synthspine.eval.evaluation import evaluate
from synthspine.eval.studies.options import EvaluationOptions
from synthspine.gen.core.schemes import RANKS, label_scheme
from synthspine.shards.building.options import ShardOptions
from synthspine.shards.readers.slices import Grid

SCHEMES = Path(__file__).parents[1] / "schemes"
FILES = {"A": "model_a_synthetic_best.pth", "B": "model_b_real_best.pth"}


@pytest.fixture
def evaluated(tmp_path, spider_folder, save_untrained):
    """Evaluates untrained models of schemes; the outcome and the folder."""

    def run(schemes, **changes):
        for seed, (model, scheme) in enumerate(schemes.items()):
            path = tmp_path / "models" / FILES[model]
            save_untrained(path, model, seed=seed, spacing_mm=2.0, scheme=scheme)
        shards = ShardOptions(
            data_dir=spider_folder,
            shards_dir=str(tmp_path / "shards"),
            split=spider_folder / "split.json",
            device="cpu",
            grid=Grid(spacing_mm=2.0, shape=(112, 96)),
        )
        options = EvaluationOptions(
            model_dir=tmp_path / "models", output_dir=tmp_path / "out", quick=True, shards=shards, **changes
        )
        evaluate(options, lambda line: None)
        return json.loads((tmp_path / "out" / "outcome.json").read_text()), tmp_path / "out"

    return run


def rows_of(report, title):
    """Cells of the rows of a table of the report, by the first three cells."""
    part = report.split(f"### {title}\n")[1].strip().split("\n\n")[0]
    rows = [re.split(r" \| ", line.strip("| ")) for line in part.splitlines()[2:]]
    return {tuple(row[:3]): row[3:] for row in rows}


def test_the_sacrum_is_scored_where_the_generator_painted_it_alone(evaluated):
    scheme = label_scheme(SCHEMES / "sacrum.yaml")
    outcome, folder = evaluated({"A": scheme}, model="A", studies=("contrast", "synthetic"), overlays=1)
    assert outcome["structures"] == scheme.to_dict()["structures"]
    assert outcome["models"]["A"]["scheme"] == "sacrum"
    assert outcome["models"]["A"]["classes"] == list(scheme.class_names)
    records = {m["set"]: m["patients"] for m in outcome["measurements"]}
    for place in ("t1", "t2"):
        for record in records[place].values():
            assert record["structures"]["sacrum"]["dice"] is None
            assert record["structures"]["sacrum"]["invented"] == [0, 0]
            assert record["structures"]["vertebra"]["dice"] is not None
    painted = [record["structures"]["sacrum"] for record in records["synthetic"].values()]
    assert sum(entry["missed"][1] for entry in painted) > 0
    assert any(entry["dice"] is not None for entry in painted)
    assert outcome["overlays"][0]["dice"]["sacrum"] is None
    rows = rows_of((folder / "report.md").read_text(), "Every structure, every metric")
    assert rows["T1", "sacrum", "A"] == [*["–"] * 5, "– (0/0)", "– (0/0)", "0"]
    assert rows["synthetic", "sacrum", "A"][0].startswith(".")
    assert ">sacrum</th>" in (folder / "report.html").read_text()


def test_vertebrae_of_two_classes_are_compared_as_whole_ones(evaluated):
    scheme = label_scheme(SCHEMES / "posterior.yaml")
    outcome, folder = evaluated({"A": scheme, "B": RANKS}, model="compare", studies=("contrast",), overlays=0)
    assert list(outcome["structures"]) == ["vertebra", "disc", "canal"]
    measured = {(m["model"], m["set"]): m["patients"] for m in outcome["measurements"]}
    record = measured["A", "t1"]["3"]
    assert list(record["classes"]) == list(scheme.class_names[1:])
    # Spinous processes are drawn, so both parts are in the truth.
    assert record["classes"]["posterior elements"]["missed"][1] == record["classes"]["body"]["missed"][1] == 1
    assert list(measured["B", "t1"]["3"]["classes"]) == list(RANKS.class_names[1:])
    report = (folder / "report.md").read_text()
    assert ("T1", "posterior elements", "A") in rows_of(report, "Every class")
    compared = rows_of(report, "A against B: Dice on the same patients")
    assert {row[1] for row in compared} == {"overall", "vertebra", "disc", "canal"}
    assert "Overall: mean of vertebra, disc and canal." in report
