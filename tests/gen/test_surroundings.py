"""What everything painted around the spine has in common."""

import json
from dataclasses import replace

import pytest
import torch

from synthspine.gen.core.anatomy import CANAL
from synthspine.gen.core.counter_rng import SampleRandom, sample_keys
from synthspine.gen.geometry.spine_frame import find_spine
from synthspine.gen.tissues.background import (
    BackgroundConfig,
    BackgroundParams,
    paint_background,
)
from synthspine.gen.tissues.beside import BesideConfig, BesideParams, paint_beside
from synthspine.gen.tissues.body_layers import (
    BodyLayersConfig,
    BodyLayersParams,
    paint_body_layers,
)
from synthspine.gen.tissues.bowel import BowelConfig, BowelParams, paint_bowel
from synthspine.gen.tissues.palette import FIRST_COARSE, MUSCLE
from synthspine.gen.tissues.pelvis import (
    FloorConfig,
    FloorParams,
    SacrumConfig,
    SacrumParams,
    paint_floor,
    paint_sacrum,
)


def _background(codes, params, spacing):
    return paint_background(codes, params, spacing)


def _on_blank(paint):
    def run(codes, params, spacing):
        return paint(torch.full_like(codes, FIRST_COARSE), params, find_spine(codes, spacing), spacing)

    return run


def _beside(codes, params, spacing):
    return _on_blank(paint_beside)(codes.masked_fill(codes == CANAL, 0), params, spacing)


def _sacrum(codes, params, spacing):
    blank = torch.full_like(codes, FIRST_COARSE)
    return paint_sacrum(blank, params, codes, find_spine(codes, spacing), spacing)


FEATURES = {
    "background": (BackgroundConfig, BackgroundParams, _background),
    "layers": (BodyLayersConfig, BodyLayersParams, _on_blank(paint_body_layers)),
    "beside": (BesideConfig, BesideParams, _beside),
    "floor": (FloorConfig, FloorParams, _on_blank(paint_floor)),
    "bowel": (BowelConfig, BowelParams, _on_blank(paint_bowel)),
    "sacrum": (SacrumConfig, SacrumParams, _sacrum),
}
SPACINGS = {2: (1.0, 1.0), 3: (4.0, 1.0, 1.0)}


@pytest.fixture(params=FEATURES)
def feature(request):
    return FEATURES[request.param]


def _draw(feature, count, **changes):
    return feature[0](**changes).draw(SampleRandom(sample_keys(3, torch.arange(count))))


def _maps(bank, dims, count=6):
    """Maps in a picture with room around them, uint8 ``(count, 160, 201)`` or ``(count, 3, 160, 201)``."""
    codes = torch.zeros(count, 160, 201, dtype=torch.uint8)
    codes[:, 20:116, 101:181] = bank[torch.arange(count) % 3]
    return codes if dims == 2 else codes.unsqueeze(1).repeat(1, 3, 1, 1)


def test_a_feature_of_probability_0_is_not_drawn_and_paints_nothing(feature, bank):
    assert _draw(feature, 4, probability=0.0) is None
    assert (feature[2](bank, None, SPACINGS[2]) == FIRST_COARSE).all()


def test_a_sample_without_the_feature_is_left_as_it_was(feature, bank):
    codes = _maps(bank, 2, 12)
    sometimes = feature[2](codes, _draw(feature, 12, probability=0.5), SPACINGS[2])
    always = feature[2](codes, _draw(feature, 12, probability=1.0), SPACINGS[2])
    plain = (sometimes == FIRST_COARSE).flatten(1).all(1)
    assert 0 < plain.sum() < 12
    assert torch.equal(sometimes[~plain], always[~plain])


@pytest.mark.parametrize("dims", [2, 3])
def test_a_sample_is_the_same_alone_and_in_any_batch(feature, bank, dims):
    codes, params = _maps(bank, dims), _draw(feature, 6, probability=1.0)
    together = feature[2](codes, params, SPACINGS[dims])
    assert together.dtype == torch.uint8 and together.shape == codes.shape
    assert (together != FIRST_COARSE).any()
    for part in (slice(0, 1), slice(3, 5), slice(5, 6)):
        assert torch.equal(feature[2](codes[part], params[part], SPACINGS[dims]), together[part])


def test_inputs_are_left_alone(feature, bank):
    codes = _maps(bank, 2)
    before = codes.clone()
    params = _draw(feature, 6, probability=1.0)
    records = params.to_records()
    feature[2](codes, params, SPACINGS[2])
    assert torch.equal(codes, before) and params.to_records() == records


@pytest.mark.parametrize("dims", [2, 3])
def test_painting_needs_no_values_on_the_host(feature, bank, dims):
    codes = _maps(bank, dims)
    painted = feature[2](codes.to("meta"), _draw(feature, 6, probability=1.0).to("meta"), SPACINGS[dims])
    assert painted.shape == codes.shape and painted.dtype == torch.uint8


@pytest.mark.parametrize("grid", [(1, 2), (2, 1), (7, 5), (1, 1, 2), (1, 9, 4), (3, 1, 1)])
def test_tiny_grids_are_painted_too(feature, grid):
    codes = torch.zeros(2, *grid, dtype=torch.uint8)
    painted = feature[2](codes, _draw(feature, 2, probability=1.0), (3.0, 0.7, 1.9)[-len(grid) :])
    assert painted.shape == codes.shape and (painted >= FIRST_COARSE).all()


def test_records_repeat_the_picture(feature, bank):
    params = _draw(feature, 6)
    again = feature[1].from_records(json.loads(json.dumps(params.to_records())))
    codes = _maps(bank, 2)
    assert torch.equal(feature[2](codes, again, SPACINGS[2]), feature[2](codes, params, SPACINGS[2]))


def test_the_number_of_samples_moves_no_draw(feature):
    assert _draw(feature, 5).to_records() == _draw(feature, 9).to_records()[:5]


def test_bad_probabilities_and_ranges_are_refused(feature):
    with pytest.raises(ValueError, match="probability"):
        feature[0](probability=1.5)


def test_the_background_alone_needs_no_spine():
    codes = torch.zeros(2, 32, 32, dtype=torch.uint8)
    params = _draw(FEATURES["background"], 2)
    painted = paint_background(codes, params, SPACINGS[2])
    assert (painted >= FIRST_COARSE).all() and (painted < MUSCLE).all()
    other = paint_background(codes, replace(params, key=params.key + 1), SPACINGS[2])
    assert not torch.equal(painted, other)
