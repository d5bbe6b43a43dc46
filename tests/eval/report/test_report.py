import copy
import csv
import json
import re

import pytest
from fake_outcome import fake_outcome

from synthspine.eval.metrics.statistics import bootstrap_mean
from synthspine.eval.report.report import as_csv, as_markdown, report_sections, write_report
from synthspine.eval.report.tables import format_value
from synthspine.eval.results.outcome import FORMAT, Findings, OutcomeError

PIXEL = bytes.fromhex(
    "89504e470d0a1a0a0000000d4948445200000001000000010806000000 1f15c4890000000d49444154789c6360000000000005"
    "0001a5f645400000000049454e44ae426082".replace(" ", "")
)


def markdown(outcome):
    findings = Findings(outcome)
    return as_markdown(findings, report_sections(findings, {}))


def overlay(name="overlays/t2_1.png"):
    dice = {"overall": 0.3, "vertebra": 0.5, "disc": None, "canal": 0.1}
    place = {"set": "t2", "patient": "17", "source": "17_t2", "slice": 7}
    return {"file": name, "case": "worst", "model": "A", "dice": dice, **place}


def test_report_writes_its_files_and_links_every_figure(tmp_path):
    written = write_report(fake_outcome(patients=6), tmp_path / "new" / "folder")
    names = [path.name for path in written]
    assert names[-3:] == ["metrics.csv", "report.md", "report.html"]
    assert {"contrast_shift.png", "reality_gap.png", "corruption.png", "continuum.png"} < set(names)
    assert all(path.stat().st_size for path in written)
    text = written[-2].read_text()
    assert [name for name in names if name.endswith(".png")] == re.findall(r"!\[.*\]\((.*)\)", text)


def test_report_comes_from_json_alone(tmp_path):
    outcome = fake_outcome(patients=6)
    assert markdown(json.loads(json.dumps(outcome, allow_nan=False))) == markdown(outcome)


def test_outcome_is_not_changed(tmp_path):
    outcome = fake_outcome(patients=6, studies=("contrast",))
    before = copy.deepcopy(outcome)
    write_report(outcome, tmp_path)
    assert outcome == before


def test_headline_is_the_mean_of_the_patients():
    outcome = fake_outcome(patients=6)
    found = next(
        m for m in outcome["measurements"] if (m["study"], m["model"], m["set"]) == ("contrast", "A", "t2")
    )
    overall = {
        patient: sum(s["dice"] for s in facts["structures"].values()) / 3
        for patient, facts in found["patients"].items()
    }
    interval = bootstrap_mean(overall)
    low, high = format_value(interval.low), format_value(interval.high)
    assert f"A reaches {format_value(interval.mean)} [{low}, {high}] and B" in markdown(outcome)


def test_csv_has_a_row_for_every_number():
    outcome = fake_outcome(patients=6)
    rows = list(csv.DictReader(as_csv(Findings(outcome)).splitlines()))
    assert len(rows) == len(outcome["measurements"]) * 4 * 5
    wanted = {"study": "contrast", "model": "A", "set": "t1", "measure": "canal", "metric": "dice"}
    row = next(row for row in rows if wanted.items() <= row.items())
    assert row["n"] == "5"
    assert float(row["low"]) <= float(row["mean"]) <= float(row["high"])


def test_patient_without_a_structure_is_left_out_and_counted():
    table = markdown(fake_outcome(patients=6)).split("### Every structure")[1].split("\n### ")[0]
    rows = {
        tuple(c.strip() for c in line.split("|")[1:4]): line for line in table.splitlines() if "|" in line
    }
    assert rows["T1", "canal", "A"].endswith("| 0% (0/35) | 0% (0/7) | 5 |")
    assert rows["T1", "disc", "A"].endswith("| 0% (0/42) | – (0/0) | 6 |")
    assert "29% (12/42)" in rows["T2", "canal", "B"]


@pytest.mark.parametrize("phantom", [True, False])
def test_report_marks_phantom_figures_and_only_those(phantom):
    text = markdown(fake_outcome(patients=6, phantom=phantom))
    assert ("Smoke figures from the phantom" in text) is phantom
    assert ("van der Graaf" in text) is not phantom


@pytest.mark.parametrize("missing", ["A", "B"])
def test_missing_model_is_named_and_the_other_reported(tmp_path, missing):
    other = {"A": "B", "B": "A"}[missing]
    text = write_report(fake_outcome(patients=6, models=(other,), studies=("contrast",)), tmp_path)[
        -2
    ].read_text()
    assert f"Model {missing} was not measured: models/{missing}.pth is not there." in text
    assert "## Reality gap" not in text
    assert not (tmp_path / "reality_gap.png").exists()


def test_comparison_is_left_out_when_it_was_not_requested():
    assert "## Reality gap" in markdown(fake_outcome(patients=6))
    assert "## Reality gap" not in markdown({**fake_outcome(patients=6), "compare": False})


def test_what_was_left_out_is_named():
    outcome = fake_outcome(patients=6)
    assert "T2 SPACE was left out: no validation patient has a scan of it." in markdown(outcome)
    outcome["left_out"] = {"resolution_through_plane": "no slice has neighbours"}
    assert "Through-plane resolution was left out: no slice has neighbours." in markdown(outcome)


def test_one_study_is_enough(tmp_path):
    written = write_report(fake_outcome(patients=6, studies=("corruption_noise",)), tmp_path)
    assert [path.name for path in written] == ["corruption.png", "metrics.csv", "report.md", "report.html"]
    assert "## Contrast shift" not in written[-2].read_text()


def test_one_patient_gets_no_interval():
    text = markdown(fake_outcome(patients=2, studies=("contrast",)))
    assert "nan" not in text
    one = fake_outcome(patients=2, studies=("contrast",))
    for measurement in one["measurements"]:
        del measurement["patients"]["2"]
    text = markdown(one)
    assert "(no interval from one patient)" in text and "nan" not in text


def test_difference_of_the_contrast_shifts_is_in_the_report():
    section = markdown(fake_outcome(patients=6)).split("## Contrast shift")[1].split("\n## ")[0]
    assert (
        "| T1 → T2 | A − B | overall |" in section
        and "(A after − A before) − (B after − B before)" in section
    )


def test_values_that_were_dropped_are_named_with_their_reason():
    outcome = fake_outcome(patients=6)
    dropped = "4x on T1, where no slice has 2 stored slices on both sides"
    text = markdown({**outcome, "dropped": {"resolution_through_plane": dropped}})
    assert f"Through-plane resolution was not measured at {dropped}." in text
    assert f"Not measured: {dropped}." in text.split("### Through-plane")[1]


def test_strongest_corruption_stands_beside_none():
    text = markdown(fake_outcome(patients=6)).split("### Corrupted input")[1]
    rows = [line for line in text.splitlines() if line.startswith("| noise, 0.2 | T1 |")]
    outcome = fake_outcome(patients=6)
    for value, column in ((0.0, 3), (0.2, 4)):
        found = next(
            m["patients"]
            for m in outcome["measurements"]
            if (m["study"], m["model"], m["set"], m["value"]) == ("corruption_noise", "A", "t1", value)
        )
        dices = [
            [s["dice"] for s in r["structures"].values() if s["dice"] is not None] for r in found.values()
        ]
        mean = sum(sum(each) / len(each) for each in dices) / len(dices)
        assert rows[0].split("|")[column].split()[0] == format_value(mean)


def test_report_warns_of_another_generator():
    assert "Warning: the two differ" in markdown(fake_outcome(patients=6))


def test_protocols_have_their_names():
    assert "| T1 spin echo | T2 spin echo | STIR | n |" in markdown(fake_outcome(patients=6))


def test_overlays_are_shown_in_their_order(tmp_path):
    (tmp_path / "overlays").mkdir()
    for name in ("t2_1.png", "t2_2.png"):
        (tmp_path / "overlays" / name).write_bytes(PIXEL)
    listed = [overlay("overlays/t2_2.png"), overlay("overlays/t2_1.png")]
    text = write_report(fake_outcome(patients=6, overlays=listed, studies=("corruption_bias",)), tmp_path)[
        -2
    ].read_text()
    assert text.index("(overlays/t2_2.png)") < text.index("(overlays/t2_1.png)")
    assert "Dice: overall .300, vertebra .500, disc –, canal .100." in text


def test_missing_overlay_is_reported_before_anything_is_written(tmp_path):
    with pytest.raises(OutcomeError, match=r"overlays/t2_1.png: the outcome names this overlay"):
        write_report(fake_outcome(patients=6, overlays=[overlay()]), tmp_path)
    assert not list(tmp_path.iterdir())


def test_configuration_versions_and_digests_are_stated():
    text = markdown(fake_outcome(patients=6))
    for part in (
        "| resolution factors | 1.0,2.0,3.0,4.0 |",
        "| torch | 2.13.0 |",
        "0a0a0a0a0a0a",
        "c2c2c2c2c2c2",
    ):
        assert part in text
    assert "A metric has one value per patient, from the pixels of all slices of the patient together" in text
    assert "HD95: the larger one of the two directed 95th percentiles" in text
    assert "on the validation patients in 6.9 minutes by: python eval/main.py --model compare" in text


@pytest.mark.parametrize("outcome", [{"format": 1}, {"format": FORMAT, "measurements": []}])
def test_outcome_that_cannot_be_reported_is_refused(tmp_path, outcome):
    with pytest.raises(OutcomeError):
        write_report(outcome, tmp_path)


def test_captions_say_that_intervals_of_few_patients_are_narrow(tmp_path):
    report = write_report(fake_outcome(patients=6, studies=("corruption_bias",)), tmp_path)[-2].read_text()
    captions = [line for line in report.splitlines() if line.startswith("*") and "95 %" in line]
    assert len(captions) == 1 and "With 6 patients such intervals are narrow" in captions[0]


@pytest.mark.parametrize(("patients", "stated"), [(6, True), (20, True), (21, False)])
def test_tables_say_that_intervals_of_few_patients_are_narrow(patients, stated):
    """One patient has no canal on T1: a table of it has an n that is less by one."""
    text = markdown(fake_outcome(patients=patients, studies=("contrast",)))
    notes = [line for line in text.splitlines() if "95 % bootstrap interval" in line]
    assert len(notes) >= 7
    assert any("With 19 patients such intervals are narrow" in note for note in notes) is (patients == 20)
    assert all("such intervals are narrow" in note for note in notes) is (patients == 6)
    assert any("such intervals are narrow" in note for note in notes) is stated


def test_report_says_which_part_of_the_split_was_measured():
    texts = {part: markdown(fake_outcome(patients=6, part=part)) for part in ("validation", "test")}
    for part, text in texts.items():
        assert f"on the {part} patients in" in text and f"Measured on the {part} patients" in text
    assert "not a blind test" not in texts["test"]


def test_flagged_scans_and_the_correlation_of_what_flags_them_are_stated():
    outcome = fake_outcome(patients=6, studies=("contrast",))
    for measurement in outcome["measurements"]:
        for number, facts in enumerate(measurement["patients"].values()):
            facts["scan_entropies"] = [0.3499, 0.3501] if number == 0 else [0.2]
    section = markdown(outcome).split("### Calibration")[1]
    rows = [line.split("|") for line in section.splitlines() if line.startswith("| T2 | A |")]
    assert rows[0][11].strip() == "14% (1/7)"
    assert rows[0][10].strip().startswith("−")


def test_undefined_numbers_are_no_nan(tmp_path):
    outcome = fake_outcome(patients=6, studies=("contrast",))
    for measurement in outcome["measurements"]:
        for facts in measurement["patients"].values():
            facts["structures"]["disc"].update(
                dict.fromkeys(("dice", "hd95_mm", "assd_mm", "nsd_1mm", "nsd_2mm"))
            )
            facts["entropy"] = facts["ece"] = facts["structure_entropy"] = None
            facts["scan_entropies"] = [None]
    for path in write_report(outcome, tmp_path)[-3:]:
        assert not re.search(r"\bnan\b", re.sub(r"base64,[^\"]*", "", path.read_text()))
