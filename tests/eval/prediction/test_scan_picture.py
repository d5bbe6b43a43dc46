import numpy as np
import pytest
import SimpleITK as sitk
from PIL import Image

from synthspine.eval.prediction.scan_report import PANEL_ROWS, shown_slices, write_scan_picture
from synthspine.eval.segmentation.segment import Segmentation
from synthspine.gen.core.anatomy import CANAL, disc_code, vertebra_code
from synthspine.gen.core.schemes import RANKS
from synthspine.shards.checking.contact_sheet import MARGIN
from synthspine.shards.checking.overlay import code_colours
from synthspine.shards.readers.spider import Volume


def volume_of(codes, spacing=(4.0, 1.0, 1.0)):
    draw = np.random.Generator(np.random.PCG64(0))
    array = draw.random(codes.shape, dtype=np.float32) * 0.2 + (codes > 0)
    return Volume(array=array, spacing_mm=spacing, reference=sitk.Image(1, 1, 1, sitk.sitkInt16))


def segmentation(codes):
    return Segmentation(codes=codes, scheme=RANKS, entropy=0.1, removed=0.0)


def picture(path):
    return np.asarray(Image.open(path).convert("RGB"))


def has_colour(array, code):
    return bool((array == code_colours()[code]).all(axis=-1).any())


def test_every_structure_has_its_contour(tmp_path, spine):
    codes = spine(levels=5, slices=5)
    write_scan_picture(tmp_path / "o.png", volume_of(codes), segmentation(codes), title="7_t1")
    sheet = picture(tmp_path / "o.png")
    assert all(has_colour(sheet, code) for code in (vertebra_code(1), vertebra_code(4), disc_code(2), CANAL))
    assert not has_colour(sheet, vertebra_code(6)) or vertebra_code(6) in codes


def test_contours_lie_on_the_borders_and_leave_the_inside(tmp_path):
    codes = np.zeros((1, 60, 60), dtype=np.uint8)
    codes[0, 20:40, 15:45] = vertebra_code(2)
    write_scan_picture(tmp_path / "o.png", volume_of(codes), segmentation(codes), title="")
    sheet = picture(tmp_path / "o.png")
    rows, columns = np.nonzero((sheet == code_colours()[vertebra_code(2)]).all(axis=-1))
    scale = PANEL_ROWS / 60
    assert rows.max() - rows.min() == pytest.approx(20 * scale, abs=scale)
    assert columns.max() - columns.min() == pytest.approx(30 * scale, abs=scale)
    assert len(rows) < 0.1 * (20 * scale) * (30 * scale)


def test_pixels_are_shown_square(tmp_path):
    codes = np.zeros((1, 100, 100), dtype=np.uint8)
    write_scan_picture(tmp_path / "o.png", volume_of(codes, (4.0, 0.5, 1.0)), segmentation(codes), title="")
    assert picture(tmp_path / "o.png").shape[1] == 2 * PANEL_ROWS + 2 * MARGIN


def test_notes_make_the_picture_longer(tmp_path):
    codes = np.zeros((1, 40, 40), dtype=np.uint8)
    for count in (0, 3):
        write_scan_picture(
            tmp_path / f"{count}.png",
            volume_of(codes),
            segmentation(codes),
            title="t",
            notes=["note"] * count,
        )
    assert len(picture(tmp_path / "3.png")) > len(picture(tmp_path / "0.png"))


def test_middle_is_the_middle_of_the_canal():
    codes = np.zeros((15, 8, 8), dtype=np.uint8)
    codes[2:5, 4, 4] = CANAL
    codes[:, 1, 1] = vertebra_code(1)
    assert shown_slices(codes, 4.0) == [0, 1, 3, 5, 14]
    codes[5:] = 0
    assert shown_slices(codes, 9.0) == [0, 2, 3, 4]


def test_without_canal_the_structures_and_then_the_scan_give_the_middle():
    codes = np.zeros((9, 8, 8), dtype=np.uint8)
    assert shown_slices(codes, 8.0) == [3, 4, 5]
    codes[0, 1, 1] = vertebra_code(1)
    assert shown_slices(codes, 8.0) == [0, 1]
    assert shown_slices(codes[:1], 8.0) == [0]
