"""The generators that the benchmark compares, each as one function from a number of samples to images.

All render the same label maps (14 labels) on the same grid and do the same work: deform the labels with an
affine and an elastic part, fill every label with a Gaussian, bias field, gamma, blur, coarse resolution and
back, noise, intensities to [0, 1]. Each draws its own random parameters, inside the time that is measured.
"""

import dataclasses
import importlib
import importlib.metadata
import importlib.util
import warnings
from collections.abc import Callable
from dataclasses import dataclass

import SimpleITK
import torch
from label_maps import label_maps
from torch import Tensor

from gen import draw, label_scheme, preset, render

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
            found[package] = importlib.metadata.version(package)
        except importlib.metadata.PackageNotFoundError:
            found[package] = "not installed"
    return found


def make_renderer(name: str, grid: tuple[int, ...], device: torch.device) -> Renderer:
    """The generator of that name on a grid.

    Args:
        name: ``"cornucopia"``, ``"TorchIO"``, a preset, or a preset with `` compiled`` after it.
        grid: ``(H, W)`` or ``(Z, H, W)``, taken as 1 mm.
        device: where to render; TorchIO works on the CPU whatever this says.

    Raises:
        ValueError: no preset of that name.
        ModuleNotFoundError: the peer is not installed.
    """
    bank = label_maps(grid)
    if name == "cornucopia":
        return _cornucopia(label_scheme(14).encode(bank).to(device))
    if name == "TorchIO":
        return _torchio(label_scheme(14).encode(bank))
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


def _cornucopia(classes: Tensor) -> Renderer:
    """``SynthFromLabelTransform`` as it comes: all of its steps are on, with its own ranges.

    The background gets an intensity too, as in ours and in SynthSeg. Its elastic field is not integrated
    (its default), which is the faster way. It takes 2D maps as they are, and one sample at a time.
    """
    cornucopia = importlib.import_module("cornucopia")
    transform = cornucopia.SynthFromLabelTransform(sample_in_background=True)
    maps = classes.long().unsqueeze(1)

    def run(count: int) -> Tensor:
        return torch.stack([transform(maps[number % len(maps)])["image"] for number in range(count)])

    return Renderer(name="cornucopia", run=run, loops=True)


def _torchio(classes: Tensor) -> Renderer:
    """TorchIO's transforms in the order of SynthSeg, with SynthSeg's ranges where they have one.

    A slice is a volume of one slice, deformed and degraded in its plane only. Affine and elastic part are
    one resampling (``RandomAffineElasticDeformation``), which is the faster way.
    """
    torchio = importlib.import_module("torchio")
    flat = classes.dim() == 3
    # TorchIO's axes are W, H, D: the third one is the single slice.
    maps = classes.unsqueeze(-1) if flat else classes
    SimpleITK.ProcessObject.SetGlobalDefaultNumberOfThreads(torch.get_num_threads())
    in_plane = (0.8, 1.2)
    chain = torchio.Compose(
        [
            torchio.RandomAffineElasticDeformation(
                affine_kwargs={
                    "scales": (*in_plane, *in_plane, *((1.0, 1.0) if flat else in_plane)),
                    "degrees": (0, 0, 0, 0, -15, 15) if flat else 15,
                },
                elastic_kwargs={
                    "num_control_points": (7, 7, 5) if flat else 7,
                    "max_displacement": (7.5, 7.5, 0.0) if flat else 7.5,
                },
            ),
            torchio.RandomLabelsToImage(label_key="labels", image_key="image"),
            torchio.RandomBiasField(),
            torchio.RandomGamma(),
            torchio.RandomBlur(std=(0, 2, 0, 2, 0, 0) if flat else 2),
            torchio.RandomAnisotropy(axes=(0, 1) if flat else (0, 1, 2), downsampling=(1, 8)),
            torchio.RandomNoise(std=(0, 0.1)),
            torchio.RescaleIntensity(out_min_max=(0, 1), percentiles=(1, 99)),
        ]
    )
    subjects = [torchio.Subject(labels=torchio.LabelMap(tensor=codes.unsqueeze(0))) for codes in maps]

    def run(count: int) -> Tensor:
        with warnings.catch_warnings():
            # It warns of every sample whose labels touch the edge of the grid.
            warnings.simplefilter("ignore")
            images = [chain(subjects[number % len(subjects)])["image"].data for number in range(count)]
        stacked = torch.stack(images)
        return stacked.squeeze(-1) if flat else stacked

    return Renderer(name="TorchIO", run=run, loops=True)
