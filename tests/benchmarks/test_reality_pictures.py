"""The pictures of the study show the numbers of its tables: read off the artists, for rows of known means."""

import math
import sys
from dataclasses import replace

import pytest
from PIL import Image

from benchmarks import reality_pictures as pictures
from benchmarks import reality_table
from benchmarks.reality_results import Row, RunKey, append

GROUPS = {
    "spine": "reference",
    "no-cortex": "appearance",
    "no-clip": "appearance",
    "contrast-t1": "contrast",
    "resolution-none": "resolution",
    "b": "control",
    "fine-tuned-5": "fine-tuning",
}
STRUCTURES = ("vertebra", "disc", "canal")
SLOPE = 0.03
"""Dice that every factor of resolution costs."""


def run(arm, seed=0, *, t1=0.8, t2=0.8, code="c", budget=500, fold="fixed"):
    """Lines of one run on three patients; disc .1 and canal .2 below the vertebrae, .1 between patients."""
    key = RunKey(
        arm=arm, settings=arm, generator="g", code=code, seed=seed, budget=budget, batch=4, fold=fold
    )
    return [
        Row(
            key=key,
            group=GROUPS[arm],
            steps=budget,
            samples=10,
            loss=0.5,
            minutes=1.0,
            weights="ema",
            contrast=contrast,
            factor=factor,
            patient=patient,
            own_mask=True,
            dice={name: value - 0.1 * rank - SLOPE * (factor - 1) for rank, name in enumerate(STRUCTURES)},
        )
        for contrast, dice in (("t1", t1), ("t2", t2))
        for factor in (1.0, 2.0, 3.0, 4.0)
        for patient, value in (("1", dice), ("2", dice - 0.1), ("3", dice - 0.2))
        if dice is not None
    ]


# Overall is .1 below the vertebrae; its mean over patients .1 lower still.
ROWS = [
    *run("spine"),
    *run("spine", 1, t1=0.7),
    *run("no-cortex", t1=0.6, t2=0.7),
    *run("no-clip", t1=0.8, t2=0.82),
    *run("contrast-t1", t1=0.9, t2=0.5),
    *run("contrast-t1", 1, t1=0.8, t2=0.4),
    *run("resolution-none", t1=0.82),
    *run("b", t1=0.95, t2=0.35),
    *run("fine-tuned-5", t1=0.9),
]


@pytest.fixture
def lines():
    return reality_table.lines_of(ROWS)


def artists(figure):
    """Places ``(x, y)`` of what is drawn and named, by name, over all panels."""
    return {
        line.get_gid(): tuple(line.get_data())
        for axes in figure.axes
        for line in axes.get_lines()
        if line.get_gid()
    }


def arms(lines):
    return pictures.arms_figure(pictures.compare(lines), "title")


def tick_names(axes):
    return [label.get_text() for label in axes.get_yticklabels()]


def texts(figure):
    return [text.get_text() for axes in figure.axes for text in axes.texts]


def test_an_arm_is_where_the_table_has_its_difference(lines):
    figure = arms(lines)
    drawn, written = artists(figure), texts(figure)
    for name in lines.keys() - {"spine"}:
        found = reality_table.difference(lines[name], lines["spine"])
        assert drawn[f"{name} overall"][0] == pytest.approx([found.mean])
        assert drawn[f"{name} interval"][0] == pytest.approx([found.low, found.high])
        assert reality_table.signed_interval(found) in written
    assert drawn["no-cortex overall"][0] == pytest.approx([(-0.2 - 0.1) / 2])


def test_contrasts_and_seeds_are_known_differences(lines):
    drawn = artists(arms(lines))
    assert drawn["no-cortex t1"][0] == pytest.approx([-0.2])
    assert drawn["no-cortex t2"][0] == pytest.approx([-0.1])
    # Seed 0: (.9 - .8 + .5 - .8) / 2, seed 1: (.8 - .7 + .4 - .8) / 2.
    assert drawn["contrast-t1 seed 0"][0] == pytest.approx([-0.1])
    assert drawn["contrast-t1 seed 1"][0] == pytest.approx([-0.15])
    assert "no-cortex seed 0" not in drawn


def test_arms_stand_by_group_lowest_first_and_controls_last(lines):
    figure = arms(lines)
    names = ["no-cortex", "no-clip", "contrast-t1", "resolution-none", "b", "fine-tuned-5"]
    assert tick_names(figure.axes[0]) == names
    drawn = artists(figure)
    assert [drawn[f"{name} overall"][1][0] for name in names] == list(range(6))
    assert [text for text in texts(figure) if text in {*GROUPS.values()}] == [
        *("appearance", "contrast", "resolution", "control")
    ]


def test_seeds_are_those_of_the_difference():
    # Seed 7 of the arm has no counterpart of the reference.
    rows = [*ROWS, *run("no-clip", 7, t1=0.1)]
    (found,) = [arm for arm in pictures.compare(reality_table.lines_of(rows)) if arm.name == "no-clip"]
    assert found.seeds == pytest.approx({0: 0.01})
    assert found.overall.mean == pytest.approx(0.01)


def test_what_is_beyond_the_axis_is_an_arrow_at_its_edge(lines):
    (axes,) = arms(lines).axes
    left, right = axes.get_xlim()
    assert left == -pictures.REACH and 0 < right < pictures.REACH
    arrows = [line for line in axes.get_lines() if line.get_marker() in ("<", ">")]
    # Of b the slices in T2 alone: .35 - .8.
    assert [(*line.get_xdata(), line.get_marker()) for line in arrows] == [(left, "<")]
    assert artists(axes.figure)["b t2"][0] == pytest.approx([-0.45])


def test_axis_shows_everything_within_reach(lines):
    (axes,) = arms({name: lines[name] for name in ("spine", "no-clip", "no-cortex")}).axes
    left, right = axes.get_xlim()
    assert -0.25 < left < -0.2 and 0.02 < right < 0.05


def test_other_code_is_marked():
    rows = [*ROWS, *run("no-clip", 1, code="other")]
    names = tick_names(arms(reality_table.lines_of(rows)).axes[0])
    assert [name for name in names if name.endswith("†")] == ["no-clip †"]


def test_structures_have_panels_with_the_means_of_the_table(lines):
    figure = pictures.contrast_figure(lines, "title")
    assert [axes.get_title() for axes in figure.axes] == list(STRUCTURES)
    assert tick_names(figure.axes[0]) == ["spine (2 seeds)", "contrast-t1 (2 seeds)", "b (1 seed)"]
    drawn = artists(figure)
    assert len(drawn) == 3 * 3 * 2
    for rank, structure in enumerate(STRUCTURES):
        # A tenth below the best patient; seeds .9 and .8, .5 and .4.
        assert drawn[f"contrast-t1 {structure} t1"][0] == pytest.approx([0.75 - 0.1 * rank])
        assert drawn[f"contrast-t1 {structure} t2"][0] == pytest.approx([0.35 - 0.1 * rank])
        assert round(drawn[f"b {structure} t1"][1][0]) == round(drawn[f"b {structure} t2"][1][0]) == 2


def test_curves_run_over_the_resolutions(lines):
    figure = pictures.resolution_figure(lines, "title")
    assert [axes.get_title() for axes in figure.axes] == ["T1", "T2"]
    drawn = artists(figure)
    assert set(drawn) == {f"{name} {c}" for name in ("spine", "resolution-none", "b") for c in ("t1", "t2")}
    x, y = drawn["b t1"]
    assert [round(place) for place in x] == [1, 2, 3, 4]
    assert y == pytest.approx([0.75 - SLOPE * step for step in range(4)])
    # Seeds .8 and .7.
    assert drawn["spine t1"][1][0] == pytest.approx(0.55)
    low, high = figure.axes[0].get_ylim()
    assert 0 <= low <= min(y.min() for _, y in drawn.values()) and high <= 1


def test_an_arm_that_was_scored_on_one_contrast_has_no_mark_for_the_other():
    rows = [*run("spine"), *(row for row in run("b") if row.contrast == "t1")]
    lines = reality_table.lines_of(rows)
    assert math.isnan(artists(arms(lines))["b t2"][0][0])
    assert math.isnan(artists(pictures.contrast_figure(lines, "title"))["b canal t2"][0][0])


@pytest.mark.parametrize(
    ("there", "names"),
    [
        (["spine"], ["reality_contrast.png", "reality_resolution.png"]),
        (["spine", "no-clip"], ["reality_arms.png", "reality_contrast.png", "reality_resolution.png"]),
        (["contrast-t1"], ["reality_contrast.png"]),
        (["resolution-none", "no-clip"], ["reality_resolution.png"]),
        (["no-clip"], []),
    ],
)
def test_a_picture_without_arms_is_left_out(there, names):
    rows = [row for row in ROWS if row.key.arm in there]
    assert sorted(pictures.figures(rows, "section")) == names


def test_the_budget_with_the_most_arms_is_drawn():
    longer = [row for arm in ("spine", "b") for row in run(arm, budget=3000)]
    folds = run("spine", fold="1/4")
    name, rows = pictures.section_of([*longer, *ROWS, *folds])
    assert (name, rows) == ("500 steps of 4 samples, fixed split", ROWS)
    assert pictures.section_of([*folds, *longer])[0] == "3,000 steps of 4 samples, fixed split"
    assert pictures.section_of(folds)[0] == "500 steps of 4 samples, 4 folds"


def test_many_arms_have_rows_of_equal_height(lines):
    few = pictures.compare(lines)
    many = [replace(few[0], name=f"arm-{number}", group=f"g{number // 4}") for number in range(50)]
    heights = [pictures.arms_figure(found, "title").get_figheight() for found in (few, many)]
    assert heights[1] - heights[0] == pytest.approx(pictures.ROW * (50 - len(few)))


def test_pictures_are_small_opaque_files(tmp_path):
    append(tmp_path / "found.csv", ROWS)
    pictures.draw(tmp_path / "found.csv", tmp_path / "pictures")
    files = sorted((tmp_path / "pictures").iterdir())
    assert [file.name for file in files] == [
        *("reality_arms.png", "reality_contrast.png", "reality_resolution.png")
    ]
    for file in files:
        assert file.stat().st_size < 150_000
        with Image.open(file) as picture:
            assert not picture.has_transparency_data
            assert picture.convert("RGB").getpixel((0, 0)) == (255, 255, 255)


@pytest.mark.parametrize(
    ("rows", "steps", "message"),
    [
        ([], 0, "found.csv: no run is in it"),
        (ROWS, 900, "found.csv: no run of 900 steps is in it"),
        (run("no-clip"), 0, "found.csv: no arm that a picture shows is in it"),
    ],
)
def test_nothing_to_draw_is_told_with_the_name_of_the_file(tmp_path, rows, steps, message):
    append(tmp_path / "found.csv", rows)
    with pytest.raises(ValueError, match=message):
        pictures.draw(tmp_path / "found.csv", tmp_path / "pictures", steps)
    assert not (tmp_path / "pictures").exists()


def test_the_command_ends_with_one_line_where_there_is_no_file(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv", ["reality_pictures.py", "--csv", str(tmp_path / "none.csv")])
    assert pictures.main() == 1
    assert capsys.readouterr().err == f"error: {tmp_path / 'none.csv'}: no run is in it\n"
