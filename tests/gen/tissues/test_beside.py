"""Muscles, bones and organs beside the spine."""

from dataclasses import fields, replace

import pytest
import torch

from synthspine.gen import GeneratorConfig, draw, render
from synthspine.gen.core.anatomy import CANAL
from synthspine.gen.core.counter_rng import SampleRandom, sample_keys
from synthspine.gen.geometry.spine_frame import find_spine
from synthspine.gen.tissues.beside import TISSUES, BesideConfig, paint_beside
from synthspine.gen.tissues.palette import (
    AIR,
    CORTICAL_BONE,
    FAT,
    FIRST_COARSE,
    FLUID,
    KIDNEY,
    MARROW,
    MUSCLE,
    PAINT_CODES,
    VESSEL,
)

SPACING = (1.0, 1.0)
ROWS, COLUMNS = 240, 220
STILL = (0.0, 0.0)


def _draw(count, **changes):
    config = BesideConfig(**{"probability": 1.0, "alike_probability": 0.0} | changes)
    return config.draw(SampleRandom(sample_keys(1, torch.arange(count))))


def _paint(codes, params, spacing=SPACING):
    codes = codes.expand(len(params), *codes.shape[1:])
    return paint_beside(torch.full_like(codes, FIRST_COARSE), params, find_spine(codes, spacing), spacing)


@pytest.fixture
def empty():
    """A slice that shows nothing, uint8 ``(1, 240, 220)``."""
    return torch.zeros(1, ROWS, COLUMNS, dtype=torch.uint8)


@pytest.fixture
def with_canal(empty):
    """A slice with a canal in columns 105 to 114, uint8 ``(1, 240, 220)``."""
    codes = empty.clone()
    codes[:, 20:220, 105:115] = CANAL
    return codes


def test_a_slice_is_fat_psoas_back_muscle_skin_fat_and_air_from_front_to_back(empty):
    middle = dict.fromkeys(("shift_mm", "down_mm", "tilt", "bow_mm", "lean", "line_mm"), STILL)
    params = _draw(20, **middle, muscle_mm=(50.0, 50.0), fat_mm=(20.0, 20.0), psoas_mm=(30.0, 30.0),
                   scale=(1.0, 1.0), kidney_probability=0.0, vessel_probability=0.0)  # fmt: skip
    row = _paint(empty, params)[:, ROWS // 2]
    for code, behind_mm in ((FIRST_COARSE, -80), (MUSCLE, -24), (MUSCLE, 30), (FAT, 62), (AIR, 100)):
        assert (row[:, COLUMNS // 2 + behind_mm] == code).float().mean() > 0.9


def test_organs_come_when_asked_for(empty):
    organs = {"kidney": KIDNEY, "vessel": VESSEL}
    for name, code in organs.items():
        for wanted in (0.0, 1.0):
            painted = _paint(empty, _draw(30, **{f"{name}_probability": wanted}))
            assert (painted == code).flatten(1).any(1).float().mean() == pytest.approx(wanted, abs=0.2)
    large = [
        (_paint(empty, _draw(30, ilium_probability=wanted))[:, ROWS // 2 :] == MARROW).sum()
        for wanted in (0.0, 1.0)
    ]
    assert large[1] > 3 * large[0]


def test_marrow_lies_within_a_rim_of_cortical_bone(empty):
    painted = _paint(empty, _draw(20, kidney_probability=0.0))
    marrow = painted == MARROW
    ahead, behind = painted[..., :-1][marrow[..., 1:]], painted[..., 1:][marrow[..., :-1]]
    for neighbour in (ahead, behind):
        assert ((neighbour == MARROW) | (neighbour == CORTICAL_BONE)).float().mean() > 0.98


def test_slices_with_a_canal_are_painted_away_from_it_alone(with_canal):
    assert (_paint(with_canal, _draw(8, away_probability=0.0)) == FIRST_COARSE).all()
    params = _draw(8, away_probability=1.0, before_mm=(60.0, 60.0), behind_mm=(40.0, 40.0))
    painted = _paint(with_canal, params) != FIRST_COARSE
    # The canal's middle is 109.5.
    assert not painted[:, :, 51:149].any() and painted[:, :, 152:].all() and painted[:, :, :48].any()


def test_slices_of_a_volume_are_judged_each_by_itself(empty, with_canal):
    stump = empty.clone()
    stump[:, 100:115, 105:115] = CANAL
    volume = torch.stack((empty, with_canal, stump, with_canal), dim=1)
    painted = _paint(volume, _draw(4, away_probability=0.0), (4.0, *SPACING)) != FIRST_COARSE
    assert painted.flatten(2).any(2).tolist() == [[True, False, True, False]] * 4


def test_layers_follow_the_canal_of_the_slices_next_to_them(empty, with_canal):
    params = _draw(4, shift_mm=STILL, tilt=STILL, bow_mm=STILL, fat_mm=(10.0, 10.0))
    volumes = [torch.stack((empty, codes), dim=1) for codes in (with_canal, with_canal.roll(30, -1))]
    before, after = (_paint(volume, params, (4.0, *SPACING))[:, 0] == AIR for volume in volumes)
    assert before.any() and torch.equal(after[..., 30:], before[..., :-30])


def test_tissues_look_like_marrow_or_fluid_where_asked_for():
    assert (_draw(10).codes == torch.tensor(TISSUES)).all()
    codes = _draw(400, alike_probability=1.0).codes
    assert ((codes == MARROW) | (codes == FLUID)).all()
    assert (codes == FLUID).float().mean() == pytest.approx(0.5, abs=0.05)


def test_empty_maps_are_rendered_with_every_feature(empty):
    always = {}
    for entry in fields(GeneratorConfig()):
        feature = getattr(GeneratorConfig(), entry.name)
        if hasattr(feature, "probability"):
            always[entry.name] = replace(feature, probability=1.0)
    maps = torch.zeros(1, 96, 80, dtype=torch.uint8)
    for config in (GeneratorConfig(), replace(GeneratorConfig(), **always)):
        params = draw(config, 0, torch.arange(16), maps=1)
        image, codes = render(maps, params, refined=True)
        assert image.isfinite().all() and (image.flatten(1).std(1) > 0.01).all()
        assert ((codes == 0) | (codes == 255)).all()
        assert (params.contrast.mean.shape[1] == PAINT_CODES) and (params.contrast.mean >= 0).all()
