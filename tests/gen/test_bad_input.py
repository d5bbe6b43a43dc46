"""What cannot be rendered is refused at the border, by name; what is accepted gives a picture without NaN."""

import copy
import re
from dataclasses import fields, is_dataclass, replace

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch._subclasses import FakeTensorMode

from synthspine.gen import (
    GeneratorConfig,
    Params,
    SpineSynthGenerator,
    draw,
    preset,
    render,
)
from synthspine.gen.core.anatomy import VALID_CODES, spider_values
from synthspine.gen.core.feature import GREATEST, Range

NAN, INFINITY = float("nan"), float("inf")
OTHER_KINDS = [None, "1", [0.1, 0.2], (0.1,), (0.1, 0.2, 0.3), {}, 1j, b"1", torch.tensor(1.0)]
BAD_NUMBERS = [NAN, INFINITY, -INFINITY, 10**400, 2 * GREATEST]
QUICK = settings(max_examples=25, deadline=None, derandomize=True)


def _leaves(config, path=()):
    """Path, annotation and value of every setting."""
    for entry in fields(config):
        value = getattr(config, entry.name)
        if is_dataclass(value):
            yield from _leaves(value, (*path, entry.name))
        else:
            yield (*path, entry.name), entry.type, value


def _put(config, path, value):
    """The configuration with another value at a path."""
    name, *rest = path
    return replace(config, **{name: _put(getattr(config, name), rest, value) if rest else value})


SETTINGS = list(_leaves(GeneratorConfig()))
RANGES = [(path, value) for path, kind, value in SETTINGS if kind == Range]
NUMBERS = [(path, value) for path, kind, value in SETTINGS if kind in (float, float | None)]
OTHERS = [(path, value) for path, kind, value in SETTINGS if kind not in (Range, float, float | None)]


def _refused(path, value):
    with pytest.raises((TypeError, ValueError), match=re.escape(path[-1])):
        _put(GeneratorConfig(), path, value)


@pytest.mark.parametrize("path", [path for path, _ in RANGES], ids=".".join)
def test_a_range_is_two_ordered_finite_numbers(path):
    numbers = [(number, 1.0) for number in BAD_NUMBERS] + [(0.0, number) for number in BAD_NUMBERS]
    kinds = [("a", "b"), (True, False), (None, None), (0.0, "1"), 0.5, NAN, True]
    for value in [*OTHER_KINDS, *numbers, *kinds, (2.0, 1.0), (GREATEST, -GREATEST)]:
        _refused(path, value)


@pytest.mark.parametrize(("path", "default"), NUMBERS, ids=[".".join(path) for path, _ in NUMBERS])
def test_a_number_is_one_finite_number(path, default):
    for value in [*OTHER_KINDS, *BAD_NUMBERS, True, (0.0, 1.0)]:
        if not (value is None and default is None):
            _refused(path, value)
    if path[-1].endswith("probability"):
        for value in (-0.01, 1.01, -1, 2):
            _refused(path, value)


@pytest.mark.parametrize(("path", "default"), OTHERS, ids=[".".join(path) for path, _ in OTHERS])
def test_a_switch_or_a_choice_or_a_list_of_pairs_is_nothing_else(path, default):
    for value in [*OTHER_KINDS, *BAD_NUMBERS, 1, ((1, 2), (2, 3)), ((True, 2),), ((1, 2, 3),), "anything"]:
        _refused(path, value)


@pytest.mark.parametrize("name", [entry.name for entry in fields(GeneratorConfig)])
def test_a_feature_is_configured_by_its_own_dataclass(name):
    for value in (None, {}, "on", True, preset("spine")):
        with pytest.raises((TypeError, ValueError), match=name):
            replace(preset("spine"), **{name: value})


_ALWAYS_ON = GeneratorConfig()
for _path, _kind, _value in SETTINGS:
    if _path[-1].endswith("probability"):
        _ALWAYS_ON = _put(_ALWAYS_ON, _path, 1.0)

_EXTREMES = st.sampled_from([0.0, 1e-30, 1e-6, 1e-3, 0.1, 1.0, 90.0, 180.0, 1e4, 1e10, GREATEST])
_ANY = st.one_of(_EXTREMES, _EXTREMES.map(lambda number: -number), st.floats(-200, 200, width=32))
# Spacings set how large tables are.
_VARIED = [path for path, kind, _ in SETTINGS if kind in (Range, float) and len(path) > 1]


@settings(max_examples=60, deadline=None, derandomize=True)
@given(path=st.sampled_from(_VARIED), first=_ANY, second=_ANY)
def test_a_setting_is_refused_by_name_or_gives_a_picture(path, first, second):
    ordered = (min(first, second), max(first, second))
    kind = next(kind for other, kind, _ in SETTINGS if other == path)
    try:
        config = _put(_ALWAYS_ON, path, ordered if kind == Range else first)
    except ValueError as error:
        assert path[-1] in str(error)
        return
    image, _ = render(_bank(24, 20), draw(config, 0, torch.arange(2), maps=2))
    assert torch.isfinite(image).all() and image.min() >= 0 and image.max() <= 1


def _bank(*grid):
    bank = torch.zeros((2, *grid), dtype=torch.uint8)
    bank[..., grid[-2] // 2 :, : grid[-1] // 2] = 1
    bank[..., grid[-1] // 2 :] = VALID_CODES[-2]
    return bank


@QUICK
@given(
    grid=st.one_of(
        st.tuples(st.integers(1, 9), st.integers(1, 9)),
        st.tuples(st.integers(1, 3), st.integers(1, 5), st.integers(1, 5)),
    ),
    codes=st.lists(st.sampled_from(VALID_CODES), min_size=1, max_size=6),
    name=st.sampled_from(["spine", "synthseg"]),
)
def test_grids_down_to_one_pixel_of_any_code_give_pictures(grid, codes, name):
    bank = torch.tensor(codes, dtype=torch.uint8).repeat(2 * 135)[: 2 * int(np.prod(grid))].view(2, *grid)
    image, moved = render(bank, draw(preset(name), 1, torch.arange(3), maps=2, dims=len(grid)))
    assert image.shape == (3, 1, *grid) and moved.shape == (3, *grid)
    assert torch.isfinite(image).all() and image.min() >= 0 and image.max() <= 1


@pytest.mark.parametrize(
    ("change", "error", "match"),
    [
        ({"config": "spine"}, TypeError, "config is 'spine'"),
        ({"config": None}, TypeError, "config is None"),
        ({"seed": 1.5}, TypeError, "seed is 1.5"),
        ({"seed": "a"}, TypeError, "seed is 'a'"),
        ({"seed": None}, TypeError, "seed is None"),
        ({"seed": True}, TypeError, "seed is True"),
        ({"indices": [0, 1]}, TypeError, "indices are"),
        ({"indices": np.arange(2)}, TypeError, "indices are"),
        ({"indices": torch.arange(2.0)}, TypeError, "float32"),
        ({"indices": torch.ones(2, dtype=torch.bool)}, TypeError, "bool"),
        ({"indices": torch.tensor([3, -1])}, ValueError, "-1"),
        ({"indices": torch.tensor([-(2**62)])}, ValueError, str(-(2**62))),
        ({"indices": torch.zeros(2, 2, dtype=torch.int64)}, ValueError, r"\(2, 2\)"),
        ({"indices": torch.tensor(3)}, ValueError, r"shape \(\)"),
        ({"indices": torch.arange(0)}, ValueError, r"\(0,\)"),
        ({"indices": torch.arange(2, device="meta")}, ValueError, "meta"),
        ({"maps": 0}, ValueError, "0 maps"),
        ({"maps": -1}, ValueError, "-1 maps"),
        ({"maps": 1.5}, TypeError, "maps is 1.5"),
        ({"maps": NAN}, TypeError, "maps is nan"),
        ({"maps": "2"}, TypeError, "maps is '2'"),
        ({"maps": True}, TypeError, "maps is True"),
        ({"maps": 2**25}, ValueError, str(2**25)),
        *[({"dims": dims}, ValueError, f"of {dims} dimensions") for dims in (0, 1, 4)],
        *[({"dims": dims}, TypeError, "dims is") for dims in (2.0, "2", None, True)],
    ],
)
def test_what_cannot_be_drawn_is_refused(change, error, match):
    arguments = {"config": preset("spine"), "seed": 0, "indices": torch.arange(2), "maps": 2, "dims": 2}
    arguments |= change
    with pytest.raises(error, match=match):
        draw(**arguments)


def test_a_bank_that_cannot_be_rendered_is_refused():
    params = draw(preset("spine"), 0, torch.arange(2), maps=2)
    bank = _bank(8, 6)
    for kind in (torch.float32, torch.float64, torch.int64, torch.int8, torch.bool):
        with pytest.raises(TypeError, match=str(kind)):
            render(bank.to(kind), params)
    for value in (bank.numpy(), bank.tolist(), None):
        with pytest.raises(TypeError, match="label bank is"):
            render(value, params)
    for wrong in (bank[0], bank[None], bank[:0], bank[:, :0], bank[..., :0]):
        with pytest.raises(ValueError, match=re.escape(str(tuple(wrong.shape)))):
            render(wrong, params)


def test_parameters_on_a_device_without_the_bank_are_refused():
    params = draw(preset("spine"), 0, torch.arange(2), maps=2)
    with pytest.raises(ValueError, match="on cpu, the parameters on meta"):
        render(_bank(8, 6), params.to("meta"))


def test_parameters_that_cannot_be_rendered_are_refused():
    params = draw(preset("spine"), 0, torch.arange(2), maps=2)
    bank = _bank(8, 6)
    for value in (None, params.to_records(), params.contrast):
        with pytest.raises(TypeError, match="params are"):
            render(bank, value)
    with pytest.raises(ValueError, match="no sample"):
        render(bank, params[5:])
    for spacing in ([0.0, 1.0], [1.0, -1.0], [NAN, 1.0], ["a", "b"]):
        record = copy.deepcopy(params.to_records()[0]) | {"spacing_mm": spacing}
        with pytest.raises(ValueError, match="spacing_mm"):
            render(bank, Params.from_records([record]))


SCHEMES = {
    "14": {*range(14), 255},
    "dense": set(VALID_CODES),
    "spider": {int(value) for value in spider_values()[list(VALID_CODES)]} | {255},
}


@QUICK
@given(labels=st.sampled_from(sorted(SCHEMES)), value=st.integers(-(2**31), 2**31 - 1) | st.integers(-5, 300))
def test_a_label_is_known_or_named(labels, value):
    label_map = np.zeros((6, 5), dtype=np.int32)
    label_map[2, 3] = value
    generator = SpineSynthGenerator("T1", labels=labels)
    if value in SCHEMES[labels]:
        assert generator.codes(label_map).shape == (1, 6, 5)
        return
    with pytest.raises(ValueError, match=rf"label {value} is not a value of the scheme '{labels}'"):
        generator.codes(label_map)


@QUICK
@given(shape=st.lists(st.integers(0, 4), max_size=6).map(tuple))
def test_a_shape_is_one_of_four_or_named(shape):
    generator = SpineSynthGenerator("T1")
    fits = len(shape) in (2, 3) or (len(shape) in (4, 5) and shape[1] == 1)
    label_map = torch.zeros(shape, dtype=torch.uint8)
    if fits and min(shape) > 0 and min(shape[-2:]) > 1:
        image = generator.generate_synthetic_mri(label_map)
        assert image.shape == shape and torch.isfinite(image).all()
        return
    with pytest.raises(ValueError, match=re.escape(str(shape))):
        generator.generate_synthetic_mri(label_map)


@pytest.mark.parametrize("kind", ["float16", "float32", "float64", "complex64", "bool", "U1", "O", "M8[s]"])
def test_a_map_that_holds_no_integers_is_refused(kind):
    with pytest.raises(TypeError):
        SpineSynthGenerator().generate_synthetic_mri(np.zeros((4, 4)).astype(kind))


@pytest.mark.parametrize("kind", ["int8", "uint8", "int16", "uint16", "int32", "uint32", "int64", "uint64"])
def test_a_map_may_hold_integers_of_any_kind(kind):
    label_map = np.zeros((6, 5), dtype=np.uint8)
    label_map[2:4, 1:3] = 1
    generator = SpineSynthGenerator("T1")
    image = generator.generate_synthetic_mri(label_map.astype(kind))
    assert np.array_equal(image, generator.generate_synthetic_mri(label_map))


def test_a_map_without_values_is_refused():
    with pytest.raises(ValueError, match="meta"):
        SpineSynthGenerator().generate_synthetic_mri(torch.zeros(4, 4, dtype=torch.uint8, device="meta"))


@pytest.mark.parametrize(
    ("arguments", "error", "match"),
    [
        ({"contrast_type": None}, TypeError, "contrast_type is None"),
        ({"resolution_range": 1.0}, ValueError, "resolution_range is 1.0"),
        ({"resolution_range": (1.0,)}, ValueError, "resolution_range"),
        ({"resolution_range": (1.0, NAN)}, ValueError, "nan"),
        ({"resolution_range": ("a", 2.0)}, TypeError, "'a'"),
        ({"add_noise": "no"}, TypeError, "add_noise is 'no'"),
        ({"add_bias_field": 1}, TypeError, "add_bias_field is 1"),
        ({"add_motion": None}, TypeError, "add_motion is None"),
        ({"labels": None}, ValueError, "None"),
        ({"spacing_mm": 0.0}, ValueError, "spacing"),
        ({"spacing_mm": NAN}, ValueError, "spacing_mm"),
        ({"spacing_mm": "1"}, TypeError, "spacing_mm"),
        ({"seed": "x"}, TypeError, "seed is 'x'"),
        ({"config": "spine"}, TypeError, "config is 'spine'"),
        ({"config": {}}, TypeError, "config is {}"),
    ],
)
def test_a_generator_that_cannot_be_is_refused(arguments, error, match):
    with pytest.raises(error, match=match):
        SpineSynthGenerator(**arguments)


@pytest.mark.parametrize(
    ("arguments", "error", "match"),
    [
        ({"contrast_alpha": NAN}, ValueError, "alpha is nan"),
        ({"contrast_alpha": 1.01}, ValueError, "extrapolation"),
        ({"contrast_alpha": "T1"}, TypeError, "alpha is 'T1'"),
        ({"contrast_alpha": [0.5]}, TypeError, "alpha"),
        ({"index": -1}, ValueError, "index is -1"),
        ({"index": 1.5}, TypeError, "index is 1.5"),
        ({"index": NAN}, TypeError, "index is nan"),
        ({"index": 2**63}, ValueError, "index"),
        ({"index": True}, TypeError, "index is True"),
        ({"seed": 1.5}, TypeError, "seed is 1.5"),
    ],
)
def test_a_picture_that_cannot_be_is_refused(arguments, error, match):
    with pytest.raises(error, match=match):
        SpineSynthGenerator().generate_synthetic_mri(np.zeros((6, 5), dtype=np.uint8), **arguments)


@pytest.mark.parametrize(
    ("arguments", "error", "match"),
    [
        ({"indices": []}, ValueError, "indices"),
        ({"indices": [], "maps": []}, ValueError, "indices"),
        ({"indices": 3}, ValueError, "indices"),
        ({"indices": [[0]]}, ValueError, "indices"),
        ({"indices": [0.5]}, TypeError, "indices"),
        ({"indices": [True]}, TypeError, "indices"),
        ({"indices": None}, TypeError, "indices"),
        ({"indices": "1"}, TypeError, "indices"),
        ({"indices": [-1]}, ValueError, "-1"),
        ({"indices": [0], "maps": [1]}, ValueError, "maps"),
        ({"indices": [0], "maps": [-1]}, ValueError, "maps"),
        ({"indices": [0], "maps": [0, 0]}, ValueError, "maps"),
        ({"indices": [0], "maps": []}, ValueError, "maps"),
        ({"indices": [0], "maps": [0.5]}, TypeError, "maps"),
        ({"indices": [0], "maps": [NAN]}, TypeError, "maps"),
        ({"indices": [0], "maps": "0"}, TypeError, "maps"),
    ],
)
def test_a_sample_that_cannot_be_is_refused(arguments, error, match):
    with pytest.raises(error, match=match):
        SpineSynthGenerator().sample(np.zeros((6, 5), dtype=np.uint8), **arguments)


def test_indices_on_another_device_are_checked_without_waiting_for_it():
    with FakeTensorMode(), torch.device("cuda"):
        indices = torch.arange(4)
        with pytest.raises(ValueError, match="0 maps"):
            draw(preset("spine"), 0, indices, maps=0)
