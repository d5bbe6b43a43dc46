"""Geometry: flip, affine map and deformation of the label maps, composed into one nearest gather.

The source of a pixel is computed at nodes a few millimetres apart and interpolated linearly between them,
which is exact for the affine part. A full-size picture costs one pass per axis and a gather.
"""

import math
from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn import functional

from synthspine.gen.core.anatomy import IGNORE
from synthspine.gen.core.counter_rng import SampleRandom
from synthspine.gen.core.feature import Spacing
from synthspine.gen.core.touched import where_changed
from synthspine.gen.geometry.affine import AffineParams
from synthspine.gen.geometry.deformation import FINEST_VELOCITY_MM, DeformationParams, node_displacement
from synthspine.gen.geometry.flip import FlipParams, mirror
from synthspine.gen.geometry.pathology import PathologyParams, change_shape

NODE_MM = FINEST_VELOCITY_MM / 2
"""Nodes lie at most this far apart, or a pixel where that is more."""
EXACT_FLOAT32 = 1 << 24
"""Whole numbers up to here are exact in float32."""


def draw_map(random: SampleRandom, maps: int | Tensor) -> Tensor:
    """Draw which map of the bank every sample shows, int64 ``(B,)``.

    ``maps`` is their number, or their cumulative probabilities as of ``gen.geometry.side_slices.map_odds``.
    """
    if isinstance(maps, int):
        return random.integer("map", maps)
    place = torch.searchsorted(maps, random.uniform("map").double(), right=True)
    return place.clamp(max=len(maps) - 1)


def deform(
    bank: Tensor,
    map_index: Tensor,
    affine: AffineParams,
    deformation: DeformationParams | None,
    flip: FlipParams | None,
    spacing_mm: Spacing,
    pathology: PathologyParams | None = None,
) -> Tensor:
    """Move the anatomy of the drawn maps: flip, then slip and fracture, then affine map, then deformation.

    ``bank`` holds dense codes, uint8 ``(N, *grid)``; ``map_index``, int64 ``(B,)``, the map of each sample.

    Returns:
        Dense codes, uint8 ``(B, *grid)``; 255 outside the map.
    """
    grid = bank.shape[1:]
    strides = _strides(spacing_mm)
    # A border of 255 serves all positions outside the map.
    chosen = mirror(bank.index_select(0, map_index), flip)
    maps = functional.pad(chosen, (1, 1) * len(grid), value=IGNORE)
    exact = torch.float32 if maps[0].numel() <= EXACT_FLOAT32 else torch.float64
    seen = _node_positions(grid, spacing_mm, deformation, bank.device)
    each = (-1, *[1] * len(grid))
    sources = []
    for axis in range(len(grid)):
        nodes = (affine.translation_mm[:, axis] / spacing_mm[axis]).view(each)
        for other, position in enumerate(seen):
            # In pixels, not mm: with the unit matrix every position stays the whole number that it is.
            ratio = spacing_mm[other] / spacing_mm[axis]
            nodes = nodes + (affine.matrix[:, axis, other] * ratio).view(each) * position
        sources.append(nodes)
    offset: Tensor | None = None
    for count, nodes in zip(grid, _changed_shape(sources, chosen, pathology, spacing_mm), strict=True):
        # One pixel for the border, and half a pixel so that rounding down is rounding to the nearest.
        pixel = (
            _between_nodes(nodes + ((count - 1) / 2 + 1.5), grid, strides)
            .clamp_(0, count + 1)
            .floor_()
            .to(exact)
        )
        offset = pixel if offset is None else pixel.add_(offset, alpha=count + 2)
    assert offset is not None
    return maps.flatten(1).gather(1, offset.flatten(1).long()).reshape(offset.shape)


def _changed_shape(
    places: list[Tensor], maps: Tensor, pathology: PathologyParams | None, spacing_mm: Spacing
) -> Sequence[Tensor]:
    """:func:`change_shape`, on a CPU only for the samples that it changes."""
    if pathology is None:
        return places

    def change(stacked: Tensor, maps: Tensor, own: PathologyParams) -> Tensor:
        return torch.stack(change_shape(stacked.unbind(1), maps, own, spacing_mm), dim=1)

    changed = pathology.slip_mm + pathology.wedge > 0
    stacked = torch.stack(places, dim=1)
    return where_changed(change, changed, stacked, maps, pathology, in_place=True).unbind(1)


def _strides(spacing_mm: Spacing) -> list[int]:
    """Pixels from node to node per axis: powers of two, whose linear weights are exact."""
    return [1 << max(0, math.floor(math.log2(NODE_MM / spacing))) for spacing in spacing_mm]


def _node_positions(
    grid: Sequence[int], spacing_mm: Spacing, deformation: DeformationParams | None, device: torch.device
) -> list[Tensor]:
    """Deformed positions of the nodes in pixels about the centre of the grid, per axis.

    Without a deformation each has the length of one axis only, and broadcasts.
    """
    strides = _strides(spacing_mm)
    # Nodes span the grid: the first lies at its first pixel, the last behind its last.
    counts = [-(-count // stride) + 1 for count, stride in zip(grid, strides, strict=True)]
    positions = []
    for axis, (nodes, stride, count) in enumerate(zip(counts, strides, grid, strict=True)):
        pixels = torch.arange(nodes, dtype=torch.float32, device=device) * stride - (count - 1) / 2
        positions.append(pixels.view(-1, *[1] * (len(grid) - 1 - axis)))
    if deformation is None:
        return positions
    step_mm = [stride * spacing for stride, spacing in zip(strides, spacing_mm, strict=True)]
    moved = node_displacement(deformation, counts, step_mm)
    return [place + steps * stride for place, steps, stride in zip(positions, moved, strides, strict=True)]


def _between_nodes(values: Tensor, grid: Sequence[int], strides: Sequence[int]) -> Tensor:
    """Interpolate linearly from nodes, ``(B, *nodes)``, to pixels, ``(B, *grid)``."""
    # The last axis first: of the full-size passes only the last remains.
    for axis in reversed(range(1, values.dim())):
        count, stride = grid[axis - 1], strides[axis - 1]
        if stride > 1:
            start = values.narrow(axis, 0, values.shape[axis] - 1)
            slope = (values.narrow(axis, 1, values.shape[axis] - 1) - start) / stride
            pixels = torch.arange(stride, dtype=values.dtype, device=values.device)
            pixels = pixels.view(-1, *[1] * (values.dim() - 1 - axis))
            values = torch.addcmul(start.unsqueeze(axis + 1), slope.unsqueeze(axis + 1), pixels)
            values = values.flatten(axis, axis + 1)
        values = values.narrow(axis, 0, count)
    return values
