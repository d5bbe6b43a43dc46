"""Validation: structure Dice on fixed samples of validation patients.

Model A is validated on renders of their label maps, Model B on their real T1 slices: the choice of a
checkpoint never sees T2.
"""

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from synthspine.gen import GeneratorConfig, LabelScheme
from synthspine.gen.geometry.refine import refine_maps
from synthspine.shards.reading.open import SampleArrays
from synthspine.train.data.feed import render_samples
from synthspine.train.decoding import dice, likeliest_structures, overlap_counts, to_structures
from synthspine.train.model.unet import UNet
from synthspine.train.runtime.distributed import Ranks
from synthspine.train.runtime.precision import autocast

VALIDATION_SEED = 2**40 + 1
"""Far from the seeds that people choose, so that no training render is repeated."""
CHUNK = 8


@dataclass(frozen=True, kw_only=True, slots=True)
class Score:
    """Dice per structure, mean over the samples where the structure is in target or prediction.

    Attributes:
        structures: Dice of every structure of the label scheme; nan where it is in no sample.
        samples: number of samples, of all ranks together.
    """

    structures: dict[str, float]
    samples: int

    @property
    def mean(self) -> float:
        """Mean over the structures that occur; nan if none does."""
        values = [value for value in self.structures.values() if not np.isnan(value)]
        return float(np.mean(values)) if values else float("nan")


@dataclass(frozen=True, slots=True)
class ValidationSet:
    """This rank's part of the validation samples, on its device.

    Args:
        images: float in [0, 1], shape ``(N, 1, H, W)``.
        codes: dense codes, uint8, shape ``(N, H, W)``; refined where the label scheme is.
    """

    images: Tensor
    codes: Tensor

    @classmethod
    def rendered(
        cls,
        bank: np.ndarray,
        config: GeneratorConfig,
        samples: int,
        ranks: Ranks,
        *,
        odds: Tensor | None = None,
        refined: bool = False,
    ) -> "ValidationSet":
        """Samples ``0 .. samples-1`` of the generator on validation label maps ``(N, H, W)``.

        ``odds`` as of :class:`train.data.feed.RenderFeed`. A false structure in a side slice has Dice 0.
        """
        maps = torch.from_numpy(bank).to(ranks.device)
        images, codes = [], []
        mine = range(ranks.rank, samples, ranks.world_size)
        for start in range(0, len(mine), CHUNK):
            indices = torch.tensor(mine[start : start + CHUNK])
            image, code = render_samples(maps, config, VALIDATION_SEED, indices, odds=odds, refined=refined)
            images.append(image.half())
            codes.append(code)
        if not images:
            return cls(maps.new_zeros(0, 1, *maps.shape[1:]).half(), maps[:0])
        return cls(torch.cat(images), torch.cat(codes))

    @classmethod
    def real(
        cls, arrays: SampleArrays, samples: int, ranks: Ranks, *, spacing_mm: float | None = None
    ) -> "ValidationSet":
        """At most ``samples`` slices of a set with images, evenly spread over it.

        Codes are refined where ``spacing_mm``, the pixel size, is given.
        """
        if arrays.images is None:
            raise ValueError("a set of label maps has no images to validate on")
        total = len(arrays.labels)
        chosen = np.unique(np.linspace(0, total - 1, min(samples, total)).round().astype(np.int64))
        mine = chosen[ranks.rank :: ranks.world_size]
        images = torch.from_numpy(arrays.images[mine]).unsqueeze(1).to(ranks.device)
        codes = torch.from_numpy(arrays.labels[mine]).to(ranks.device)
        return cls(images, codes if spacing_mm is None else refine_maps(codes, (spacing_mm, spacing_mm)))


def validate(
    network: UNet, samples: ValidationSet, scheme: LabelScheme, ranks: Ranks, *, bf16: bool
) -> Score:
    """Score a network; every rank calls it, with its own part of the samples, and gets the same score."""
    names = scheme.structure_names
    total, count = torch.zeros(2, len(names), dtype=torch.float64, device=ranks.device)
    seen = total.new_full((1,), len(samples.codes))
    for images, codes in zip(samples.images.split(CHUNK), samples.codes.split(CHUNK), strict=True):
        if not len(images):
            continue
        prediction = find_structures(network, images, scheme, ranks, bf16=bf16)
        target = to_structures(scheme.encode(codes), scheme)
        scores = dice(*overlap_counts(prediction, target, len(names) + 1))[:, 1:]
        total += scores.nansum(dim=0)
        count += (~scores.isnan()).sum(dim=0)
    summed = ranks.sum_(torch.cat((total, count, seen))).cpu()
    means = (summed[: len(names)] / summed[len(names) : -1]).tolist()
    return Score(structures=dict(zip(names, means, strict=True)), samples=int(summed[-1]))


def find_structures(
    network: UNet, images: Tensor, scheme: LabelScheme, ranks: Ranks, *, bf16: bool
) -> Tensor:
    """Structure that a network finds in every pixel of images ``(B, 1, H, W)``, in evaluation mode.

    Returns:
        0 for background, 1.. in the order of the scheme's structures; uint8, shape ``(B, H, W)``.
    """
    mode = network.training
    network.eval()
    with torch.inference_mode(), autocast(bf16, ranks.device):
        logits = network(images.float().contiguous(memory_format=torch.channels_last))
        found = likeliest_structures(logits, scheme)
    network.train(mode)
    return found
