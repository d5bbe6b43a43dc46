import hashlib
import json
from collections import Counter
from dataclasses import replace
from datetime import datetime, timedelta

import pytest

from synthspine.eval.evaluation import evaluate
from synthspine.eval.results.outcome import FORMAT
from synthspine.eval.studies.measure import measure
from synthspine.eval.studies.models import EvaluationError
from synthspine.eval.studies.options import EvaluationOptions
from synthspine.shards.building.options import DEFAULT_DATA_DIR, ShardOptions
from synthspine.shards.building.sets import ensure_sets
from synthspine.shards.format.manifest import load_manifest
from synthspine.shards.readers.folder import SpiderError
from synthspine.shards.readers.slices import Grid
from synthspine.shards.storage.opening import open_place
from synthspine.train.model.checkpoint import CheckpointError

SPACING_MM = 2.0
TOPS = {"noise": 0.2, "bias": 0.8, "motion": 4.0, "ghosting": 0.2}
"""Greatest level of each corruption by default."""


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
            "studies": ("contrast",),
            "overlays": 0,
            "shards": replace(shards, **changes.pop("shards", {})),
        }
        return EvaluationOptions(**(given | changes))

    return make


@pytest.fixture(autouse=True)
def reported(monkeypatch):
    """The outcomes that were handed to the report, which takes longer than these tests."""
    handed = []

    def note(outcome, folder, *_):
        assert json.loads((folder / "outcome.json").read_text()) == outcome
        handed.append(outcome)
        return []

    monkeypatch.setattr("synthspine.eval.evaluation.write_report", note)
    return handed


@pytest.fixture
def trained(tmp_path, save_untrained):
    def save(*models, spacing_mm=SPACING_MM, **changes):
        files = {"A": "model_a_synthetic_best.pth", "B": "model_b_real_best.pth"}
        for seed, model in enumerate(models):
            path = tmp_path / "models" / files[model]
            save_untrained(path, model, seed=seed, spacing_mm=spacing_mm, **changes)

    return save


def outcome_of(tmp_path):
    return json.loads((tmp_path / "out" / "outcome.json").read_text())


def quiet(line):
    """Say nothing."""


def test_both_models_are_measured_under_every_condition(options, trained, tmp_path, reported):
    trained("A", "B")
    written = evaluate(options(model="compare", studies=("all",), quick=True, overlays=1), quiet)
    assert written == [tmp_path / "out" / "outcome.json"]
    (outcome,) = reported
    measured = Counter((m["model"], m["study"], m["set"], m["value"]) for m in outcome["measurements"])
    corruptions = [(f"corruption_{kind}", (0.0, top)) for kind, top in TOPS.items()]
    # Three stored slices of each series have no thickness of 4.
    resolutions = [("resolution_in_plane", (1.0, 4.0)), ("resolution_through_plane", (1.0, 3.0))]
    assert outcome["dropped"]["resolution_through_plane"].startswith("4x on T1, where no slice has 2")
    expected = [
        (model, study, place, value)
        for model in "AB"
        for study, values in [("contrast", (0.0,)), *resolutions, *corruptions]
        for place in ("t1", "t2")
        for value in values
    ] + [
        (model, study, "synthetic", value)
        for model in "AB"
        for study, values in [("synthetic", (0.0,)), ("continuum", (0.0, 1.0)), ("physical", (0.0, 1.0, 2.0))]
        for value in values
    ]
    assert measured == Counter(expected)
    assert all(set(m["patients"]) == {"3", "4"} for m in outcome["measurements"])
    assert all(facts["slices"] == 1 for m in outcome["measurements"] for facts in m["patients"].values())
    assert outcome["format"] == FORMAT and outcome["part"] == "validation" and outcome["compare"] is True
    assert set(outcome["sets"]) == {"t1", "t2", "synthetic"}
    assert "t2_SPACE" in outcome["left_out"]
    assert {entry["case"] for entry in outcome["overlays"]} == {"worst", "median"}
    assert all((tmp_path / "out" / entry["file"]).is_file() for entry in outcome["overlays"])


def test_a_second_run_takes_everything_from_the_cache(options, trained, tmp_path, monkeypatch):
    trained("A")
    chosen = options(studies=("contrast", "corruption_noise"), quick=True, overlays=1)
    evaluate(chosen, quiet)
    first = outcome_of(tmp_path)

    def refuse(*arguments, **more):
        raise AssertionError("measured again")

    with monkeypatch.context() as patch:
        patch.setattr("synthspine.eval.evaluation.measure", refuse)
        patch.setattr("synthspine.eval.report.pictures.slice_dices", refuse)
        lines = []
        evaluate(chosen, lines.append)
    second = outcome_of(tmp_path)
    assert any("from the cache" in line for line in lines)
    assert second["measurements"] == first["measurements"]
    assert (first["cached"], second["cached"]) == (0, 4)
    assert second["overlays"] == first["overlays"]


def test_another_checkpoint_a_spoilt_entry_and_fresh_are_measured(options, trained, tmp_path, monkeypatch):
    calls = []

    def counted(*arguments, **more):
        calls.append(arguments)
        return measure(*arguments, **more)

    monkeypatch.setattr("synthspine.eval.evaluation.measure", counted)
    trained("A")
    chosen = options(quick=True)
    evaluate(chosen, quiet)
    before = outcome_of(tmp_path)["measurements"]
    assert len(calls) == 2
    entry = sorted((tmp_path / "out" / "cache").iterdir())[0]
    entry.write_text(entry.read_text()[:-30])
    evaluate(chosen, quiet)
    assert len(calls) == 3 and outcome_of(tmp_path)["measurements"] == before
    evaluate(replace(chosen, fresh=True), quiet)
    assert len(calls) == 5
    trained("B", "A")
    evaluate(chosen, quiet)
    assert len(calls) == 9 and outcome_of(tmp_path)["measurements"][:2] != before


def test_what_studies_share_is_measured_once(options, trained, monkeypatch):
    calls = []

    def counted(*arguments, **more):
        calls.append(arguments)
        return measure(*arguments, **more)

    monkeypatch.setattr("synthspine.eval.evaluation.measure", counted)
    trained("A")
    studies = ("contrast", "resolution_in_plane", "corruption_noise", "corruption_bias")
    evaluate(options(model="A", studies=studies, quick=True), quiet)
    # Unchanged, 4x, noise and bias, on two sets.
    assert len(calls) == 4 * 2


def test_outcome_says_what_was_measured_with_what(options, trained, tmp_path):
    trained("A")
    evaluate(options(model="A", studies=("gap",), quick=True), quiet)
    outcome = outcome_of(tmp_path)
    checkpoint = tmp_path / "models" / "model_a_synthetic_best.pth"
    facts = outcome["models"]["A"]
    assert facts["sha256"] == hashlib.sha256(checkpoint.read_bytes()).hexdigest()
    assert (facts["scheme"], facts["step"], facts["spacing_mm"]) == ("structures", 7, SPACING_MM)
    assert facts["classes"] == ["background", "vertebra", "disc", "canal"]
    manifest = load_manifest(open_place(tmp_path / "shards" / "real_t1_val"))
    assert outcome["sets"]["t1"]["identity_hash"] == manifest.identity_hash
    assert (outcome["sets"]["t1"]["patients"], outcome["sets"]["t1"]["slices"]) == (2, 6)
    assert outcome["sets"]["synthetic"]["generator_hash"]
    assert {"torch", "scipy", "synthspine"} <= outcome["versions"].keys()
    assert datetime.fromisoformat(outcome["made"]).utcoffset() == timedelta(0)
    assert outcome["physical"]["2.0"] == "STIR"
    assert outcome["options"]["studies"] == "gap" and outcome["seconds"] > 0


def test_generator_of_a_model_comes_from_its_checkpoint(options, trained, tmp_path):
    trained("A", "B", config=json.dumps({"generator": "ab" * 32}))
    evaluate(options(quick=True), quiet)
    models = outcome_of(tmp_path)["models"]
    assert (models["A"]["generator_hash"], models["B"]["generator_hash"]) == ("ab" * 32, None)
    trained("A")
    evaluate(options(model="A", quick=True), quiet)
    assert outcome_of(tmp_path)["models"]["A"]["generator_hash"] is None


def test_space_series_are_a_set_of_their_own(options, trained, spider_folder, tmp_path):
    for path in spider_folder.glob("*/[34]_t2.mha"):
        path.rename(path.with_name(path.name.replace("_t2", "_t2_SPACE")))
    trained("A")
    evaluate(options(model="A", quick=True), quiet)
    assert {m["set"] for m in outcome_of(tmp_path)["measurements"]} == {"t1", "t2_SPACE"}


def test_test_patients_are_only_read_when_they_are_asked_for(options, trained, spider_folder, tmp_path):
    trained("A")
    split = {"train": ["1", "2"], "validation": ["3"], "test": ["4"]}
    (spider_folder / "split.json").write_text(json.dumps(split))
    files = {path: path.read_bytes() for path in spider_folder.glob("*/4_*.mha")}
    assert len(files) == 4
    for path in files:
        path.write_bytes(b"nobody reads this")
    chosen = options(model="A", studies=("gap",), quick=True)
    evaluate(chosen, quiet)
    assert all(set(m["patients"]) == {"3"} for m in outcome_of(tmp_path)["measurements"])
    assert not list((tmp_path / "shards").glob("*_test"))
    with pytest.raises(SpiderError, match="4_t1"):
        evaluate(replace(chosen, part="test"), quiet)
    for path, content in files.items():
        path.write_bytes(content)
    evaluate(replace(chosen, part="test"), quiet)
    outcome = outcome_of(tmp_path)
    assert outcome["part"] == outcome["options"]["part"] == "test" and outcome["cached"] == 0
    assert {m["set"] for m in outcome["measurements"]} == {"t1", "t2", "synthetic"}
    assert all(set(m["patients"]) == {"4"} for m in outcome["measurements"])
    names = {path.name for path in (tmp_path / "shards").glob("*_test")}
    assert names == {"real_t1_test", "real_t2_test", "real_t2_space_test", "labels_test"}


def test_a_split_without_test_patients_has_nothing_to_test_on(options, trained):
    trained("A")
    with pytest.raises(EvaluationError, match="no image of a test patient"):
        evaluate(options(model="A", quick=True, part="test"), quiet)


def test_sets_from_elsewhere_need_no_data(options, trained, tmp_path, monkeypatch):
    trained("A")
    ensure_sets(["real_t1_val", "real_t2_val"], options().shards)
    monkeypatch.chdir(tmp_path)
    lines = []
    chosen = options(model="A", studies=("gap",), quick=True, shards={"data_dir": DEFAULT_DATA_DIR})
    evaluate(chosen, lines.append)
    assert {m["set"] for m in outcome_of(tmp_path)["measurements"]} == {"t1", "t2"}
    assert any("labels_val is not there" in line for line in lines)
    assert not (tmp_path / "data").exists()


def test_volumes_of_one_slice_have_no_thickness(options, trained, spider_folder, tmp_path):
    trained("A")
    lines = []
    shards = {"slice_step_mm": 100.0}
    evaluate(options(model="A", studies=("contrast", "resolution"), shards=shards), lines.append)
    assert any("resolution_through_plane is left out: no slice has" in line for line in lines)
    assert "resolution_through_plane" in outcome_of(tmp_path)["left_out"]
    with pytest.raises(EvaluationError, match="nothing to measure: no slice has"):
        evaluate(options(model="A", studies=("resolution_through_plane",), shards=shards), quiet)


def test_missing_model_is_reported_and_the_other_measured(options, trained, tmp_path):
    trained("A")
    lines = []
    evaluate(options(), lines.append)
    assert any("model B is left out" in line for line in lines)
    outcome = outcome_of(tmp_path)
    assert {measurement["model"] for measurement in outcome["measurements"]} == {"A"}
    assert "model_b_real_best.pth" in outcome["missing"]["B"]


def test_a_model_that_learned_from_a_measured_patient_is_refused(options, trained):
    trained("A", config=json.dumps({"train_patients": ["1", "3"]}))
    with pytest.raises(EvaluationError, match=r"model_a.*trained on patient 3,"):
        evaluate(options(), quiet)


def test_a_map_to_render_of_a_patient_that_was_learned_from_is_refused(options, trained):
    trained("A", config=json.dumps({"train_patients": ["4"]}))
    with pytest.raises(EvaluationError, match=r"model_a.*trained on patient 4,"):
        evaluate(options(studies=("synthetic",)), quiet)


def test_no_model_at_all_is_an_error(options):
    with pytest.raises(EvaluationError, match="no model to evaluate"):
        evaluate(options(), quiet)


def test_other_number_of_classes_than_asked_for_is_an_error(options, trained):
    trained("A")
    with pytest.raises(CheckpointError, match="has 4 classes, but --num-classes is 14"):
        evaluate(options(num_classes=14), quiet)


def test_fourteen_class_model_is_scored_by_class_too(options, trained, tmp_path):
    trained("A", num_classes=14)
    evaluate(options(model="A", quick=True), quiet)
    classes = outcome_of(tmp_path)["measurements"][0]["patients"]["3"]["classes"]
    assert {"L5", "L1", "T12", "canal"} <= classes.keys()


def test_model_of_another_pixel_size_is_an_error(options, trained):
    trained("A", spacing_mm=0.5)
    with pytest.raises(EvaluationError, match=r"trained at 0.5 mm, but the sets have 2 mm"):
        evaluate(options(model="A", quick=True), quiet)


def test_contrast_without_slices_is_left_out(options, trained, spider_folder, tmp_path):
    for path in spider_folder.glob("*/*_t2.mha"):
        path.unlink()
    trained("A")
    lines = []
    evaluate(options(model="A"), lines.append)
    assert any("T2 is left out" in line for line in lines)
    assert set(outcome_of(tmp_path)["sets"]) == {"t1"}


def test_no_slices_at_all_is_an_error(options, trained, spider_folder):
    trained("A")
    split = {"train": ["1", "2", "3", "4"], "validation": [], "test": []}
    (spider_folder / "split.json").write_text(json.dumps(split))
    with pytest.raises(EvaluationError, match="no image of a validation patient"):
        evaluate(options(), quiet)


def test_minutes_come_from_the_training_log(options, trained, tmp_path):
    trained("A")
    (tmp_path / "models" / "model_a_synthetic_log.csv").write_text("step,minutes\n10,1.5\n20,3.25\n")
    evaluate(options(model="A", quick=True), quiet)
    assert outcome_of(tmp_path)["models"]["A"]["minutes"] == 3.25
