"""The tables say what the lines of the CSV say: checked on a file whose means are known."""

import math
from dataclasses import replace

import pytest

from benchmarks import reality_table
from benchmarks.reality_results import Row, RunKey, append, read

SETTINGS = {"spine": "s1", "b": "s2"}


def rows(arm, seed, vertebra, *, contrasts=("t1", "t2"), factor=1.0, weights="ema", code="c", **of_key):
    """Lines of one run: a patient per vertebra Dice, disc .1 and canal .2 below it."""
    key = RunKey(
        arm=arm,
        settings=of_key.pop("settings", SETTINGS[arm]),
        generator="g",
        code=code,
        seed=seed,
        budget=700,
        batch=8,
        fold="fixed",
    )
    return [
        Row(
            key=key,
            group={"spine": "reference", "b": "control"}[arm],
            steps=700,
            samples=10,
            loss=0.5,
            minutes=1.0,
            weights=weights,
            contrast=contrast,
            factor=factor,
            patient=patient,
            own_mask=contrast == "t1",
            dice={"vertebra": value, "disc": value - 0.1, "canal": value - 0.2},
        )
        for contrast in contrasts
        for patient, value in vertebra.items()
    ]


# Overall is .1 below the vertebrae. Spine: .7 and .8 of patient 1 (means over seeds .75), .5 of patient 2.
TABLE = [
    *rows("spine", 0, {"1": 0.8, "2": 0.6}),
    *rows("spine", 1, {"1": 0.9, "2": 0.6}),
    *rows("spine", 0, {"1": 0.6, "2": 0.5}, factor=2.0),
    *rows("spine", 0, {"1": 0.4, "2": 0.3}, factor=4.0),
    *rows("spine", 0, {"1": 0.7, "2": 0.5}, weights="raw"),
    *rows("b", 0, {"1": 0.9, "2": 0.8}, contrasts=("t1",)),
    *rows("b", 0, {"1": 0.5, "2": 0.4}, contrasts=("t2",)),
]


@pytest.fixture
def found(tmp_path):
    """The lines, through a file."""
    append(tmp_path / "found.csv", TABLE)
    return read(tmp_path / "found.csv")


def cells_of(lines, name):
    (line,) = [text for text in lines if text.startswith(f"| `{name}` |")]
    return [cell.strip() for cell in line.strip("|").split("|")]


def test_means_are_over_seeds_then_patients(found):
    cells = reality_table.lines_of(found)["spine"].cells
    assert reality_table.per_patient(cells, "overall", 1.0) == pytest.approx({"1": 0.75, "2": 0.5})
    assert reality_table.per_patient(cells, "canal", 1.0, "t2") == pytest.approx({"1": 0.65, "2": 0.4})
    # Seeds: (.7 + .5) / 2 and (.8 + .5) / 2.
    assert reality_table.seed_deviation(cells) == pytest.approx(0.05 / math.sqrt(2))


def test_a_line_of_the_table_holds_the_known_means(found):
    entries = cells_of(reality_table.table(found), "spine")
    assert entries[1:5] == [".725 / .625 / .525", ".625", ".725 / .625 / .525", ".625"]
    assert entries[5:9] == [".625 (.500 to .750)", "–", ".450", ".250"]
    assert entries[9:] == ["2", "2", ".035", "700"]


def test_the_difference_is_taken_on_the_same_seeds_and_contrasts(found):
    lines = reality_table.lines_of(found)
    # Seed 0 alone. Patient 1: (.8 - .7 + .4 - .7) / 2, patient 2: (.7 - .5 + .3 - .5) / 2.
    difference = reality_table.difference(lines["b"], lines["spine"])
    assert difference.mean == pytest.approx((-0.1 + 0.0) / 2)
    assert (difference.low, difference.high, difference.n) == (pytest.approx(-0.1), pytest.approx(0.0), 2)
    entries = cells_of(reality_table.table(found), "b")
    assert entries[1:5] == [".850 / .750 / .650", ".750", ".450 / .350 / .250", ".350"]
    assert entries[6] == "−.050 (−.100 to +.000)"


def test_the_last_weights_of_the_reference_are_a_line_of_their_own(found):
    lines = reality_table.table(found)
    (line,) = [text for text in lines if "last weights" in text]
    assert ".500 (.400 to .600) | −.100 (−.100 to −.100)" in line


def test_the_second_table_takes_own_masks_alone(found):
    page = reality_table.page_text(found)
    own = page.split("mask is their own:")[1].split("### What")[0].splitlines()
    entries = cells_of(own, "b")
    assert entries[3:6] == ["– / – / –", "–", ".750 (.700 to .800)"]
    assert entries[9] == "2 (T1 2, T2 0)"


def test_the_newest_version_of_an_arm_counts(found):
    newer = rows("spine", 0, {"1": 1.0, "2": 1.0}, settings="s9")
    cells = reality_table.lines_of([*found, *newer])["spine"].cells
    assert reality_table.per_patient(cells, "overall", 1.0) == pytest.approx({"1": 0.9, "2": 0.9})


def test_other_code_than_the_reference_has_is_marked(found):
    text = cells_of(reality_table.table([*found, *rows("b", 1, {"1": 0.9}, code="d")]), "b")[6]
    assert text.endswith("†")


def test_budgets_have_tables_of_their_own(found):
    longer = [replace(row, key=replace(row.key, budget=1400)) for row in found]
    page = reality_table.page_text([*found, *longer])
    assert page.index("### 1,400 steps of 8 samples, fixed split") < page.index("### 700 steps of 8")


def test_arms_that_the_study_does_not_have_are_named_below_the_table_and_not_in_it(found):
    gone = [replace(row, key=replace(row.key, arm="gone")) for row in found if row.key.arm == "b"]
    page = reality_table.page_text([*found, *gone])
    assert list(reality_table.lines_of([*found, *gone])) == list(reality_table.lines_of(found))
    assert page.replace("Left out, since the study no longer has them: `gone`.\n\n", "") == (
        reality_table.page_text(found)
    )
    assert page.index("mask is their own") < page.index("`gone`") < page.index("### What")


def test_a_budget_of_nothing_but_arms_that_are_gone_has_no_table(found):
    gone = [replace(row, key=replace(row.key, arm="gone")) for row in found]
    page = reality_table.page_text(gone)
    assert page.count("None was measured.") == 2
    assert "| `gone`" not in page and "`gone`." in page


def test_what_an_arm_changes_is_said_of_generator_and_training(found):
    (plain,) = [row for row in found if row.key.arm == "b"][:1]
    others = [
        replace(plain, key=replace(plain.key, arm=arm)) for arm in ("no-sacrum", "no-balance", "synthseg")
    ]
    said = reality_table.page_text([*found, *others]).splitlines()
    ends = {
        line.split("`")[1]: line.split(" | ")[-1]
        for line in said[said.index("### What the arms change") + 4 :]
    }
    assert ends["spine"] == "– |"
    assert "sacrum.probability" in ends["no-sacrum"] and "balanced" not in ends["no-sacrum"]
    assert ends["no-balance"] == "balanced: False |"
    assert ends["b"] == "learns_from: t1 |"
    assert ends["synthseg"] == "– |"


def test_the_page_keeps_what_is_around_the_marks(tmp_path, found):
    page = tmp_path / "page.md"
    page.write_text("before\n<!-- it -->\nold\n<!-- end of it -->\nafter\n")
    text = reality_table.page_text(found)
    for _ in range(2):
        reality_table.write_between(page, "it", text)
        assert page.read_text() == f"before\n<!-- it -->\n{text}\n<!-- end of it -->\nafter\n"
    with pytest.raises(ValueError, match=r"page.md: <!-- other -->"):
        reality_table.write_between(page, "other", text)


@pytest.mark.parametrize(("value", "text"), [(0.85, ".850"), (1.0, "1.000"), (math.nan, "–")])
def test_dice_is_written_without_its_zero(value, text):
    assert reality_table.dice(value) == text


@pytest.mark.parametrize(("value", "text"), [(-0.05, "−.050"), (0.1, "+.100"), (math.nan, "–")])
def test_differences_have_a_sign(value, text):
    assert reality_table.signed(value) == text


def test_arms_of_a_group_stand_together():
    (plain,) = rows("spine", 0, {"1": 0.8}, contrasts=("t1",))
    asked = [("no-cortex", "appearance"), ("no-coil", "shading"), ("no-clip", "appearance")]
    found = [
        replace(plain, key=replace(plain.key, arm=name, settings=name), group=group) for name, group in asked
    ]
    names = list(reality_table.lines_of([*found, plain]))
    assert names == ["spine", "no-cortex", "no-clip", "no-coil"]
    text = reality_table.table([*found, plain])
    assert [sum(f"| *{group}* |" in line for line in text) for group in ("appearance", "shading")] == [1, 1]
