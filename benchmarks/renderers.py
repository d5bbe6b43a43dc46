"""The generators that are compared, each as a function from a number of samples to images ``(B, 1, *grid)``.

All render the same label maps (14 labels) on the same grid and do the same work: deform the labels with an
affine and an elastic part, fill every label with a Gaussian, apply bias field, gamma, blur, coarse
resolution and back, noise, and rescale intensities to [0, 1]. Each draws its own random parameters within
the measured time. The peers, cornucopia and TorchIO, follow the recipe of SynthSeg (Billot et al. 2023), with
its ranges where they have the parameter.
"""

import dataclasses
import importlib
import multiprocessing
import warnings
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

import SimpleITK
import torch
from torch import Tensor

from benchmarks.label_maps import label_maps
from synthspine.gen import Params, draw, label_scheme, preset, render
from synthspine.gen.core.memory import keep_freed_memory
from synthspine.gen.generator import samples_at_once

Run = Callable[[int], Tensor]

PEERS = {"cornucopia": "cornucopia", "TorchIO": "torchio"}
"""Peers and the packages that hold them."""
COMPILED, GRAPHS = " compiled", " graphs"
"""End of a preset's name where ``render`` is compiled, and where its kernels are recorded as a CUDA graph."""
_MOST_GRAPHS = 64
"""Graphs of ``render`` that torch keeps: one per preset, grid and batch size."""

_WARM_UP_SIDE = 16
_BATCHES_PER_PEAK = 3
"""Batches after which the peak of a process is read."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Renderer:
    """A generator on one grid: a preset, ``preset compiled``, ``preset graphs`` or a peer."""

    name: str
    run: Run
    """Renders the given number of samples, ``(B, 1, *grid)``."""
    loops: bool = False
    """Whether it renders one sample after the other, so that a batch saves nothing."""


def make_renderer(name: str, grid: tuple[int, ...], device: torch.device) -> Renderer:
    """The generator of that name on a grid, ``(H, W)`` or ``(Z, H, W)``, taken as 1 mm.

    The name is ``"cornucopia"``, ``"TorchIO"``, a preset, or a preset followed by `` compiled`` or
    `` graphs``. Raises ValueError if no preset has that name, ModuleNotFoundError if the peer is not
    installed.
    """
    bank = label_maps(grid)
    if name not in PEERS:
        return Renderer(name=name, run=_preset_run(name, bank.to(device)))
    classes = label_scheme(14).encode(bank).unsqueeze(1)
    if name == "cornucopia":
        return Renderer(name=name, run=_cornucopia_run(classes.to(device)), loops=True)
    # TorchIO's axes are W, H, D; a slice has one voxel along D.
    classes = classes.unsqueeze(-1) if len(grid) == 2 else classes
    if version("torchio").startswith("1."):
        return Renderer(name=name, run=_torchio_run(classes), loops=True)
    return Renderer(name=name, run=_torchio_2_run(classes.to(device)))


def _preset_run(name: str, bank: Tensor) -> Run:
    config = preset(name.removesuffix(COMPILED).removesuffix(GRAPHS))
    config = dataclasses.replace(config, slice_spacing_mm=config.spacing_mm)
    render_batch: Callable[[Tensor, Params], Tensor] = lambda bank, params: render(bank, params)[0]  # noqa: E731
    if name.endswith((COMPILED, GRAPHS)):
        render_batch = _compiled(samples_at_once(bank), graphs=name.endswith(GRAPHS))
    done = 0

    def run(count: int) -> Tensor:
        nonlocal done
        indices = torch.arange(done, done + count)
        done += count
        return render_batch(bank, draw(config, 0, indices, maps=len(bank), dims=bank.dim() - 1))

    return run


def _compiled(at_once: int, *, graphs: bool) -> Callable[[Tensor, Params], Tensor]:
    """Compiled ``render``, of so many samples at once: larger batches are cut before, as ``render`` does it.

    There is one compiled function per batch size: symbolic sizes make slower code, and a training has one.
    """
    torch._dynamo.config.recompile_limit = _MOST_GRAPHS
    compiled = torch.compile(render, dynamic=False, mode="reduce-overhead" if graphs else None)

    def render_batch(bank: Tensor, params: Params) -> Tensor:
        params, images = params.to(bank.device), []
        for start in range(0, len(params), at_once):
            # The next run of a CUDA graph writes over the images of the last one.
            torch.compiler.cudagraph_mark_step_begin()
            image = compiled(bank, params[start : start + at_once])[0]
            images.append(image.clone() if graphs else image)
        return torch.cat(images)

    return render_batch


def _cornucopia_run(classes: Tensor) -> Run:
    """``SynthFromLabelTransform`` with its default steps and ranges, one sample at a time.

    The background has an intensity too, as in SynthSeg. The elastic field is not integrated, which is the
    default and the faster choice.
    """
    cornucopia = importlib.import_module("cornucopia")
    transform = cornucopia.SynthFromLabelTransform(sample_in_background=True)
    maps = classes.long()

    def run(count: int) -> Tensor:
        return torch.stack([transform(maps[number % len(maps)])["image"] for number in range(count)])

    return run


def _torchio_run(classes: Tensor) -> Run:
    """TorchIO 1: a chain of random transforms on the CPU, one sample at a time.

    A slice is a volume of one slice, deformed and degraded in its plane only. The affine and the elastic
    part share one resampling (``RandomAffineElasticDeformation``), which is the faster choice.
    """
    torchio = importlib.import_module("torchio")
    SimpleITK.ProcessObject.SetGlobalDefaultNumberOfThreads(torch.get_num_threads())
    flat = classes.shape[-1] == 1
    geometry = _geometry(flat)
    affine = {key: geometry[key] for key in ("scales", "degrees")}
    elastic = {key: geometry[key] for key in ("num_control_points", "max_displacement")}
    chain = torchio.Compose(
        [
            torchio.RandomAffineElasticDeformation(affine_kwargs=affine, elastic_kwargs=elastic),
            torchio.RandomLabelsToImage(label_key="labels", image_key="image"),
            torchio.RandomBiasField(),
            torchio.RandomGamma(),
            torchio.RandomBlur(std=_in_plane((0, 2), (0, 0), flat)),
            torchio.RandomAnisotropy(axes=(0, 1) if flat else (0, 1, 2), downsampling=(1, 8)),
            torchio.RandomNoise(std=(0, 0.1)),
            torchio.RescaleIntensity(out_min_max=(0, 1), percentiles=(1, 99)),
        ]
    )
    subjects = [torchio.Subject(labels=torchio.LabelMap(tensor=codes)) for codes in classes]

    def run(count: int) -> Tensor:
        with warnings.catch_warnings():
            # TorchIO warns of every sample whose labels touch the edge of the grid.
            warnings.simplefilter("ignore")
            images = [chain(subjects[number % len(subjects)])["image"].data for number in range(count)]
        return torch.stack(images).squeeze(-1)

    return run


def _torchio_2_run(classes: Tensor) -> Run:
    """TorchIO 2 (written for the pre-release 2.0.0a2): the same chain on whole batches, on any device."""
    torchio = importlib.import_module("torchio")
    flat = classes.shape[-1] == 1
    chain = torchio.Compose(
        [
            torchio.Spatial(**_geometry(flat)),
            torchio.LabelsToImage(label_key="labels", image_key="image"),
            torchio.BiasField(std=(0.0, 0.7)),
            torchio.Gamma(log_gamma=(-0.3, 0.3)),
            torchio.Blur(std=_in_plane((0.0, 2.0), (0.0, 0.0), flat)),
            torchio.Anisotropy(axes=(0, 1) if flat else (0, 1, 2), downsampling=(1.0, 8.0)),
            torchio.Noise(std=(0.0, 0.1)),
            torchio.Normalize(out_min=0.0, out_max=1.0, percentile_low=1.0, percentile_high=99.0),
        ]
    )
    subjects = [torchio.Subject(labels=torchio.LabelMap(codes)) for codes in classes]

    def run(count: int) -> Tensor:
        batch = [subjects[number % len(subjects)] for number in range(count)]
        images: Tensor = chain(torchio.SubjectsBatch.from_subjects(batch))["image"].data
        return images.squeeze(-1)

    return run


def _geometry(flat: bool) -> dict[str, Any]:
    """Parameters of the deformation."""
    return {
        "scales": _in_plane((0.8, 1.2), (1.0, 1.0), flat),
        "degrees": (0, 0, 0, 0, -15, 15) if flat else (-15, 15),
        "num_control_points": (7, 7, 5) if flat else 7,
        "max_displacement": (7.5, 7.5, 0.0) if flat else 7.5,
    }


def _in_plane(plane: tuple[float, float], depth: tuple[float, float], flat: bool) -> tuple[float, ...]:
    """Range of a parameter by axis, with its own range across the plane of a slice."""
    return (*plane, *plane, *depth) if flat else plane


def peak_bytes(
    name: str, grid: tuple[int, ...], batches: Sequence[int], device: torch.device
) -> dict[int, int]:
    """Bytes by batch size: peak of one batch above the process at rest, images and labels included.

    Batch sizes ascend, because on the CPU a later peak hides a lower one. The other arguments are those of
    :func:`make_renderer`.

    Raises:
        OSError: there is no ``/proc``.
    """
    if device.type == "cuda":
        return _allocated(name, grid, batches, device)
    with ProcessPoolExecutor(1, multiprocessing.get_context("spawn")) as process:
        return process.submit(_resident, name, grid, batches, torch.get_num_threads()).result()


def bytes_per_voxel(peaks: dict[int, int], voxels: int) -> float | None:
    """Growth of the peak from the smallest to the largest batch, bytes per voxel; None for one batch size."""
    first, last = min(peaks), max(peaks)
    return None if first == last else (peaks[last] - peaks[first]) / ((last - first) * voxels)


def _process_bytes(entry: str) -> int:
    """An entry of ``/proc/self/status``, in bytes."""
    status = Path("/proc/self/status").read_text()
    return 1024 * int(status.partition(f"\n{entry}:")[2].split()[0])


def _allocated(
    name: str, grid: tuple[int, ...], batches: Sequence[int], device: torch.device
) -> dict[int, int]:
    renderer = make_renderer(name, grid, device)
    peaks = {}
    for batch in batches:
        renderer.run(batch)
        torch.cuda.synchronize(device)
        torch.cuda.reset_peak_memory_stats(device)
        before = torch.cuda.memory_allocated(device)
        renderer.run(batch)
        torch.cuda.synchronize(device)
        peaks[batch] = torch.cuda.max_memory_allocated(device) - before
    return peaks


def _resident(name: str, grid: tuple[int, ...], batches: Sequence[int], threads: int) -> dict[int, int]:
    torch.set_num_threads(threads)
    keep_freed_memory()
    device = torch.device("cpu")
    make_renderer(name, (_WARM_UP_SIDE,) * len(grid), device).run(1)
    renderer = make_renderer(name, grid, device)
    before = _process_bytes("VmRSS")
    peaks = {}
    for batch in batches:
        for _ in range(_BATCHES_PER_PEAK):
            renderer.run(batch)
        peaks[batch] = _process_bytes("VmHWM") - before
    return peaks
