"""Segmentation of an image volume, slice by slice, as dense codes on its own grid."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import nn

from synthspine.eval.labelling.islands import MIN_ISLAND_MM2, remove_islands
from synthspine.eval.labelling.ranks import RankSource, rank_codes
from synthspine.eval.labelling.roles import ranked_classes
from synthspine.eval.metrics.calibration import structure_entropy_sums
from synthspine.eval.prediction.tta import PLAIN, View, class_probabilities
from synthspine.gen.core.anatomy import BACKGROUND
from synthspine.gen.core.schemes import LabelScheme
from synthspine.shards.readers.slices import normalise, resample_back, resample_in_plane
from synthspine.shards.readers.spider import Volume
from synthspine.train.decoding import likeliest_classes, to_structures

_LEAST_PIXELS = 2**19
PIXELS_AT_ONCE = {"cpu": _LEAST_PIXELS, "cuda": 2**22}
"""Pixels that the network sees at once, by kind of device; bounds its memory."""


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Segmentation:
    """Segmentation of a volume.

    Attributes:
        codes: dense codes on the volume's own grid, uint8.
        scheme: label scheme of the model.
        entropy: mean structure entropy (nats) over the pixels predicted as structure, before islands are
            removed; nan where there is none.
        removed: share of the structures' pixels that was removed as islands; 0 where there is no structure.
    """

    codes: np.ndarray
    scheme: LabelScheme
    entropy: float
    removed: float


def segment_volume(
    model: nn.Module,
    volume: Volume,
    *,
    scheme: LabelScheme,
    spacing_mm: float,
    device: torch.device | str = "cpu",
    min_island_mm2: float = MIN_ISLAND_MM2,
    ranks: RankSource = "auto",
    views: Sequence[View] = PLAIN,
) -> Segmentation:
    """Segment an image volume.

    Every slice is resampled to the model's pixel size and segmented as a whole; the class probabilities are
    resampled back before the most likely class is taken. Islands are removed, then vertebrae and discs get
    their ranks, and posterior elements those of their vertebrae (``eval.labelling.ranks``, also for schemes
    without canal, discs or vertebrae).

    Args:
        model: ``(B, 1, H, W)`` image in [0, 1] to logits ``(B, K, H, W)``.
        volume: the image, as returned by ``shards.readers.spider.read_image``.
        scheme: label scheme of the K classes; that of a trained model is its ``scheme``.
        spacing_mm: pixel size of the model's training.
        device: where the model runs.
        min_island_mm2: smallest area of a region of a structure in a slice; smaller ones are removed.
        ranks: ``"count"``: counted along the canal; ``"model"``: those of the model; ``"auto"``: counted,
            from the start with which most of the model's ranks agree, if any.
        views: views of every slice (``eval.prediction.tta``).

    Raises:
        ValueError: ``"model"`` ranks of a model without ranks, or K is not the scheme's number of classes.
    """
    if ranks == "model" and not ranked_classes(scheme).any():
        raise ValueError(f"a model of {scheme.num_classes} classes has no ranks; let them be counted")
    classes, entropy = _most_likely(model, volume, scheme, spacing_mm, device, views)
    in_plane = (volume.spacing_mm[1], volume.spacing_mm[2])
    found = to_structures(torch.from_numpy(classes), scheme).numpy()
    structures = remove_islands(found, in_plane, min_island_mm2)
    before, after = int(np.count_nonzero(found)), int(np.count_nonzero(structures))
    codes = scheme.decode(torch.from_numpy(classes)).numpy()
    codes[structures == 0] = BACKGROUND
    return Segmentation(
        codes=rank_codes(codes, scheme, volume.spacing_mm, ranks),
        scheme=scheme,
        entropy=entropy,
        removed=(before - after) / max(1, before),
    )


def _most_likely(
    model: nn.Module,
    volume: Volume,
    scheme: LabelScheme,
    spacing_mm: float,
    device: torch.device | str,
    views: Sequence[View],
) -> tuple[np.ndarray, float]:
    """Most likely class of every voxel, uint8 ``(Z, H, W)``, and the entropy."""
    images = normalise(volume.array)
    in_plane = (volume.spacing_mm[1], volume.spacing_mm[2])
    native = (images.shape[1], images.shape[2])
    classes = np.empty(images.shape, dtype=np.uint8)
    total, pixels = 0.0, 0
    model.eval()
    plane = np.prod([size * old / spacing_mm for size, old in zip(native, in_plane, strict=True)])
    at_once = max(1, int(PIXELS_AT_ONCE.get(torch.device(device).type, _LEAST_PIXELS) / plane))
    for start in range(0, len(images), at_once):
        part = images[start : start + at_once]
        resampled = resample_in_plane(part, in_plane, spacing_mm, labels=False)
        probabilities = class_probabilities(model, resampled, views, device)
        if probabilities.shape[1] != scheme.num_classes:
            raise ValueError(
                f"the network has {probabilities.shape[1]} classes, but its label scheme {scheme.name} "
                f"{scheme.num_classes}"
            )
        nats, found = structure_entropy_sums(torch.from_numpy(probabilities), scheme)
        total, pixels = total + float(nats.sum()), pixels + int(found.sum())
        # One slice at a time: the probabilities at native resolution are the largest array here.
        for index, probability in enumerate(probabilities, start):
            back = resample_back(probability, spacing_mm, native, in_plane, labels=False)
            likely = torch.from_numpy(back).unsqueeze(0).log()
            classes[index] = likeliest_classes(likely, scheme)[0].numpy()
    return classes, total / pixels if pixels else float("nan")
