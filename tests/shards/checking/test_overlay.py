import numpy as np
import pytest
from PIL import Image

from synthspine.gen.core.anatomy import CANAL, IGNORE, vertebra_code
from synthspine.shards.checking.contact_sheet import MARGIN, Tile, side_by_side, write_sheet
from synthspine.shards.checking.overlay import HATCH, borders, code_colours, coloured


@pytest.fixture
def label():
    codes = np.zeros((20, 20), dtype=np.uint8)
    codes[5:15, 5:15] = vertebra_code(1)
    return codes


@pytest.mark.parametrize("line", [1, 2, 3])
def test_border_of_a_square_is_as_wide_as_the_line(label, line):
    inside = label == vertebra_code(1)
    assert np.count_nonzero(borders(label, line) & inside) == 100 - (10 - 2 * line) ** 2


def test_edge_of_the_picture_is_no_border():
    assert not borders(np.ones((6, 6), dtype=np.uint8), 2).any()


def test_fill_mixes_colour_and_picture_and_borders_are_opaque(label):
    colour = code_colours()[vertebra_code(1)].astype(float)
    picture = coloured(label, np.full(label.shape, 0.6), fill=0.5)
    assert tuple(picture[0, 0]) == (153, 153, 153)
    assert np.abs(picture[10, 10] - (0.5 * 153 + 0.5 * colour)).max() <= 0.5
    assert (picture[5, 10] == colour).all()
    outline = coloured(label, np.full(label.shape, 0.6), fill=0.0)
    assert tuple(outline[10, 10]) == (153, 153, 153) and (outline[5, 10] == colour).all()


def test_other_colours_may_be_given(label):
    colours = np.zeros((256, 3), dtype=np.uint8)
    colours[vertebra_code(1)] = (1, 2, 3)
    assert tuple(coloured(label, np.zeros(label.shape), colours=colours, fill=1.0)[10, 10]) == (1, 2, 3)


def test_pixels_without_annotation_are_hatched():
    picture = coloured(np.full((14, 14), IGNORE, dtype=np.uint8))
    assert (picture == HATCH).all(axis=-1).sum() == 28


def test_sheet_places_pictures_in_columns_and_notes_below(tmp_path):
    colour = code_colours()[CANAL]
    tiles = [Tile(picture=np.full((30, 40, 3), colour), name=f"tile {k}", note="x" * 200) for k in range(3)]
    for count in (0, 2):
        write_sheet(tiles, tmp_path / f"{count}.png", "title", columns=2, notes=["a note"] * count)
    plain, noted = (np.asarray(Image.open(tmp_path / f"{count}.png")) for count in (0, 2))
    found = (plain == colour).all(axis=-1)
    assert found.sum() == 3 * 30 * 40 and found[:, MARGIN : MARGIN + 40].sum() == 2 * 30 * 40
    assert noted.shape[0] - plain.shape[0] == 36 and noted.shape[1] == plain.shape[1]


def test_sheet_without_a_picture_is_refused(tmp_path):
    with pytest.raises(ValueError, match="at least one picture"):
        write_sheet([], tmp_path / "sheet.png", "title")


def test_pictures_side_by_side_have_a_gap():
    assert side_by_side([np.zeros((5, 4, 3), dtype=np.uint8)] * 2).shape == (5, 11, 3)
