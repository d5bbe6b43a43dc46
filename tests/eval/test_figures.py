import math

import matplotlib.image
import numpy as np
import pytest

from eval.figures import Overlay, contrast_figure, overlay_figure, resolution_figure

FIGURES = [contrast_figure, resolution_figure]


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


@pytest.mark.parametrize("draw", FIGURES)
@pytest.mark.parametrize("models", [("A",), ("B",), ("A", "B")])
def test_figure_shows_the_models_that_are_there(tmp_path, outcome, draw, models):
    path = tmp_path / "figure.png"
    draw(outcome(models=models), path)
    colours = colours_of(path)
    assert ((0x88, 0x22, 0x55) in colours) == ("A" in models)
    assert ((0x88, 0xCC, 0xEE) in colours) == ("B" in models)


@pytest.mark.parametrize("draw", FIGURES)
def test_figure_does_without_a_contrast(tmp_path, outcome, draw):
    draw(outcome(contrasts=("t2",), factors=(1.0,)), tmp_path / "figure.png")
    assert (tmp_path / "figure.png").stat().st_size > 1000


@pytest.mark.parametrize("draw", FIGURES)
def test_undefined_dice_is_drawn_without_error(tmp_path, outcome, draw):
    measured = outcome()
    measured.results["A", "t1", 1.0]["structures"]["disc"] = {"dice": math.nan, "n": 0}
    for dices in measured.results["A", "t1", 1.0]["patients"].values():
        dices["disc"] = math.nan
    draw(measured, tmp_path / "figure.png")
    assert (tmp_path / "figure.png").is_file()


@pytest.mark.parametrize("draw", FIGURES)
def test_same_numbers_give_the_same_bytes(tmp_path, outcome, draw):
    draw(outcome(), tmp_path / "one.png")
    draw(outcome(), tmp_path / "two.png")
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
