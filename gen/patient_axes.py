"""Pictures of label maps with an affine, in any orientation, as medical imaging libraries hold them."""

from copy import copy
from dataclasses import replace

import numpy as np
import torch
from nibabel.affines import voxel_sizes
from nibabel.orientations import axcodes2ornt, io_orientation, ornt_transform
from torch import Tensor

from synthspine.gen.dataset import SpineSynthGenerator

_TOWARDS = "RIP"
"""Directions of the generator's axes: slices to the right, rows to the feet, columns to the back."""
_SAME_SPACING = 0.05


def picture_of(
    generator: SpineSynthGenerator,
    labels: Tensor,
    affine: np.ndarray | Tensor | None,
    index: int,
    *,
    deform: bool = False,
) -> tuple[Tensor, Tensor]:
    """Render one label map in its own axes.

    Args:
        generator: its seed and ``index`` choose the draw; the affine replaces the spacing of it.
        labels: whole numbers of any type, shape ``(i, j, k)``; without an affine ``(Z, H, W)`` or ``(H, W)``
            in the axes of the generator. A volume of one sagittal slice is rendered as a slice.
        affine: from voxels to millimetres towards right, front and top, shape ``(4, 4)``.
        index: number of the sample.
        deform: whether the anatomy moves; if not, the picture lies exactly on ``labels``.

    Returns:
        Image, float32 in [0, 1], and the labels that it shows, both of the shape of ``labels``.

    Raises:
        ValueError: fractions, an unknown label, or sagittal slices whose pixels are not square.
    """
    plain = labels.as_subclass(Tensor)
    whole = plain.round().long() if plain.is_floating_point() else plain
    if bool((whole != plain).any()):
        raise ValueError("the label map holds fractions; resample it by nearest neighbour")
    if affine is None:
        return _rendered(generator, whole, index, deform)
    matrix = np.asarray(affine, dtype=np.float64)
    turn = ornt_transform(io_orientation(matrix), axcodes2ornt(_TOWARDS))
    order = np.argsort(turn[:, 0]).tolist()
    flipped = np.flatnonzero(turn[:, 1] < 0).tolist()
    depth, rows, columns = voxel_sizes(matrix)[order].tolist()
    if abs(rows / columns - 1) > _SAME_SPACING:
        raise ValueError(
            f"the pixels of the sagittal slices are {rows:.3g} x {columns:.3g} mm; resample them to squares"
        )
    placed = copy(generator)
    # The distance of a single slice does not matter, and need not be within the bounds.
    spacing = {"slice_spacing_mm": depth} if whole.shape[order[0]] > 1 else {}
    placed.config = replace(generator.config, spacing_mm=(rows + columns) / 2, **spacing)
    turned = whole.flip(flipped).permute(order)
    one = len(turned) == 1
    made = _rendered(placed, turned[0] if one else turned, index, deform)
    back = np.argsort(order).tolist()
    image, target = ((part[None] if one else part).permute(back).flip(flipped) for part in made)
    return image, target


def _rendered(
    generator: SpineSynthGenerator, labels: Tensor, index: int, deform: bool
) -> tuple[Tensor, Tensor]:
    if not deform:
        return generator.generate_synthetic_mri(labels, index=index), labels
    image, target = generator.sample(labels, indices=torch.tensor([index]), maps=torch.tensor([0]))
    return image[0, 0], target[0]
