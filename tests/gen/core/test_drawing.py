"""Features are drawn by themselves, when first asked for, and settled once all are drawn."""

from dataclasses import dataclass, fields, replace

import pytest
import torch

from synthspine.gen import GeneratorConfig, Params, draw, preset
from synthspine.gen.config import plain
from synthspine.gen.core.counter_rng import sample_keys
from synthspine.gen.core.drawing import AlwaysDrawn, Drawing, Feature
from synthspine.gen.core.feature import Batch
from synthspine.gen.geometry.affine import AffineConfig, AffineParams
from synthspine.gen.intensity.contrast import ContrastConfig
from synthspine.gen.params import FEATURES
from synthspine.gen.scanner.display import GammaConfig, GammaParams, Tone
from synthspine.gen.scanner.shading import BiasConfig, BiasParams
from synthspine.gen.tissues.discs import DISCS, DiscConfig


@dataclass(frozen=True, kw_only=True, slots=True)
class LateParams(Batch):
    """Twice the strength of the bias field."""

    double: torch.Tensor


@dataclass(frozen=True, kw_only=True, slots=True)
class LateConfig(Feature[LateParams]):
    """Depends on a feature that comes after it."""

    def sample(self, random):
        return LateParams(double=2 * random.value("bias.log_std"))

    def settle(self, own, drawing):
        return replace(own, double=own.double + drawing[BiasConfig].log_std)


def _drawing(**features):
    return Drawing(sample_keys(3, torch.arange(5)), features=features)


def test_a_feature_may_depend_on_one_that_comes_later():
    drawing = _drawing(late=LateConfig(), bias=BiasConfig())
    drawn = drawing.all()
    assert list(drawn) == ["late", "bias"]
    assert torch.equal(drawn["late"].double, 2 * drawn["bias"].log_std + drawn["bias"].log_std)
    assert drawing[BiasConfig] is drawn["bias"]


def test_a_feature_that_is_left_out_is_none():
    drawing = _drawing(bias=BiasConfig(probability=0.0), late=LateConfig())
    assert drawing[BiasConfig] is None and drawing[GammaConfig] is None and drawing.named("gamma") is None
    with pytest.raises(AttributeError, match="log_std"):
        drawing.all()


def test_a_feature_without_a_draw_says_so():
    class Nothing(Feature[LateParams]):
        __slots__ = ()

    with pytest.raises(NotImplementedError, match="Nothing"):
        Nothing().draw(_drawing())


def test_a_feature_names_its_parameters():
    assert BiasConfig.params() is BiasParams and AffineConfig.params() is AffineParams
    assert Tone.params() is GammaParams and issubclass(AffineConfig, AlwaysDrawn)


def test_parameters_are_found_by_their_class_and_by_their_name():
    params = draw(preset("spine"), 0, torch.arange(3), maps=2)
    for name, kind in FEATURES.items():
        assert params[kind] is getattr(params, name), name
    assert params[1:3].bias.log_std.tolist() == params.bias.log_std[1:3].tolist()
    with pytest.raises(KeyError, match="LateConfig"):
        params[LateConfig]


def test_parameters_are_those_of_the_configuration_and_the_tone():
    features = {entry.name for entry in fields(GeneratorConfig)} - {"spacing_mm", "slice_spacing_mm"}
    assert set(FEATURES) == features | {"tone"}
    assert [entry.name for entry in fields(Params)] == ["spacing_mm", "map_index", *FEATURES]


@pytest.mark.parametrize("early", [False, True])
def test_gamma_before_the_acquisition_is_the_tone(early):
    config = replace(preset("spine"), gamma=GammaConfig(before_acquisition=early))
    params = draw(config, 0, torch.arange(3), maps=2)
    used, unused = (Tone, GammaConfig) if early else (GammaConfig, Tone)
    assert params[unused] is None
    assert torch.equal(params[used].gamma, draw(preset("spine"), 0, torch.arange(3), maps=2).gamma.gamma)


def test_degenerated_discs_darken_the_contrast():
    discs = DiscConfig(degenerated_probability=1.0, darkness=(0.5, 0.5))
    contrasts = [
        _drawing(contrast=ContrastConfig(), discs=each).all()["contrast"]
        for each in (discs, replace(discs, degenerated_probability=0.0))
    ]
    dark, plain = (contrast.mean for contrast in contrasts)
    assert torch.allclose(dark[:, DISCS], 0.5 * plain[:, DISCS]) and plain[:, DISCS].max() > 0
    assert torch.equal(dark[:, : DISCS.start], plain[:, : DISCS.start])


@pytest.mark.parametrize(
    ("name", "along", "near"),
    [("bias", False, False), ("coil", True, False), ("modic", False, True), ("schmorl", True, True)],
)
def test_what_is_looked_for_follows_from_the_features(name, along, near):
    config = replace(plain(GeneratorConfig()), **{name: getattr(GeneratorConfig(), name)})
    params = draw(config, 0, torch.arange(2), maps=1)
    assert (params.follow_the_spine(), params.look_at_borders()) == (along, near)
