"""Hidden labels."""

import pytest
import torch

from synthspine.gen.core.anatomy import CANAL, STRUCTURES, structure_of
from synthspine.gen.core.counter_rng import SampleRandom, sample_keys
from synthspine.gen.core.drawing import Drawing
from synthspine.gen.intensity.cortex import CortexConfig
from synthspine.gen.intensity.hidden_labels import (
    HiddenConfig,
    HiddenParams,
    hide,
)
from synthspine.gen.intensity.posterior_arch import ArchConfig
from synthspine.gen.tissues.palette import CORD, FIRST_COARSE, MODIC


def _random(count):
    return SampleRandom(sample_keys(2, torch.arange(count)))


def _hidden(*rows):
    return HiddenParams(hidden=torch.tensor(rows, dtype=torch.float32))


@pytest.mark.parametrize("hidden", [(1, 0, 0), (0, 1, 0), (0, 0, 1), (1, 0, 1), (0, 0, 0)])
def test_hidden_structures_become_background_and_all_else_stays(hidden):
    codes = torch.arange(256, dtype=torch.uint8).view(1, 16, 16)
    painted, background = codes.clone(), torch.full_like(codes, FIRST_COARSE)
    shown = hide(painted, codes, background, _hidden(hidden)).flatten()
    names = {STRUCTURES[i] for i in range(3) if hidden[i]}
    for code in range(256):
        assert shown[code] == (FIRST_COARSE if structure_of(code) in names else code)


def test_what_is_painted_inside_a_hidden_structure_is_removed_too():
    codes = torch.tensor([[[1, CANAL]]], dtype=torch.uint8)
    painted = torch.tensor([[[MODIC, CORD]]], dtype=torch.uint8)
    background = torch.full_like(codes, FIRST_COARSE)
    assert hide(painted, codes, background, _hidden((1, 0, 1))).tolist() == [[[FIRST_COARSE] * 2]]


def test_each_structure_is_hidden_with_the_probability_on_its_own():
    hidden = HiddenConfig(probability=0.3).draw(_random(3000)).hidden
    assert torch.allclose(hidden.mean(0), torch.full((3,), 0.3), atol=0.03)
    assert (hidden[:, 0] * hidden[:, 1]).mean() == pytest.approx(0.09, abs=0.02)


def test_without_a_probability_nothing_is_drawn_and_nothing_changes():
    assert HiddenConfig(probability=0.0).draw(_random(2)) is None
    painted = torch.zeros(1, 2, 2, dtype=torch.uint8)
    assert hide(painted, painted, painted + 1, None) is painted


def test_hidden_structures_have_no_lines():
    config = CortexConfig(probability=1.0, end_plate_probability=1.0)
    drawing = Drawing(sample_keys(2, torch.arange(2)), features={"hidden": HiddenConfig(probability=0.0)})
    cortex = config.draw(drawing)
    assert config.settle(cortex, drawing) is cortex
    drawing.drawn["hidden"] = _hidden((1, 0, 0), (0, 1, 1))
    shown = config.settle(cortex, drawing)
    assert torch.equal(shown.strength, cortex.strength * torch.tensor([[0.0, 1.0, 1.0], [1.0, 0.0, 0.0]]))
    assert torch.equal(shown.end_plates.strength, cortex.end_plates.strength * torch.tensor([0.0, 1.0]))


def test_a_hidden_structure_takes_away_what_a_feature_says():
    features = {"arches": ArchConfig(probability=1.0), "hidden": HiddenConfig(probability=1.0)}
    drawing = Drawing(sample_keys(2, torch.arange(4)), features=features)
    drawing.drawn["hidden"] = _hidden((1, 0, 0), (0, 1, 0), (0, 0, 1), (1, 1, 1))
    free = drawing.named("arches")
    arches = drawing.all()["arches"]
    shown = torch.tensor([0.0, 1.0, 1.0, 0.0])
    assert torch.equal(arches.blur_mm, free.blur_mm * shown) and free.blur_mm.min() > 0
    assert torch.equal(arches.through, free.through * shown)
    assert torch.equal(arches.lines_lost, free.lines_lost)


def test_a_sample_is_the_same_alone_and_in_a_batch_and_in_3d(bank):
    params = _hidden((1, 0, 0), (0, 1, 0), (0, 0, 1))
    background = torch.full_like(bank, FIRST_COARSE)
    together = hide(bank, bank, background, params)
    for i in range(3):
        one = slice(i, i + 1)
        assert torch.equal(hide(bank[one], bank[one], background[one], params[one]), together[one])
        volume = bank[one].unsqueeze(1).expand(-1, 2, -1, -1)
        shown = hide(volume, volume, torch.full_like(volume, FIRST_COARSE), params[one])
        assert torch.equal(shown[:, 1], together[one])
