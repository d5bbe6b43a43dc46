import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn

from synthspine.eval.report.pictures import (
    MEDIAN,
    WORST,
    case_picture,
    choose_cases,
    draw_cases,
    slice_dices,
)
from synthspine.eval.results.cache import Cache
from synthspine.eval.results.outcome import ModelFacts
from synthspine.eval.studies.batches import SliceBatches
from synthspine.eval.studies.models import Candidate
from synthspine.eval.studies.options import EvaluationOptions
from synthspine.eval.studies.study import conditions
from synthspine.gen.core.anatomy import IGNORE, STRUCTURES
from synthspine.gen.core.schemes import STRUCTURES_ALONE
from synthspine.shards.building.names import VALIDATION_IMAGES
from synthspine.shards.building.options import ShardOptions
from synthspine.shards.building.sets import ensure_sets
from synthspine.train.model.checkpoint import load_model


class Constant(nn.Module):
    """Answers one class everywhere."""

    def __init__(self, answer):
        super().__init__()
        self.answer = answer
        self.scheme = STRUCTURES_ALONE

    def forward(self, image):
        logits = torch.zeros(len(image), 4, *image.shape[2:])
        logits[:, self.answer] = 1
        return logits


@pytest.fixture
def setting(tmp_path, spider_folder):
    shards = ShardOptions(
        data_dir=spider_folder, shards_dir=str(tmp_path / "shards"), split=spider_folder / "split.json"
    )
    names = {place: VALIDATION_IMAGES[place] for place in ("t1", "t2")}
    folders = ensure_sets(names.values(), shards)
    sets = {place: SliceBatches(folders[name], 4) for place, name in names.items()}
    return sets, conditions(EvaluationOptions(studies=("contrast",)), sets, None).conditions


TEXT = {"structures": STRUCTURES_ALONE, "title": "a"}
PATIENTS = ["3"] * 3 + ["4"] * 3


def rows(*overalls):
    return [{"overall": overall, **dict.fromkeys(STRUCTURES, overall)} for overall in overalls]


def test_dice_of_each_slice(setting):
    """All background: Dice 0 where a structure is. All vertebra: 2 V / (V + annotated)."""
    sets, (condition, _) = setting
    assert [row["overall"] for row in slice_dices(Constant(0), condition, 4, STRUCTURES_ALONE)] == [0.0] * 6
    row = slice_dices(Constant(1), condition, 4, STRUCTURES_ALONE)[0]
    codes = sets["t1"].at(torch.tensor([0]))[1]
    vertebra, annotated = ((codes > 0) & (codes < 30)).sum().item(), (codes != 255).sum().item()
    assert row["vertebra"] == pytest.approx(2 * vertebra / (vertebra + annotated))
    assert row["disc"] == row["canal"] == 0.0
    assert row["overall"] == pytest.approx(row["vertebra"] / 3)


def test_worst_slice_of_each_patient_comes_first_then_the_median():
    cases = choose_cases(PATIENTS, rows(0.6, 0.5, 0.9, 0.8, 0.2, 0.7), 5)
    assert cases == [(WORST, 4), (WORST, 1), (MEDIAN, 5)]


def test_slices_without_anything_are_no_cases():
    assert choose_cases(PATIENTS, rows(None, None, None, None, 0.4, None), 5)[0] == (WORST, 4)
    assert choose_cases(PATIENTS, rows(*[None] * 6), 5) == []
    assert choose_cases(PATIENTS, rows(*[0.5] * 6), 0) == []


@pytest.fixture
def candidate(tmp_path, save_untrained):
    def make(name="A", seed=0):
        model = load_model(save_untrained(tmp_path / f"{name}{seed}.pth", name, seed=seed))
        facts = ModelFacts(
            checkpoint=name,
            sha256=f"{name}{seed}",
            scheme="structures",
            classes=list(STRUCTURES_ALONE.class_names),
            parameters=1,
            step=1,
            validation_dice=0.5,
            minutes=None,
            spacing_mm=1.0,
        )
        return Candidate(name=name, model=model, facts=facts)

    return make


def draw(setting, candidates, folder, count=1):
    sets, chosen = setting
    cache = Cache(folder / "cache")
    options = EvaluationOptions(output_dir=folder, overlays=count, batch_size=4)
    return draw_cases(candidates, chosen, sets, cache, options, STRUCTURES_ALONE)


def files(folder):
    return {path.name: path.read_bytes() for path in (folder / "overlays").glob("*.png")}


def test_pictures_are_listed_and_drawn_again_only_if_they_changed(setting, candidate, tmp_path, monkeypatch):
    folder = tmp_path / "out"
    listed = draw(setting, [candidate(), candidate("B", 1)], folder)
    assert [(entry["set"], entry["case"]) for entry in listed] == [
        (place, case) for place in ("t1", "t2") for case in (WORST, MEDIAN)
    ]
    assert {entry["file"] for entry in listed} == {f"overlays/{name}" for name in files(folder)}
    assert set(listed[0]) == {"file", "case", "model", "set", "patient", "source", "slice", "dice"}
    drawn = files(folder)
    (folder / listed[0]["file"]).write_bytes(b"something else")
    assert draw(setting, [candidate(), candidate("B", 1)], folder) == listed
    assert files(folder) == drawn

    def refuse(*arguments, **more):
        raise AssertionError("drawn again")

    monkeypatch.setattr("synthspine.eval.report.pictures.case_picture", refuse)
    assert draw(setting, [candidate(), candidate("B", 1)], folder) == listed


def test_pictures_of_an_earlier_evaluation_go_and_other_files_stay(setting, candidate, tmp_path):
    folder = tmp_path / "out"
    draw(setting, [candidate()], folder, count=2)
    (folder / "overlays" / "mine.png").write_bytes(b"mine")
    assert "A_t1_worst_02.png" in files(folder)
    draw(setting, [candidate()], folder, count=1)
    assert set(files(folder)) == {
        "mine.png",
        *(f"A_{place}_{which}.png" for place in ("t1", "t2") for which in ("worst_01", "median")),
    }


def test_picture_shows_what_is_annotated_and_the_truth_in_every_panel(tmp_path, monkeypatch):
    sheets = []
    monkeypatch.setattr(
        "synthspine.eval.report.pictures.write_sheet", lambda tiles, *_, **__: sheets.append(tiles)
    )
    truth = np.full((60, 50), IGNORE, dtype=np.uint8)
    truth[10:50, 5:45] = 0
    truth[20:40, 15:35] = 1
    empty = np.zeros_like(truth)
    case_picture(np.full((60, 50), 0.3), truth, {"A": truth, "B": empty}, tmp_path / "case.png", **TEXT)
    (tiles,) = sheets
    assert [tile.name for tile in tiles] == ["image", "truth", "A", "B"]
    assert {tile.picture.shape for tile in tiles} == {(400, 400, 3)}
    pictures = [tile.picture.astype(int) for tile in tiles]
    white = [(picture.min(axis=2) > 230).sum() for picture in pictures]
    coloured = [(picture.max(axis=2) - picture.min(axis=2) > 40).sum() for picture in pictures]
    assert white[:2] == [0, 0] and min(white[2:]) > 700
    assert coloured[0] == coloured[3] == 0 and min(coloured[1], coloured[2]) > 30_000


def test_picture_of_a_slice_without_annotation_is_whole(tmp_path):
    nothing = np.full((60, 50), IGNORE, dtype=np.uint8)
    case_picture(np.zeros((60, 50)), nothing, {"A": nothing}, tmp_path / "case.png", **TEXT)
    assert Image.open(tmp_path / "case.png").size[0] > 3 * 350
