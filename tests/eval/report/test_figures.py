import matplotlib.image
import numpy as np
import pytest
from fake_outcome import fake_outcome

from synthspine.eval.report.calibration_figures import calibration_figure, entropy_figure
from synthspine.eval.report.curve_figures import continuum_figure, corruption_figure, resolution_figure
from synthspine.eval.report.figures import Overlay, overlay_figure
from synthspine.eval.report.level_figures import gap_figure, level_figure
from synthspine.eval.results.findings import IN_PLANE, Findings

A, B = (0x88, 0x22, 0x55), (0x88, 0xCC, 0xEE)
FIGURES = {
    "levels": level_figure,
    "in-plane": lambda findings, path: resolution_figure(findings, IN_PLANE, path),
    "corruption": corruption_figure,
    "continuum": continuum_figure,
    "calibration": calibration_figure,
    "entropy": entropy_figure,
}
FEW = ("synthetic", "t2")
each = pytest.mark.parametrize("draw", FIGURES.values(), ids=FIGURES)


def overlay(shape=(48, 32), models=("Model A", "Model B")):
    truth = np.zeros(shape, dtype=np.uint8)
    truth[10:20, 8:16] = 1
    truth[20:24, 8:16] = 2
    truth[5:40, 18:22] = 3
    inside = np.ones(shape, dtype=bool)
    inside[:4] = False
    maps = dict.fromkeys(("truth", *models), truth)
    return Overlay(title="T1, 1 mm", image=np.full(shape, 0.5), inside=inside, maps=maps)


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


@each
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


@pytest.mark.parametrize("models", [("Model A",), ("Model A", "Model B")])
def test_overlays_use_the_colours_of_the_structures(tmp_path, models):
    path = tmp_path / "overlay.png"
    overlay_figure(
        [overlay(models=models), overlay((40, 40), models)], path, title="t", credit="c", phantom=True
    )
    assert {(230, 159, 0), (0, 114, 178), (0, 158, 115)} <= colours_of(path)


def test_empty_answer_can_be_drawn(tmp_path):
    row = overlay()
    row.maps["Model A"] = np.zeros((48, 32), dtype=np.uint8)
    overlay_figure([row], tmp_path / "overlay.png", title="t", credit="c", phantom=False)
    assert (tmp_path / "overlay.png").is_file()
