"""From an image volume of any grid to dense codes on that grid, slice by slice."""

from typing import Literal

import numpy as np
import torch
from torch import nn

from eval.islands import remove_islands
from eval.metrics import STRUCTURE_SCHEME, group_structures
from eval.ranks import assign_ranks
from gen.anatomy import BACKGROUND, LabelScheme, label_scheme
from shards.slices import normalise, resample_back, resample_in_plane
from shards.spider import Volume
from train.unet import STRIDE

RankSource = Literal["auto", "count", "model"]
SLICES_AT_ONCE = 4
MIN_ISLAND_MM2 = 25.0


def segment_volume(
    model: nn.Module,
    volume: Volume,
    *,
    spacing_mm: float,
    device: torch.device | str = "cpu",
    min_island_mm2: float = MIN_ISLAND_MM2,
    ranks: RankSource = "auto",
) -> np.ndarray:
    """Dense codes of an image volume, on its own grid.

    Every slice is resampled to the model's pixel size, segmented whole, and the class probabilities are
    resampled back before the most likely class is taken. Islands go by structure and area; then ranks come
    from the model's classes, or are counted by ``eval.ranks``.

    Args:
        model: ``(B, 1, H, W)`` image in [0, 1] to logits ``(B, K, H, W)``, K one of the label schemes.
        volume: the image, as ``shards.spider.read_image`` gives it.
        spacing_mm: pixel size that the model was trained at.
        device: where the model lives.
        min_island_mm2: regions of a structure smaller than this in a slice are removed.
        ranks: ``"count"`` them, take the ``"model"``'s, or ``"auto"``: the model's where it has them.

    Returns:
        Dense codes, uint8, shape of ``volume.array``.

    Raises:
        ValueError: ranks of a model that has none are asked for.
    """
    classes, scheme = _most_likely(model, volume, spacing_mm, device)
    in_plane = (volume.spacing_mm[1], volume.spacing_mm[2])
    structures = group_structures(torch.from_numpy(classes), scheme).numpy()
    structures = remove_islands(structures, in_plane, min_island_mm2)
    has_ranks = scheme != STRUCTURE_SCHEME
    if ranks == "model" and not has_ranks:
        raise ValueError(f"a model of {scheme.num_classes} classes knows no ranks; let them be counted")
    if ranks == "count" or not has_ranks:
        return assign_ranks(structures, in_plane)
    codes: np.ndarray = scheme.decode(torch.from_numpy(classes)).numpy()
    codes[structures == 0] = BACKGROUND
    return codes


@torch.inference_mode()
def _most_likely(
    model: nn.Module, volume: Volume, spacing_mm: float, device: torch.device | str
) -> tuple[np.ndarray, LabelScheme]:
    """Most likely class of every voxel, uint8 ``(Z, H, W)``, and the scheme of the classes."""
    images = normalise(volume.array)
    in_plane = (volume.spacing_mm[1], volume.spacing_mm[2])
    native = (images.shape[1], images.shape[2])
    classes = np.empty(images.shape, dtype=np.uint8)
    num_classes = 0
    model.eval()
    for start in range(0, len(images), SLICES_AT_ONCE):
        part = slice(start, start + SLICES_AT_ONCE)
        resampled = resample_in_plane(images[part], in_plane, spacing_mm, labels=False)
        padded, (rows, columns) = _padded(resampled)
        logits = model(torch.from_numpy(padded)[:, None].to(device))
        num_classes = logits.shape[1]
        probabilities = logits[:, :, rows, columns].float().softmax(dim=1).cpu().numpy()
        # By slice: the probabilities of all classes at native resolution are the largest array here.
        for index, probability in enumerate(probabilities, start):
            back = resample_back(probability, spacing_mm, native, in_plane, labels=False)
            classes[index] = back.argmax(axis=0)
    return classes, label_scheme(num_classes)


def _padded(slices: np.ndarray) -> tuple[np.ndarray, tuple[slice, slice]]:
    """Slices with a margin of 0 up to the next multiple of the model's stride, and where they lie in it."""
    margins = [(0, 0)]
    places = []
    for size in slices.shape[1:]:
        # The network needs more than one pixel on its coarsest level.
        missing = max(-size % STRIDE, 2 * STRIDE - size)
        margins.append((missing // 2, missing - missing // 2))
        places.append(slice(missing // 2, missing // 2 + size))
    return np.pad(slices, margins), (places[0], places[1])
