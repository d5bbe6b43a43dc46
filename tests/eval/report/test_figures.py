import matplotlib.image
import numpy as np
import pytest
from fake_outcome import fake_outcome

from synthspine.eval.report.figures import (
    calibration_figure,
    continuum_figure,
    corruption_figure,
    entropy_figure,
    gap_figure,
    level_figure,
    resolution_figure,
)
from synthspine.eval.results.outcome import IN_PLANE, Findings

A, B = (0x88, 0x22, 0x55), (0x88, 0xCC, 0xEE)
FIGURES = {
    "levels": level_figure,
    "in-plane": lambda findings, path: resolution_figure(findings, path, IN_PLANE),
    "corruption": corruption_figure,
    "continuum": continuum_figure,
    "calibration": calibration_figure,
    "entropy": entropy_figure,
}
FEW = ("synthetic", "t2")
each = pytest.mark.parametrize("draw", FIGURES.values(), ids=FIGURES)


def colours_of(path):
    pixels = (matplotlib.image.imread(path)[..., :3] * 255).round().astype(int)
    return {tuple(colour) for colour in np.unique(pixels.reshape(-1, 3), axis=0).tolist()}


@each
@pytest.mark.parametrize("models", [("B",), ("A", "B")], ids="".join)
def test_figure_shows_the_models_that_are_there(tmp_path, draw, models):
    path = tmp_path / "figure.png"
    draw(Findings(fake_outcome(patients=6, models=models, sets=FEW)), path)
    colours = colours_of(path)
    assert (A in colours) == ("A" in models)
    assert (B in colours) == ("B" in models)


def test_gaps_need_both_models_and_are_coloured_by_the_better_one(tmp_path):
    path = tmp_path / "figure.png"
    gap_figure(Findings(fake_outcome(patients=6)), path)
    assert {A, B} <= colours_of(path)
    gap_figure(Findings(fake_outcome(patients=6, sets=("synthetic", "t2"))), path)
    assert B not in colours_of(path)


@each
def test_figure_does_without_undefined_numbers(tmp_path, draw):
    outcome = fake_outcome(patients=6, sets=FEW)
    for measurement in outcome["measurements"]:
        for facts in measurement["patients"].values():
            facts["structures"]["disc"]["dice"] = None
        measurement["patients"]["1"].update(entropy=None, ece=None)
    draw(Findings(outcome), tmp_path / "figure.png")
    assert (tmp_path / "figure.png").stat().st_size > 1000


@pytest.mark.parametrize("draw", [*FIGURES.values(), gap_figure], ids=[*FIGURES, "gaps"])
def test_one_patient_is_drawn_without_interval(tmp_path, draw):
    outcome = fake_outcome(patients=2, sets=FEW)
    for measurement in outcome["measurements"]:
        del measurement["patients"]["2"]
    draw(Findings(outcome), tmp_path / "figure.png")
    assert A in colours_of(tmp_path / "figure.png")


def test_same_numbers_give_the_same_bytes(tmp_path):
    for name in ("one.png", "two.png"):
        level_figure(Findings(fake_outcome(patients=6)), tmp_path / name)
    assert (tmp_path / "one.png").read_bytes() == (tmp_path / "two.png").read_bytes()
