"""The generators that the benchmark compares, each as one function from a number of samples to images.

All render the same label maps (14 labels) on the same grid and do the same work: deform the labels with an
affine and an elastic part, fill every label with a Gaussian, bias field, gamma, blur, coarse resolution and
back, noise, intensities to [0, 1]. Each draws its own random parameters, inside the time that is measured.
"""

import dataclasses
import importlib.util
from collections.abc import Callable
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version

import torch
from torch import Tensor

from benchmarks.label_maps import label_maps
from benchmarks.peers import cornucopia_run, torchio_2_run, torchio_run
from synthspine.gen import draw, label_scheme, preset, render

PEERS = {"cornucopia": "cornucopia", "TorchIO": "torchio"}
"""Peers and the packages that hold them."""
COMPILED = " compiled"
"""What the name of a preset ends with where ``render`` is compiled."""

_GRAPHS = 64
"""Graphs of ``render`` that torch may keep: one per preset, grid and batch size."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Renderer:
    """A generator at work on one grid.

    Attributes:
        name: preset, ``preset compiled`` or peer.
        run: renders that many samples, ``(B, 1, *grid)``.
        loops: renders one sample after the other, so that a batch saves nothing.
    """

    name: str
    run: Callable[[int], Tensor]
    loops: bool = False


def missing_peers() -> list[str]:
    """Peers whose package is not installed."""
    return [name for name, package in PEERS.items() if importlib.util.find_spec(package) is None]


def versions() -> dict[str, str]:
    """Versions of what takes part."""
    packages = ["torch", *PEERS.values(), "SimpleITK"]
    found = {}
    for package in packages:
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            found[package] = "not installed"
    return found


def make_renderer(name: str, grid: tuple[int, ...], device: torch.device) -> Renderer:
    """The generator of that name on a grid.

    Args:
        name: ``"cornucopia"``, ``"TorchIO"``, a preset, or a preset with `` compiled`` after it.
        grid: ``(H, W)`` or ``(Z, H, W)``, taken as 1 mm.
        device: where to render; TorchIO 1 works on the CPU whatever this says.

    Raises:
        ValueError: no preset of that name.
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
    return _ours(name, bank.to(device))


def _ours(name: str, bank: Tensor) -> Renderer:
    config = preset(name.removesuffix(COMPILED))
    config = dataclasses.replace(config, slice_spacing_mm=config.spacing_mm)
    paint = render
    if name.endswith(COMPILED):
        torch._dynamo.config.recompile_limit = _GRAPHS
        # One graph per shape: symbolic sizes make slower code, and a training has one batch size.
        paint = torch.compile(render, dynamic=False)
    done = 0

    def run(count: int) -> Tensor:
        nonlocal done
        indices = torch.arange(done, done + count)
        done += count
        params = draw(config, 0, indices, maps=len(bank), dims=bank.dim() - 1, device=bank.device)
        return paint(bank, params)[0]

    return Renderer(name=name, run=run)
