import math

import pytest
from fake_outcome import fake_outcome
from scipy.stats import wilcoxon

from synthspine.eval.metrics.statistics import bootstrap_mean, holm, least_p
from synthspine.eval.report.definitions import gaps, headline, metric_gaps, primary, shifts
from synthspine.eval.report.report import conclusions
from synthspine.eval.report.tables import Cell
from synthspine.eval.results.outcome import Findings
from synthspine.eval.results.paired import (
    FAMILY,
    ON_T1,
    ON_T2,
    SHIFT,
    gap,
    primary_comparisons,
    shift,
    shift_difference,
)
from synthspine.gen.core.anatomy import STRUCTURES

FEW = ("contrast", "synthetic")


def findings(**arguments):
    return Findings(fake_outcome(**{"patients": 9, "studies": FEW, **arguments}))


def plain(outcome, model, place):
    wanted = ("contrast", model, place)
    return next(m for m in outcome["measurements"] if (m["study"], m["model"], m["set"]) == wanted)[
        "patients"
    ]


def cells(table, row):
    return dict(zip(table.head, row, strict=True))


@pytest.mark.parametrize("place", ["t2", "t2_SPACE"])
@pytest.mark.parametrize("measure", STRUCTURES)
def test_difference_of_differences_by_hand(place, measure):
    outcome = fake_outcome(patients=9, studies=FEW, sets=("t1", "t2", "t2_SPACE"))
    values = {
        (model, contrast): {
            p: r["structures"][measure]["dice"] for p, r in plain(outcome, model, contrast).items()
        }
        for model in "AB"
        for contrast in ("t1", place)
    }
    patients = [p for p in values["A", "t1"] if all(v[p] is not None for v in values.values())]
    expected = {
        p: (values["A", place][p] - values["A", "t1"][p]) - (values["B", place][p] - values["B", "t1"][p])
        for p in patients
    }
    found = shift_difference(Findings(outcome), place, measure)
    assert found.n == len(patients) == (8 if measure == "canal" else 9)
    # Differences are rounded, so that rounding errors do not decide the signs.
    interval = bootstrap_mean({patient: round(value, 12) for patient, value in expected.items()})
    for name in ("mean", "low", "high"):
        assert getattr(found.difference, name) == pytest.approx(getattr(interval, name))
    assert found.p == pytest.approx(wilcoxon(list(expected.values())).pvalue)
    assert found.first_larger == sum(value > 0 for value in expected.values())
    assert found.first.mean - found.second.mean == pytest.approx(found.difference.mean)


def test_patient_without_one_of_the_four_is_left_out():
    outcome = fake_outcome(patients=9, studies=FEW)
    del plain(outcome, "B", "t1")["5"]
    assert shift_difference(Findings(outcome), "t2").n == 8
    assert shift(Findings(outcome), "A", "t2").n == gap(Findings(outcome), "t2").n == 9


def test_there_is_no_difference_of_differences_without_both_models_and_both_contrasts():
    assert shift_difference(findings(models=("A",)), "t2") is None
    assert shift_difference(findings(sets=("t2",)), "t2") is None
    assert shift_difference(findings(), "t1") is None


def test_shift_table_has_the_models_and_their_difference_for_every_contrast():
    found = findings(sets=("t1", "t2", "t2_SPACE"))
    table = shifts(found)
    assert [row[:3] for row in table.rows] == [
        (f"T1 → {place}", model, measure)
        for place in ("T2", "T2 SPACE")
        for model in ("A (synthetic only)", "B (real T1)", "A − B")
        for measure in ("overall", *STRUCTURES)
    ]
    row = next(cells(table, row) for row in table.rows if row[:3] == ("T1 → T2", "A − B", "overall"))
    assert row["before"].text == _signed(gap(found, "t1").difference.mean)
    assert row["after"].text == _signed(gap(found, "t2").difference.mean)
    assert row["after − before"].text == _signed(shift_difference(found, "t2").difference.mean)


def test_only_the_family_is_corrected():
    found = findings()
    compared = primary_comparisons(found)
    assert list(compared) == list(FAMILY) == [ON_T1, ON_T2, SHIFT]
    pairs = {ON_T1: gap(found, "t1"), ON_T2: gap(found, "t2"), SHIFT: shift_difference(found, "t2")}
    corrected = holm({name: pair.p for name, pair in pairs.items()})
    assert {name: p.corrected for name, p in compared.items()} == corrected
    for table in (gaps(found), shifts(found)):
        assert "exploratory, without correction" in table.note
        assert not any("Holm" in title for title in table.head)


@pytest.mark.parametrize(("patients", "least", "corrected"), [(6, 0.03125, 0.09375), (7, 1 / 64, 3 / 64)])
def test_least_p_is_stated_and_reached_where_all_patients_agree(patients, least, corrected):
    assert least_p(patients) == least == wilcoxon(range(1, patients + 1)).pvalue
    compared = primary_comparisons(findings(patients=patients))
    assert {p.least for p in compared.values()} == {corrected}
    assert compared[ON_T2].pair.p == least
    assert compared[ON_T2].corrected >= corrected


def test_bold_needs_interval_and_test():
    for patients, bold in ((5, False), (6, True)):
        row = cells(
            gaps(findings(patients=patients)),
            _row(gaps(findings(patients=patients)), "T2", "canal"),
        )
        assert row["A − B"].detail.startswith("[+") and ", +" in row["A − B"].detail
        assert row["A − B"].strong is bold
    assert not any(cell.strong for row in headline(findings()).rows for cell in row if isinstance(cell, Cell))


@pytest.mark.parametrize(("patients", "bold"), [(6, False), (12, True)])
def test_bold_of_a_primary_comparison_needs_the_corrected_test(patients, bold):
    table = primary(findings(patients=patients))
    assert cells(table, table.rows[1])["difference"].strong is bold


def test_what_of_the_family_is_not_there_is_named_and_not_counted():
    table = primary(findings(sets=("t2",)))
    assert [row[0] for row in table.rows] == [ON_T2]
    assert f"Not measured here: {ON_T1}; {SHIFT}." in table.note and "Holm: corrected for 1." in table.note
    assert not primary(findings(models=("A",))).rows


def test_words_go_no_further_than_the_corrected_test():
    few, many = (" ".join(conclusions(findings(patients=n))) for n in (6, 12))
    assert (
        "A is ahead by the interval, but with so few patients the corrected test cannot fall below .094"
        in few
    )
    assert "A is ahead." in many and "A keeps more." in many
    assert "p = .031, exploratory" in " ".join(conclusions(findings(patients=6, sets=("t1", "t2_SPACE"))))


def _row(table, *keys):
    return next(row for row in table.rows if row[: len(keys)] == keys)


def _signed(value):
    sign = "−" if value < 0 else "+"
    return sign + f"{abs(value):.3f}".removeprefix("0") if not math.isclose(round(value, 3), 0) else ".000"


def test_every_metric_is_compared_and_better_is_its_own_way():
    found = findings()
    rows = {row[:2]: cells(metric_gaps(found), row) for row in metric_gaps(found).rows}
    assert {place for place, _ in rows} == {"synthetic", "T1", "T2"}
    assert [title for place, title in rows if place == "T2"] == [m.title for m in found.metrics.values()]
    dice, distance = rows["T2", "Dice"], rows["T2", "HD95, mm"]
    assert dice["A − B"].text.startswith("+") and distance["A − B"].text.startswith("−")
    assert dice["A better"] == distance["A better"] == "9 of 9"
    pair = gap(found, "t2", metric="hd95_mm")
    assert (pair.first_larger, pair.second_larger) == (0, 9)
