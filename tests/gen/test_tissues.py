"""What is painted where."""

from dataclasses import replace

import pytest
import torch

from gen import draw, preset
from gen.anatomy import BACKGROUND, CANAL, IGNORE, disc_code, vertebra_code
from gen.palette import AIR, CORD, EPIDURAL_FAT, FAT, FIRST_COARSE, MUSCLE, OUTSIDE, ROOTS, SACRUM, VESSEL
from gen.spine_frame import find_spine
from gen.tissues import paint

ON = {
    "layers_probability": 1.0,
    "sacrum_probability": 1.0,
    "cord_probability": 1.0,
    "roots_probability": 1.0,
    "epidural_fat_probability": 1.0,
    "vessel_probability": 1.0,
}
OFF = dict.fromkeys(ON, 0.0)


def _paint(bank, switches, count=12, **changes):
    config = preset("spine")
    config = replace(config, tissues=replace(config.tissues, **switches))
    params = draw(config, 1, torch.arange(count), maps=1).tissues
    codes = bank[:1].expand(count, -1, -1)
    return codes, paint(codes, replace(params, **changes), (1.0, 1.0))


@pytest.fixture
def wide_bank(bank):
    """The bank in a picture with room around the spine, uint8 ``(3, 192, 240)``."""
    wide = torch.zeros(3, 192, 240, dtype=torch.uint8)
    wide[:, 40:136, 90:170] = bank
    return wide


def test_structures_keep_their_codes_and_only_the_canal_is_filled(wide_bank):
    codes, painting = _paint(wide_bank, ON)
    structure = (codes != BACKGROUND) & (codes != CANAL)
    assert torch.equal(painting.codes[structure], codes[structure])
    assert set(painting.codes[codes == CANAL].unique().tolist()) <= {CANAL, CORD, ROOTS}
    assert (painting.codes[codes == BACKGROUND] >= FIRST_COARSE).all()


def test_body_layers_lie_in_order_behind_and_in_front_of_the_spine(wide_bank):
    _, painting = _paint(
        wide_bank, ON, muscle_mm=torch.full((12,), 30.0), fat_mm=torch.full((12,), 15.0),
        front_mm=torch.full((12,), 90.0),
    )  # fmt: skip
    behind = painting.behind_mm
    where = {code: behind[painting.codes == code] for code in (MUSCLE, FAT, AIR)}
    assert where[MUSCLE].min() > 0 and where[MUSCLE].mean() < where[FAT].mean()
    assert where[AIR][where[AIR] > 0].min() > 30
    assert where[AIR].min() < -60


@pytest.mark.parametrize("code", [MUSCLE, FAT, AIR, VESSEL, SACRUM, CORD, ROOTS, EPIDURAL_FAT])
def test_each_tissue_can_be_switched_off(wide_bank, code):
    _, with_all = _paint(wide_bank, ON, conus_mm=torch.full((12,), 20.0))
    _, without = _paint(wide_bank, OFF)
    assert (with_all.codes == code).any()
    assert not (without.codes == code).any()


def test_the_sacrum_lies_below_the_lowest_disc_and_over_no_label(wide_bank):
    codes, painting = _paint(wide_bank, ON)
    rows = torch.arange(codes.shape[1])[:, None].expand_as(codes[0])
    lowest = rows[codes[0] == disc_code(1)].float().mean()
    for sample in painting.codes:
        sacrum = sample == SACRUM
        assert sacrum.any() and rows[sacrum].float().mean() > lowest
        assert (codes[0][sacrum] == BACKGROUND).all()


def test_depth_is_the_distance_to_the_border_of_a_straight_edge():
    codes = torch.zeros(1, 80, 80, dtype=torch.uint8)
    codes[:, 40:] = vertebra_code(1)
    _, painting = _paint(codes, OFF, count=1)
    depth = painting.depth_mm[0, 0, 36:45, 40]
    assert torch.allclose(depth, torch.arange(-3.5, 5.5), atol=0.25)


def test_the_canal_course_follows_the_canal_and_goes_on_beyond_it(bank):
    frame = find_spine(bank[:1], (1.0, 1.0))
    columns = torch.arange(80.0) - 39.5
    on_canal = bank[0] == CANAL
    assert frame.behind_mm[0][on_canal].abs().max() < 6
    assert torch.allclose(frame.behind_mm[0, 95], columns - (50.5 - 39.5), atol=1.0)


def test_the_frame_is_found_from_the_bodies_where_no_canal_is_seen(bank):
    without = torch.where(bank == CANAL, BACKGROUND, bank)
    frame = find_spine(without[:1], (1.0, 1.0))
    body = without[0] == vertebra_code(2)
    assert torch.isfinite(frame.behind_mm).all()
    assert frame.behind_mm[0][body].mean() < 0


def test_an_empty_map_is_painted_as_background_alone():
    codes = torch.zeros(1, 64, 64, dtype=torch.uint8)
    _, painting = _paint(codes, OFF, count=2)
    assert (painting.codes >= FIRST_COARSE).all() and (painting.codes < MUSCLE).all()


def test_what_is_not_annotated_is_outside_or_background(wide_bank):
    wide_bank[:, :20] = IGNORE
    _, black = _paint(wide_bank, ON | {"outside_probability": 1.0})
    _, painted = _paint(wide_bank, ON | {"outside_probability": 0.0})
    assert (black.codes[:, :20] == OUTSIDE).all()
    assert not (painted.codes == OUTSIDE).any()
