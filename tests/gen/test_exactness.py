"""The whole generator: the same in any batch, chunk and grid, close to float64, never waiting for a value."""

from dataclasses import fields, is_dataclass, replace

import pytest
import torch
from torch.overrides import TorchFunctionMode

from synthspine.gen import GeneratorConfig, draw, render
from synthspine.gen.core.anatomy import CANAL, disc_code, vertebra_code
from synthspine.gen.core.feature import Batch
from synthspine.gen.generator import CHUNK
from synthspine.gen.presets import PRESETS

GRIDS = [(97, 131), (2, 2), (1, 40, 37), (5, 33, 75)]
INDICES = [5, 900, 3, 2**40 + 1]


def _with_probability(config, probability):
    """The configuration with every probability, at any depth, set to one value."""
    changes = {}
    for entry in fields(config):
        value = getattr(config, entry.name)
        if is_dataclass(value):
            changes[entry.name] = _with_probability(value, probability)
        elif entry.name.endswith("probability"):
            changes[entry.name] = probability
    return replace(config, **changes)


CONFIGS = PRESETS | {"everything": _with_probability(GeneratorConfig(), 0.5)}


def _spines(grid, maps=2):
    """Vertebrae, discs and a canal on a grid of any size, uint8 ``(maps, *grid)``."""
    bank = torch.zeros((maps, *grid), dtype=torch.uint8)
    rows, columns = grid[-2:]
    height = max(rows // 4, 1)
    for place, codes in enumerate(bank):
        for rank in (1, 2, 3):
            top = max(rows - rank * height - place, 0)
            across = slice(columns // 5, columns // 2)
            codes[..., top : top + height * 2 // 3, across] = vertebra_code(rank)
            codes[..., top + height * 2 // 3 : top + height, across] = disc_code(rank)
        codes[..., columns * 6 // 10 : columns * 7 // 10 + 1] = CANAL
    return bank


def _draw(name, indices, bank):
    return draw(CONFIGS[name], 7, torch.tensor(indices), maps=len(bank), dims=bank.dim() - 1)


@pytest.mark.parametrize("grid", GRIDS, ids=str)
@pytest.mark.parametrize("name", CONFIGS)
def test_a_sample_is_the_same_alone_and_at_any_place_on_any_grid(name, grid):
    bank = _spines(grid)
    image, codes = render(bank, _draw(name, INDICES, bank))
    assert torch.isfinite(image).all() and image.min() >= 0 and image.max() <= 1
    backwards = render(bank, _draw(name, INDICES[::-1], bank))
    assert torch.equal(backwards[0].flip(0), image) and torch.equal(backwards[1].flip(0), codes)
    for place, index in enumerate(INDICES):
        alone_image, alone_codes = render(bank, _draw(name, [index], bank))
        assert torch.equal(alone_image[0], image[place]) and torch.equal(alone_codes[0], codes[place])


@pytest.mark.parametrize("samples", [0.5, 2.5], ids=["less than a sample", "two samples"])
@pytest.mark.parametrize("grid", [(65, 47), (3, 32, 41)], ids=str)
def test_a_batch_rendered_in_chunks_is_the_batch_rendered_at_once(monkeypatch, grid, samples):
    bank = _spines(grid)
    params = _draw("everything", [*INDICES, 8], bank)
    whole = render(bank, params)
    sizes = []
    monkeypatch.setitem(CHUNK, "cpu", int(samples * bank[0].numel()))
    monkeypatch.setattr("synthspine.gen.generator._render", _counted(sizes))
    image, codes = render(bank, params)
    assert sizes == ([1] * 5 if samples < 1 else [2, 2, 1])
    assert torch.equal(image, whole[0]) and torch.equal(codes, whole[1])


def _counted(sizes):
    from synthspine.gen.generator import _render

    def counted(bank, params, refined):
        sizes.append(len(params))
        return _render(bank, params, refined)

    return counted


class _InFloat64(TorchFunctionMode):
    """Whatever would be made in single precision is made in double precision."""

    def __torch_function__(self, function, types, args=(), kwargs=None):
        if function is torch.Tensor.float:
            function = torch.Tensor.double
        args = tuple(map(_double_kind, args))
        kwargs = {name: _double_kind(value) for name, value in (kwargs or {}).items()}
        result = function(*args, **kwargs)
        # Not subclasses: torch.Size is a tuple, too.
        return type(result)(map(_double, result)) if type(result) in (tuple, list) else _double(result)


def _double_kind(value):
    return torch.float64 if value is torch.float32 else value


def _double(value):
    if isinstance(value, Batch):
        return value.map(_double)
    return value.double() if isinstance(value, torch.Tensor) and value.dtype == torch.float32 else value


@pytest.mark.parametrize("grid", [(96, 80), (3, 48, 40)], ids=str)
@pytest.mark.parametrize("name", ["spine", "synthseg", "everything"])
def test_pictures_in_single_precision_are_those_in_double_precision(name, grid):
    bank = _spines(grid)
    params = _draw(name, list(range(16)), bank)
    image, codes = render(bank, params)
    with _InFloat64():
        reference, reference_codes = render(bank, _double(params))
    assert image.dtype == torch.float32 and reference.dtype == torch.float64
    # A position between two pixels may be rounded either way.
    assert (codes != reference_codes).float().mean() < 1e-4
    difference = (image - reference).abs().flatten(1).mean(1)
    assert difference.max() < 1e-4
    # SynthSeg's recipe paints no borders and finds no quantiles: most of its pictures are far closer.
    assert difference.median() < (1e-6 if name == "synthseg" else 2e-5)


@pytest.mark.parametrize(
    ("name", "grid"),
    [(name, (64, 48)) for name in CONFIGS] + [(name, (3, 32, 40)) for name in ("synthseg", "everything")],
    ids=str,
)
def test_rendering_never_reads_a_value_on_the_host(name, grid):
    """On the device ``meta`` there are no values: whatever asked for one would raise."""
    bank = _spines(grid)
    image, codes = render(bank.to("meta"), _draw(name, INDICES, bank).to("meta"))
    assert image.is_meta and codes.is_meta
    assert image.shape == (4, 1, *grid) and image.dtype == torch.float32
    assert codes.shape == (4, *grid) and codes.dtype == torch.uint8
