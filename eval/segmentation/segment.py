"""Segmentation of an image volume, slice by slice, as dense codes on its own grid."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from scipy.ndimage import binary_dilation, label, maximum_filter, minimum_filter
from torch import nn

from synthspine.eval.labelling.islands import remove_islands
from synthspine.eval.labelling.ranks import rank_codes
from synthspine.eval.labelling.roles import ranked_classes
from synthspine.eval.labelling.settings import MIN_ISLAND_MM2, RankSource
from synthspine.eval.metrics.calibration import structure_entropy_sums
from synthspine.eval.segmentation.across_slices import agree_across_slices
from synthspine.eval.segmentation.presence import shows_spine
from synthspine.eval.segmentation.tta import PLAIN, View, class_probabilities
from synthspine.gen.core.anatomy import BACKGROUND
from synthspine.gen.core.schemes import LabelScheme
from synthspine.shards.readers.slices import normalise, resample_back, resample_in_plane, resampled_size
from synthspine.shards.readers.spider import Volume
from synthspine.train.decoding import likeliest_classes, to_structures

SURE_ENTROPY = 0.24
"""Mean structure entropy, nats, of the surest slice up to which the pixel size is not questioned."""
SCALES = (0.5, 2.0)
"""Factors of the pixel size that are tried otherwise."""
MOST_FIELD_MM = 800.0
"""Larger fields of view are not tried: no scanner has them."""
CLEARER = 0.05
"""By how much a slice must be surer with another pixel size."""
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
        slice_entropy: the same mean for every slice.
        relative: whether ranks count from the lowest vertebra in view, because no sacrum is.
        scale: factor of the pixel size with which the scan shows a spine more clearly; None where none does.
    """

    codes: np.ndarray
    scheme: LabelScheme
    entropy: float
    removed: float
    slice_entropy: tuple[float, ...] = ()
    relative: bool = False
    scale: float | None = None


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
    always: bool = False,
) -> Segmentation:
    """Segment an image volume.

    Every slice is resampled to the model's pixel size and segmented as a whole; neighbouring slices are made
    to agree (``eval.segmentation.across_slices``), and the class probabilities are resampled back before the
    most likely class is taken. Islands are removed, then vertebrae and discs get their ranks, and posterior
    elements those of their vertebrae (``eval.labelling.ranks``, also for schemes without canal, discs or
    vertebrae). Nothing is labelled in a scan that shows no spine (``eval.segmentation.presence``).

    Args:
        model: ``(B, 1, H, W)`` image in [0, 1] to logits ``(B, K, H, W)``.
        volume: the image, as returned by ``shards.readers.spider.read_image``.
        scheme: label scheme of the K classes; that of a trained model is its ``scheme``.
        spacing_mm: pixel size of the model's training.
        device: where the model runs.
        min_island_mm2: smallest area of a region of a structure in a slice; smaller ones are removed.
        ranks: ``"count"``: counted along the canal; ``"model"``: those of the model; ``"auto"``: counted,
            from the start with which most of the model's ranks agree, if any.
        views: views of every slice (``eval.segmentation.tta``).
        always: whether scans are labelled, too, that seem to show no spine.

    Raises:
        ValueError: ``"model"`` ranks of a model without ranks, or K is not the scheme's number of classes.
    """
    if ranks == "model" and not ranked_classes(scheme).any():
        raise ValueError(f"a model of {scheme.num_classes} classes has no ranks; let them be counted")

    def segment(volume: Volume) -> Segmentation:
        return _segmented(model, volume, scheme, spacing_mm, device, min_island_mm2, ranks, views)

    answer = segment(volume)
    entropy = np.array(answer.slice_entropy)
    least = float(np.nanmin(entropy, initial=np.inf))
    scale = _likelier_scale(segment, volume, least) if least > SURE_ENTROPY else None
    if not always and not shows_spine(answer.codes, entropy, volume.spacing_mm):
        answer = replace(answer, codes=np.full_like(answer.codes, BACKGROUND), relative=False)
    return replace(answer, scale=scale)


def _segmented(
    model: nn.Module,
    volume: Volume,
    scheme: LabelScheme,
    spacing_mm: float,
    device: torch.device | str,
    min_island_mm2: float,
    ranks: RankSource,
    views: Sequence[View],
) -> Segmentation:
    in_view = field_of_view(volume.array)
    shown = np.asarray(in_view.any(axis=(1, 2)))
    classes, nats, pixels = _most_likely(model, volume, shown, scheme, spacing_mm, device, views)
    nats[~shown] = pixels[~shown] = 0
    in_plane = (volume.spacing_mm[1], volume.spacing_mm[2])
    classes[~in_view] = BACKGROUND
    found = to_structures(torch.from_numpy(classes), scheme).numpy()
    structures = remove_islands(found, in_plane, min_island_mm2)
    before, after = int(np.count_nonzero(found)), int(np.count_nonzero(structures))
    codes = scheme.decode(torch.from_numpy(classes)).numpy()
    codes[structures == 0] = BACKGROUND
    ranked = rank_codes(codes, scheme, volume.spacing_mm, ranks, in_view)
    slice_entropy = np.divide(nats, pixels, out=np.full(len(nats), np.nan), where=pixels > 0)
    return Segmentation(
        codes=ranked.codes,
        scheme=scheme,
        entropy=float(nats.sum() / pixels.sum()) if pixels.any() else float("nan"),
        removed=(before - after) / max(1, before),
        slice_entropy=tuple(slice_entropy.tolist()),
        relative=ranked.relative,
    )


def _likelier_scale(segment: Callable[[Volume], Segmentation], volume: Volume, least: float) -> float | None:
    """Factor of the pixel size with which the middle slices show a spine more clearly; None where none does.

    Args:
        segment: segments a volume.
        volume: the scan.
        least: structure entropy of its surest slice, nats.
    """
    across, *in_plane = volume.spacing_mm
    middle = len(volume.array) // 2
    array = volume.array[max(0, middle - 1) : middle + 2]
    entropies: dict[float, float] = {}
    for factor in SCALES:
        row, column = (value * factor for value in in_plane)
        if array[0].size * row * column <= MOST_FIELD_MM**2:
            other = segment(replace(volume, array=array, spacing_mm=(across, row, column)))
            if shows_spine(other.codes, np.array(other.slice_entropy), (across, row, column)):
                entropies[factor] = float(np.nanmin(other.slice_entropy))
    best = min(entropies, key=entropies.__getitem__, default=None)
    return best if best is not None and entropies[best] < least - CLEARER else None


def field_of_view(array: np.ndarray) -> np.ndarray:
    """What a scan shows: all but constant slices and constant corners (padding), bool ``(Z, H, W)``.

    Args:
        array: intensities, ``(Z, H, W)``.
    """
    window = (1, 3, 3)
    flat = maximum_filter(array, window, mode="nearest") == minimum_filter(array, window, mode="nearest")
    in_view = np.ones(array.shape, dtype=bool)
    for index, plane in enumerate(flat):
        numbers, _ = label(plane)
        corners = np.unique(numbers[[0, 0, -1, -1], [0, -1, 0, -1]])
        in_view[index] = ~binary_dilation(np.isin(numbers, corners[corners > 0]), np.ones((3, 3)))
    return in_view


def _most_likely(
    model: nn.Module,
    volume: Volume,
    shown: np.ndarray,
    scheme: LabelScheme,
    spacing_mm: float,
    device: torch.device | str,
    views: Sequence[View],
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Most likely class of every voxel, uint8 ``(Z, H, W)``; entropies and pixels of structures by slice.

    Slices that are not ``shown``, bool ``(Z,)``, tell nothing about their neighbours.
    """
    in_plane = (volume.spacing_mm[1], volume.spacing_mm[2])
    native = (volume.array.shape[1], volume.array.shape[2])
    plane = float(math.prod(resampled_size(native, in_plane, spacing_mm)))
    images = normalise(volume.array)
    classes = np.empty(images.shape, dtype=np.uint8)
    nats, pixels = np.zeros((2, len(images)))
    together: np.ndarray = np.empty((0, 0, 0, 0), dtype=np.float16)
    model.eval()
    plane *= max(view.magnification for view in views) ** 2
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
        sums, found = structure_entropy_sums(torch.from_numpy(probabilities), scheme)
        own = slice(start, start + len(probabilities))
        nats[own], pixels[own] = sums.numpy(), found.numpy()
        if not start:
            together = np.empty((len(images), *probabilities.shape[1:]), dtype=np.float16)
        together[own] = probabilities
    agree_across_slices(together, scheme, volume.spacing_mm[0], shown)
    # One slice at a time: the probabilities at native resolution are larger still.
    for index, probability in enumerate(together):
        back = resample_back(probability.astype(np.float32), spacing_mm, native, in_plane, labels=False)
        classes[index] = likeliest_classes(torch.from_numpy(back).unsqueeze(0).log(), scheme)[0].numpy()
    return classes, nats, pixels
