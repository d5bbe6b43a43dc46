"""The peers: cornucopia and TorchIO as functions from a number of samples to images ``(B, 1, *grid)``.

All take label maps of classes 0..13, uint8, ``(N, *grid)``, and follow the recipe of SynthSeg (Billot et al.
2023), with its ranges where they have the parameter.
"""

import importlib
import warnings
from collections.abc import Callable
from typing import Any

import SimpleITK
import torch
from torch import Tensor

Run = Callable[[int], Tensor]


def cornucopia_run(classes: Tensor) -> Run:
    """``SynthFromLabelTransform`` with its default steps and ranges, one sample at a time.

    The background has an intensity too, as in SynthSeg. The elastic field is not integrated, which is the
    default and the faster choice.
    """
    cornucopia = importlib.import_module("cornucopia")
    transform = cornucopia.SynthFromLabelTransform(sample_in_background=True)
    maps = classes.long().unsqueeze(1)

    def run(count: int) -> Tensor:
        return torch.stack([transform(maps[number % len(maps)])["image"] for number in range(count)])

    return run


def torchio_run(classes: Tensor) -> Run:
    """TorchIO 1: a chain of random transforms on the CPU, one sample at a time.

    A slice is a volume of one slice, deformed and degraded in its plane only. The affine and the elastic
    part share one resampling (``RandomAffineElasticDeformation``), which is the faster choice.
    """
    torchio = importlib.import_module("torchio")
    SimpleITK.ProcessObject.SetGlobalDefaultNumberOfThreads(torch.get_num_threads())
    flat = classes.dim() == 3
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
    maps = _with_depth(classes)
    subjects = [torchio.Subject(labels=torchio.LabelMap(tensor=codes)) for codes in maps]

    def run(count: int) -> Tensor:
        with warnings.catch_warnings():
            # TorchIO warns of every sample whose labels touch the edge of the grid.
            warnings.simplefilter("ignore")
            images = [chain(subjects[number % len(subjects)])["image"].data for number in range(count)]
        return _without_depth(torch.stack(images), flat)

    return run


def torchio_2_run(classes: Tensor) -> Run:
    """TorchIO 2 (written for the pre-release 2.0.0a2): the same chain on whole batches, on any device."""
    torchio = importlib.import_module("torchio")
    flat = classes.dim() == 3
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
    subjects = [torchio.Subject(labels=torchio.LabelMap(codes)) for codes in _with_depth(classes)]

    def run(count: int) -> Tensor:
        batch = [subjects[number % len(subjects)] for number in range(count)]
        return _without_depth(chain(torchio.SubjectsBatch.from_subjects(batch))["image"].data, flat)

    return run


def _geometry(flat: bool) -> dict[str, Any]:
    """Parameters of the deformation. TorchIO's axes are W, H, D; a slice has one voxel along D."""
    return {
        "scales": _in_plane((0.8, 1.2), (1.0, 1.0), flat),
        "degrees": (0, 0, 0, 0, -15, 15) if flat else (-15, 15),
        "num_control_points": (7, 7, 5) if flat else 7,
        "max_displacement": (7.5, 7.5, 0.0) if flat else 7.5,
    }


def _in_plane(plane: tuple[float, float], depth: tuple[float, float], flat: bool) -> tuple[float, ...]:
    """Range of a parameter by axis, with its own range across the plane of a slice."""
    return (*plane, *plane, *depth) if flat else plane


def _with_depth(classes: Tensor) -> Tensor:
    """Maps with one channel, ``(N, 1, W, H, D)``."""
    return (classes.unsqueeze(-1) if classes.dim() == 3 else classes).unsqueeze(1)


def _without_depth(images: Tensor, flat: bool) -> Tensor:
    return images.squeeze(-1) if flat else images
