"""Where an answer errs, on maps drawn so that every number is known."""

import json
import math
import sys

import numpy as np
import pytest
import torch

from benchmarks.failure_measures import (
    MEASURES,
    Share,
    anterior,
    disc_heights,
    rows_by_brightness,
    slice_measures,
)
from benchmarks.failure_modes import DEFINITIONS, _measure, cells, patient_values, scans_with_large
from synthspine.eval.labelling.roles import CANAL_ROLE, DISC, ROLES, VERTEBRA, roles_of
from synthspine.eval.metrics.tally import Tally
from synthspine.gen.core.anatomy import BACKGROUND, CANAL, IGNORE, disc_code
from synthspine.shards import ShardOptions
from synthspine.shards.building.names import VALIDATION_IMAGES
from synthspine.shards.building.sets import ensure_sets
from synthspine.shards.command import run_command
from synthspine.shards.readers.slices import Grid
from synthspine.shards.readers.spider import write_mha
from synthspine.train.model.checkpoint import Checkpoint, save_checkpoint
from synthspine.train.model.unet import UNet

SPACING = (1.0, 1.0)
FRONT, BACK, CANAL_COLUMNS = slice(10, 25), slice(40, 50), slice(28, 33)
ARCH = (slice(47, 57), BACK)
THIN_MM = 2.5


@pytest.fixture
def codes():
    """Two vertebrae and two discs of 15 columns, an arch of the lower vertebra, a canal of 60 rows."""
    codes = np.zeros((80, 64), dtype=np.uint8)
    codes[20:35, FRONT] = 2
    codes[35:37, FRONT] = disc_code(2)
    codes[37:50, FRONT] = 1
    codes[50:53, FRONT] = disc_code(1)
    codes[ARCH] = 1
    codes[10:70, CANAL_COLUMNS] = CANAL
    return codes


@pytest.fixture
def answer(codes):
    """The right answer, to be spoilt."""
    return roles_of(codes)


def measured(answer, codes):
    return {key: share.value for key, share in slice_measures(answer, codes, SPACING, THIN_MM).items()}


def test_the_right_answer_has_no_errors(answer, codes):
    assert measured(answer, codes) == {
        **dict.fromkeys(MEASURES.keys() - {"top, cut"}, 1.0),
        **dict.fromkeys(("sacrum", "low discs", "canal behind", "canal missed", "islands"), 0.0),
    }


def test_the_middle_line_is_interpolated_and_stays_beyond_its_ends():
    canal = np.zeros((9, 12), dtype=bool)
    canal[2, 3:6] = canal[6, 7:10] = True
    expected = [4, 4, 4, 5, 6, 7, 8, 8, 8]
    assert anterior(canal).sum(axis=1).tolist() == expected
    assert anterior(np.zeros((9, 12), dtype=bool)) is None


def test_half_of_the_arches_missed_leaves_the_bodies(answer, codes):
    answer[47:52, BACK] = BACKGROUND
    found = measured(answer, codes)
    assert found["bodies"] == 1
    assert found["arches"] == pytest.approx(2 / 3)


def test_without_a_canal_nothing_is_in_front_or_below(answer, codes):
    codes[codes == CANAL] = BACKGROUND
    lacking = {"bodies", "arches", "sacrum", "low discs", "top, cut"}
    lacking |= {"canal", "canal end", "canal behind", "canal missed"}
    assert set(measured(answer, codes)) == set(MEASURES) - lacking


def test_a_lowest_disc_that_is_a_row_too_high(answer, codes):
    answer[53, FRONT] = DISC
    found = measured(answer, codes)
    assert found["L5/S1 size"] == pytest.approx(4 / 3)
    assert found["L5/S1"] == found["other discs"] == pytest.approx(6 / 7)
    assert found["thin discs"] == 1
    assert found["disc size"] == pytest.approx(6 / 5)
    assert found["low discs"] == pytest.approx(0.15)


def test_what_is_far_from_the_lowest_disc_is_no_answer_to_it(answer, codes):
    answer[60, FRONT] = DISC
    assert measured(answer, codes)["L5/S1"] == pytest.approx(2 * 45 / (45 + 60))
    answer[60, FRONT] = BACKGROUND
    answer[61, FRONT] = DISC
    found = measured(answer, codes)
    assert found["L5/S1"] == 1
    assert found["low discs"] == pytest.approx(0.15)


def test_sacrum_is_what_lies_below_the_body_in_front_and_below_the_arch_behind(answer, codes):
    answer[50:53, FRONT] = VERTEBRA
    assert measured(answer, codes)["sacrum"] == 0
    answer[55:65, 10:20] = VERTEBRA
    assert measured(answer, codes)["sacrum"] == pytest.approx(1)
    answer[50:57, 36:40] = VERTEBRA
    assert measured(answer, codes)["sacrum"] == pytest.approx(1)
    answer[57:59, BACK] = VERTEBRA
    assert measured(answer, codes)["sacrum"] == pytest.approx(1.2)


def test_sacrum_is_told_along_an_oblique_canal(codes):
    """Of a spine that lies askew, what is lower in the image need not be lower in the spine."""
    rows, columns = np.indices((120, 120))
    along, across = (rows + columns) / math.sqrt(2), (columns - rows) / math.sqrt(2)
    codes = np.zeros((120, 120), dtype=np.uint8)
    codes[(along > 20) & (along < 150) & (abs(across - 20) < 4)] = CANAL
    codes[(along > 60) & (along < 90) & (across > -15) & (across < 5)] = 1
    beside = (along > 65) & (along < 85) & (across > -25) & (across < -15)
    sacrum = (along > 95) & (along < 105) & (across > -10) & (across < 10)
    assert np.flatnonzero(beside.any(axis=1))[-1] > np.flatnonzero((codes == 1).any(axis=1))[-1]
    answer = np.where(beside | sacrum | (codes == 1), VERTEBRA, BACKGROUND).astype(np.uint8)
    assert measured(answer, codes)["sacrum"] == pytest.approx(sacrum.sum() / 100)


@pytest.mark.parametrize(("rows", "name"), [(18, "top, whole"), (19, "top, cut"), (20, "top, cut")])
def test_the_top_is_cut_within_2_mm_of_the_upper_end(answer, codes, rows, name):
    answer[20:25, FRONT] = BACKGROUND
    expected = pytest.approx(2 * 10 / 25)
    assert measured(answer[rows:], codes[rows:])[name] == expected
    codes[:rows] = IGNORE
    found = measured(answer, codes)
    assert found[name] == expected
    assert len({"top, whole", "top, cut"} & set(found)) == 1


def test_the_lowest_third_of_the_canal_is_its_end(answer, codes):
    answer[50:70, CANAL_COLUMNS] = BACKGROUND
    found = measured(answer, codes)
    assert (found["canal"], found["canal end"]) == (1, 0)
    assert found["canal missed"] == pytest.approx(1 / 3)


def test_a_canal_moved_back_by_a_pixel_has_a_fifth_behind(answer, codes):
    answer[answer == CANAL_ROLE] = BACKGROUND
    answer[10:70, 29:34] = CANAL_ROLE
    found = measured(answer, codes)
    assert found["canal behind"] == found["canal missed"] == pytest.approx(0.2)
    assert found["canal"] == found["canal end"] == pytest.approx(0.8)
    answer[70:76, 29:34] = CANAL_ROLE
    assert measured(answer, codes)["canal behind"] == pytest.approx(60 / 330)


def test_an_island_is_further_than_15_mm_away(codes, answer):
    codes[ARCH] = answer[ARCH] = BACKGROUND
    answer[40, 47] = VERTEBRA
    assert measured(answer, codes)["islands"] == 0
    answer[40, 48:50] = CANAL_ROLE
    assert measured(answer, codes)["islands"] == pytest.approx(0.02)


def test_the_height_of_a_disc_is_across_its_main_axis(codes):
    assert disc_heights(codes, SPACING) == pytest.approx({disc_code(1): 3, disc_code(2): 2})
    assert disc_heights(codes, (2.0, 1.0)) == pytest.approx({disc_code(1): 6, disc_code(2): 4})
    rows, columns = np.indices((100, 100))
    oblique = (abs(rows - columns) < 5 * math.sqrt(2)) & (abs(rows + columns - 100) < 20 * math.sqrt(2))
    height = disc_heights(np.where(oblique, disc_code(3), 0).astype(np.uint8), SPACING)[disc_code(3)]
    assert height == pytest.approx(10, abs=0.5)


def test_what_is_not_annotated_changes_nothing(answer, codes):
    codes[:18] = codes[72:] = codes[:, 52:] = IGNORE
    before = slice_measures(answer, codes, SPACING, THIN_MM)
    answer[codes == IGNORE] = np.arange((codes == IGNORE).sum()) % 4
    assert slice_measures(answer, codes, SPACING, THIN_MM) == before


def test_rows_are_halved_by_their_annotated_pixels():
    image = np.repeat([[0.9], [0.1], [0.2], [0.3], [0.4]], 4, axis=1)
    codes = np.repeat([[BACKGROUND], [1], [1], [CANAL], [CANAL]], 4, axis=1).astype(np.uint8)
    image[1, 3], codes[1, 3] = 90.0, IGNORE
    dark, bright = rows_by_brightness(image, codes)
    assert np.flatnonzero(dark).tolist() == [1, 2]
    assert np.flatnonzero(bright).tolist() == [3, 4]


def test_dice_of_slices_together_is_that_of_the_evaluation(answer, codes):
    codes[ARCH] = BACKGROUND
    answers = [answer.copy(), answer.copy()]
    answers[0][ARCH] = answers[1][ARCH] = BACKGROUND
    answers[0][20:28, FRONT] = BACKGROUND
    answers[1][40:42, 5:10] = VERTEBRA
    tally = Tally(("background", *ROLES), SPACING)
    truth = torch.from_numpy(roles_of(np.stack((codes, codes))))
    tally.add(torch.from_numpy(np.stack(answers)), truth, ["7", "7"])
    shares = [slice_measures(each, codes, SPACING, THIN_MM) for each in answers]
    found = patient_values(["7", "7"], shares)["7"]
    assert found["bodies"] == pytest.approx(tally.dices()["7"]["vertebra"])
    assert math.isnan(found["arches"]) and math.isnan(found["top, cut"])


def test_a_scan_counts_once_and_only_where_it_is_defined():
    shares = [{"sacrum": Share(area, 1)} for area in (0.2, 1.2, 3.0, 1.0)]
    assert scans_with_large("sacrum", ["a", "a", "a", "b", "c"], [*shares, {}]) == "1 of 2"


def test_a_cell_tells_how_many_patients_define_the_measure():
    values = {"7": {"bodies": 0.5, "sacrum": 0.5}, "8": {"bodies": math.nan, "sacrum": 0.25}}
    found = cells(values, ["a", "b"], [{"sacrum": Share(0.5, 1)}, {"sacrum": Share(1.5, 1)}])
    assert found == {"bodies": ".500 n 1", "sacrum, cm2": "0.38", "sacrum: scans > 1 cm2": "1 of 2"}
    assert cells({"7": {"bodies": math.nan}}, [], []) == {"bodies": "– n 0"}


@pytest.fixture(scope="module")
def sets(tmp_path_factory):
    """Slices of block spines in T1 and T2: five validation patients and one test patient."""
    folder = tmp_path_factory.mktemp("failure_modes")
    mask = np.zeros((3, 32, 32), dtype=np.int16)
    for number in (1, 2, 3):
        bottom = 30 - 9 * (number - 1)
        mask[:, bottom - 8 : bottom - 2, 8:18] = number
        mask[:, bottom - 2 : bottom, 8:18] = 200 + number
    mask[:, 2:-2, 20:24] = 100
    for patient in range(1, 7):
        image = np.random.default_rng(patient).integers(1, 900, mask.shape).astype(np.int16)
        for contrast in ("t1", "t2"):
            name = f"{patient}_{contrast}.mha"
            write_mha(mask, (4.0, 4.0, 4.0), "LPS", folder / "data" / "masks" / name)
            write_mha(image, (4.0, 4.0, 4.0), "LPS", folder / "data" / "images" / name)
    split = {"train": [], "validation": ["1", "2", "3", "4", "5"], "test": ["6"]}
    (folder / "split.json").write_text(json.dumps(split))
    options = ShardOptions(
        data_dir=folder / "data",
        shards_dir=str(folder / "sets"),
        split=folder / "split.json",
        grid=Grid(spacing_mm=4.0, shape=(32, 32)),
    )
    ensure_sets(tuple(VALIDATION_IMAGES[contrast] for contrast in ("t1", "t2")), options)
    return folder / "sets"


@pytest.fixture
def checkpoint(tmp_path):
    def save(config):
        network = UNet(num_classes=4, base_features=4)
        path = tmp_path / "untrained.pth"
        checkpoint = Checkpoint(
            state_dict=network.state_dict(),
            architecture=network.architecture,
            model="A",
            config=config,
            step=7,
            validation_dice=0.5,
            spacing_mm=4.0,
        )
        save_checkpoint(path, checkpoint)
        return path

    return save


def run(monkeypatch, *arguments):
    monkeypatch.setattr(sys, "argv", ["failure_modes.py", *map(str, arguments)])
    return run_command(_measure)


def test_the_command_writes_a_row_for_every_set_and_checkpoint(sets, checkpoint, tmp_path, monkeypatch):
    page = tmp_path / "page.md"
    assert run(monkeypatch, checkpoint("{}"), "--shards-dir", sets, "--output", page) == 0
    text = page.read_text()
    for name in ("real_t1_val", "real_t2_val"):
        assert f"## {name}: 5 patients, 5 scans, 15 slices" in text
    assert text.count("/untrained.pth | ") == 2
    assert all(f"**{name}**: {meaning}" in text for name, meaning in DEFINITIONS.items())


def test_a_network_is_not_measured_on_patients_that_it_learned_from(sets, checkpoint, monkeypatch, capsys):
    path = checkpoint('{"train_patients": ["2", "9"]}')
    assert run(monkeypatch, path, "--shards-dir", sets, "--sets", "real_t1_val") == 1
    assert "was trained on patient 2" in capsys.readouterr().err
