from dataclasses import replace

import matplotlib.image
import numpy as np
import pytest
import torch

from synthspine.eval import gallery as gallery_module
from synthspine.eval.gallery import (
    calm,
    close_view,
    feature_pairs,
    gallery,
    interpolation_strip,
    phantom_maps,
    preset_sheet,
    shown_off,
)
from synthspine.gen import GeneratorConfig
from synthspine.gen.core.anatomy import CANAL, DISC_OFFSET, MAX_RANK, disc_code, vertebra_code
from synthspine.gen.core.drawing import showcase
from synthspine.gen.intensity.contrast import measured_contrast
from synthspine.gen.params import FEATURES
from synthspine.gen.presets import PRESETS
from synthspine.gen.scanner.shading import BiasConfig


@pytest.fixture
def maps(spine):
    """Two slices of one spine, small enough to render every feature at once."""
    codes = spine(levels=4, lean=0.1, slices=2, shape=(160, 128), bottom=140, column=30.0)
    codes[:, :6] = 255
    # Between bodies and discs two rows are not annotated.
    disc = (codes > DISC_OFFSET) & (codes < CANAL)
    near = np.maximum.reduce([np.roll(disc, shift, axis=1) for shift in (-2, -1, 1, 2)])
    codes[near & (codes <= MAX_RANK)] = 0
    return torch.from_numpy(codes)


def test_the_maps_of_the_pictures_show_the_middle_of_the_phantom():
    (codes,) = phantom_maps(1)
    assert codes.shape == (320, 256) and codes.dtype == torch.uint8
    assert {vertebra_code(1), disc_code(1), CANAL} <= set(codes.unique().tolist())
    assert (codes == CANAL).sum() > 1000


def test_every_feature_can_be_seen_when_it_is_on(maps):
    pairs = feature_pairs(maps[:1])
    assert [name for name, _, _ in pairs] == [name for name in FEATURES if name != "tone"]
    assert [name for name, off, on in pairs if np.abs(on - off).max() < 0.1] == []


def test_a_close_view_stays_inside_the_picture(maps):
    for code in gallery_module.STRUCTURES.values():
        rows, columns = close_view(maps[:1], code)
        view = maps[0, rows, columns]
        assert view.shape == (64, 51)
        assert (view == code).any()


def test_a_sheet_shows_a_preset_on_every_map(maps, tmp_path):
    path = preset_sheet("t2", maps, tmp_path)
    assert path == tmp_path / "preset_t2.png"
    picture = matplotlib.image.imread(path)
    assert min(picture.shape[:2]) > 200 and picture.std() > 0.05


def test_the_canal_of_the_strip_is_dark_on_t1_and_bright_on_t2(maps, tmp_path):
    assert interpolation_strip(maps[:1], tmp_path) == tmp_path / "contrast.png"
    t1, t2 = (
        gallery_module._picture(maps[:1], replace(calm(), contrast=measured_contrast(alpha)))
        for alpha in (0.0, 1.0)
    )
    canal = maps[0].numpy() == CANAL
    assert t2[canal].mean() > t1[canal].mean() + 0.3


def test_the_gallery_has_a_sheet_for_every_preset(maps, tmp_path, monkeypatch):
    drawn = []
    monkeypatch.setattr(gallery_module, "phantom_maps", lambda count: maps[:count])
    monkeypatch.setattr(
        gallery_module, "write_sheet", lambda tiles, path, *_, columns: drawn.append(len(tiles)) or path
    )
    monkeypatch.setattr(gallery_module, "feature_pairs", lambda codes: [])
    names = [path.name for path in gallery(tmp_path)]
    assert names == [*(f"preset_{name}.png" for name in PRESETS), "features.png", "contrast.png"]
    presets = [gallery_module.ROWS * len(maps)] * len(PRESETS)
    assert drawn == [*presets, 0, len(maps) * gallery_module.STEPS]


def test_pictures_of_a_tile_lie_side_by_side_at_one_height():
    left, right = np.zeros((20, 16), dtype=np.float32), np.ones((40, 16), dtype=np.float32)
    shown = gallery_module.tile([left, right], "off and on").picture
    rows = gallery_module.PICTURE_ROWS
    assert shown.shape[0] == rows and shown.shape[2] == 3
    assert shown[:, :144].max() == 0 and shown[:, -72:].min() == 255


def test_what_a_showcase_does_not_set_has_its_default():
    noise, curve = GeneratorConfig().noise, GeneratorConfig().curve
    settings = {"level": (0.08, 0.08), "g_factor_probability": 1.0, "g_factor": (1.0, 1.0)}
    assert shown_off(noise) == replace(noise, probability=1.0, **settings)
    assert shown_off(replace(curve, probability=0.2)).probability == 1.0


def test_a_feature_without_a_showcase_is_shown_at_the_upper_ends_of_its_ranges(monkeypatch):
    monkeypatch.setattr(BiasConfig, "shown", showcase())
    assert shown_off(BiasConfig()) == BiasConfig(
        probability=1.0, log_std=(0.35, 0.35), correlation_mm=(120.0, 120.0)
    )
