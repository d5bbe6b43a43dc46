"""What moves between the CPU and the device of a rendering: few copies, and none that somebody waits for.

The device ``meta`` stands for a GPU: it holds no values, so whatever asked for one would raise.
"""

import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from synthspine.gen import SpineSynthGenerator, draw, preset, render
from synthspine.gen.core.device import move


def _devices(values):
    return {leaf.device.type for leaf in tree_leaves(values) if isinstance(leaf, torch.Tensor)}


class Copies(TorchDispatchMode):
    """Notes whether the CPU goes on at once after every copy; ``stay`` leaves the copies on the CPU."""

    def __init__(self, *, stay=False):
        super().__init__()
        self.asynchronous, self.stay, self.calls = [], stay, 0

    def __torch_dispatch__(self, function, kinds, args=(), kwargs=None):
        kwargs = kwargs or {}
        self.calls += 1
        moves = kwargs.get("device") == torch.device("meta") and _devices(args) == {"cpu"}
        if moves:
            self.asynchronous.append(bool(kwargs.get("non_blocking")))
            if self.stay:
                return args[0].clone()
        result = function(*args, **kwargs)
        assert moves or _devices((args, kwargs)) in ({"meta"}, {"cpu"}, set()), function
        return result


@pytest.mark.parametrize("dims", [2, 3])
@pytest.mark.parametrize("name", ["spine", "random", "synthseg"])
def test_parameters_of_the_cpu_are_rendered_without_waiting_for_the_device(bank, name, dims):
    maps = bank.to("meta") if dims == 2 else torch.stack([bank, bank.flip(0)]).to("meta")
    params = draw(preset(name), 3, torch.arange(5), maps=len(maps), dims=dims)
    with Copies() as copies:
        image, codes = render(maps, params)
    assert image.is_meta and codes.is_meta
    assert all(copies.asynchronous)
    # One of every dtype, and one for each step that picks its samples.
    assert 3 <= len(copies.asynchronous) <= 30


def test_the_generator_draws_on_the_cpu_and_runs_fewer_steps_for_it(bank):
    generator, maps = SpineSynthGenerator("spine", labels="dense"), bank.to("meta")
    with Copies() as copies:
        generator.sample_codes(maps, indices=range(3))
    params = draw(generator.config, 0, torch.arange(3), maps=len(maps))
    with Copies() as moved:
        render(maps, params.to("meta"))
    assert copies.asynchronous and all(copies.asynchronous)
    with Copies() as picked:
        render(maps, params)
    assert picked.calls < moved.calls


def test_tensors_that_move_together_keep_values_shapes_and_kinds():
    values = [torch.rand(3, 2), torch.arange(3), torch.tensor(1.5), torch.rand(2, 3).mT, torch.zeros(0)]
    with Copies(stay=True) as copies:
        moved = move(values, "meta")
    assert len(copies.asynchronous) == 2
    for value, there in zip(values, moved, strict=True):
        assert there.dtype == value.dtype and torch.equal(there, value)
    assert all(there is value for there, value in zip(move(values, "cpu"), values, strict=True))
