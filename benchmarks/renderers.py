"""The generators that are compared, each as a function from a number of samples to images.

All render the same label maps (14 labels) on the same grid and do the same work: deform the labels with an
affine and an elastic part, fill every label with a Gaussian, apply bias field, gamma, blur, coarse
resolution and back, noise, and rescale intensities to [0, 1]. Each draws its own random parameters within
the measured time.
"""

import dataclasses
import importlib.util
from collections.abc import Callable
from dataclasses import dataclass
from importlib.metadata import version

import torch
from torch import Tensor

from benchmarks.label_maps import label_maps
from benchmarks.peers import cornucopia_run, torchio_2_run, torchio_run
from synthspine.gen import draw, label_scheme, preset, render

PEERS = {"cornucopia": "cornucopia", "TorchIO": "torchio"}
"""Peers and the packages that hold them."""
COMPILED = " compiled"
"""End of a preset's name where ``render`` is compiled."""

_GRAPHS = 64
"""Graphs of ``render`` that torch keeps: one per preset, grid and batch size."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Renderer:
    """A generator on one grid.

    Attributes:
        name: preset, ``preset compiled`` or peer.
        run: renders the given number of samples, ``(B, 1, *grid)``.
        loops: whether it renders one sample after the other, so that a batch saves nothing.
    """

    name: str
    run: Callable[[int], Tensor]
    loops: bool = False


def missing_peers() -> list[str]:
    """Peers whose package is not installed."""
    return [name for name, package in PEERS.items() if importlib.util.find_spec(package) is None]


def make_renderer(name: str, grid: tuple[int, ...], device: torch.device) -> Renderer:
    """The generator of that name on a grid.

    Args:
        name: ``"cornucopia"``, ``"TorchIO"``, a preset, or a preset followed by `` compiled``.
        grid: ``(H, W)`` or ``(Z, H, W)``, taken as 1 mm.
        device: where to render; TorchIO 1 always renders on the CPU.

    Raises:
        ValueError: no preset has that name.
        ModuleNotFoundError: the peer is not installed.
    """
    bank = label_maps(grid)
    classes = label_scheme(14).encode(bank)
    if name == "cornucopia":
        return Renderer(name=name, run=cornucopia_run(classes.to(device)), loops=True)
    if name == "TorchIO" and version("torchio").startswith("1."):
        return Renderer(name=name, run=torchio_run(classes), loops=True)
    if name == "TorchIO":
        return Renderer(name=name, run=torchio_2_run(classes.to(device)))
    return _preset_renderer(name, bank.to(device))


def _preset_renderer(name: str, bank: Tensor) -> Renderer:
    config = preset(name.removesuffix(COMPILED))
    config = dataclasses.replace(config, slice_spacing_mm=config.spacing_mm)
    render_batch = render
    if name.endswith(COMPILED):
        torch._dynamo.config.recompile_limit = _GRAPHS
        # One graph per shape: symbolic sizes make slower code, and a training has one batch size.
        render_batch = torch.compile(render, dynamic=False)
    done = 0

    def run(count: int) -> Tensor:
        nonlocal done
        indices = torch.arange(done, done + count)
        done += count
        params = draw(config, 0, indices, maps=len(bank), dims=bank.dim() - 1, device=bank.device)
        return render_batch(bank, params)[0]

    return Renderer(name=name, run=run)
