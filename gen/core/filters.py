"""Separable linear operators: one matrix per sample and axis, applied with batched matrix products.

Positions are in millimetres from the centre of the grid, so operators built from them never shift a
picture, whatever the spacings on either side. Where a kernel is much narrower than its axis, the matrix is
a band: the axis is cut into blocks, and each block of outputs is a small product with a window of inputs.

The *correlation length* ``s`` of a random field is the standard deviation of the Gaussian kernel that smooths
white noise into it; two points at distance ``d`` have the correlation ``exp(-d^2 / (4 s^2))``.
"""

import math
from collections.abc import Sequence
from functools import lru_cache

import torch
from torch import Tensor
from torch.nn import functional

from synthspine.gen.core.counter_rng import bell_field
from synthspine.gen.core.feature import Spacing

BLOCK = 32
"""Outputs per block of a band."""
ALIGNED = 4
"""Matrix products are padded to multiples of this number of rows and columns."""
SHORT_AXIS = 48
"""Axes of no more points than this get whole matrices."""
REACH = 3.5
"""Where the kernel of a random field ends, in standard deviations."""
FARTHEST = 70.0
"""Squared distance, in standard deviations, beyond which Gaussian weights stay constant (below 1e-15)."""
WIDEST = 4
"""Greatest correlation length of a random field, as a multiple of its smallest."""
COARSENESS = 4 / 3
"""Distance of the points that a random field is drawn at, as a multiple of its smallest correlation."""


@lru_cache(maxsize=256)
def centred_positions(count: int, spacing_mm: float, device: torch.device) -> Tensor:
    """Positions of ``count`` grid points about the centre of their axis, mm, shape ``(count,)``."""
    return (torch.arange(count, device=device, dtype=torch.float32) - (count - 1) / 2) * spacing_mm


def apply_along(values: Tensor, matrix: Tensor, axis: int) -> Tensor:
    """Apply one matrix per sample, ``(B, n_out, n_in)``, along a grid axis, counted after the batch.

    ``values`` have the shape ``(B, *grid)`` with ``grid[axis] = n_in``, the result that with ``n_out``.
    """
    batch, grid = values.shape[0], list(values.shape[1:])
    n_out = matrix.shape[1]
    if axis == len(grid) - 1:
        result = _product(values.reshape(batch, -1, grid[axis]), matrix.mT)
    else:
        lead = math.prod(grid[:axis])
        result = _products(matrix, values.reshape(batch, lead, grid[axis], -1))
    grid[axis] = n_out
    return result.reshape(batch, *grid)


def apply_band(values: Tensor, block: Tensor, stride: int, count: int, axis: int) -> Tensor:
    """Apply a band whose blocks are all alike along a grid axis of ``values`` ``(B, *grid)``.

    ``block``, ``(B, n_out, n_in)``, holds the weights of one window of inputs for one block of outputs;
    windows start ``stride`` inputs apart. The result has ``count`` outputs on that axis.
    """
    batch, n_out, n_in = block.shape
    blocks = -(-count // n_out)
    missing = (blocks - 1) * stride + n_in - values.shape[axis + 1]
    behind = values.dim() - axis - 2
    if missing > 0:
        values = functional.pad(values, (0, 0) * behind + (0, missing))
    # The window becomes the last axis: (B, *lead, blocks, *rest, n_in).
    windows = values.unfold(axis + 1, n_in, stride).narrow(axis + 1, 0, blocks)
    shape = windows.shape[1:-1]
    if behind == 0:
        result = _product(windows.reshape(batch, -1, n_in), block.mT)
        result = result.reshape(batch, *shape[:-1], blocks * n_out)
    else:
        lead, rest = shape[:axis].numel(), shape[axis + 1 :]
        columns = windows.movedim(-1, axis + 2).reshape(batch, lead * blocks, n_in, rest.numel())
        result = _products(block, columns).reshape(batch, *shape[:axis], blocks * n_out, *rest)
    return result.narrow(axis + 1, 0, count)


def _products(left: Tensor, right: Tensor) -> Tensor:
    """One matrix per sample, ``(B, m, k)``, times many, ``(B, L, k, n)``: ``(B, L, m, n)``."""
    batch, many = right.shape[:2]
    repeated = left.unsqueeze(1).expand(-1, many, -1, -1).flatten(0, 1)
    return _product(repeated, right.flatten(0, 1)).unflatten(0, (batch, many))


def _product(left: Tensor, right: Tensor) -> Tensor:
    """``torch.bmm`` whose results do not depend on the size of the batch.

    Measured on the CPU: its last bits do, unless rows and columns come in multiples of 4.
    """
    rows, columns = left.shape[1], right.shape[2]
    more_rows, more_columns = -rows % ALIGNED, -columns % ALIGNED
    if more_rows:
        left = functional.pad(left, (0, 0, 0, more_rows))
    if more_columns:
        right = functional.pad(right, (0, more_columns))
    return torch.bmm(left, right)[:, :rows, :columns]


def gaussian_matrix(out_mm: Tensor, in_mm: Tensor, sigma_mm: Tensor) -> Tensor:
    """Gaussian weights of input points seen from outputs, rows not normalised: ``(B, n_out, n_in)``.

    Positions are ``(n_out,)`` or ``(B, n_out)``, and ``(n_in,)``; standard deviations, ``(B,)``, above 0.
    """
    distance = (out_mm.unsqueeze(-1) - in_mm) / sigma_mm[:, None, None]
    # Denormal weights would slow matrix products down.
    return distance.square_().clamp_(max=FARTHEST).mul_(-0.5).exp_()


def gaussian_blur(image: Tensor, sigma_mm: Tensor, spacing_mm: Spacing, reach_mm: float) -> Tensor:
    """Blur by a Gaussian of its own width per sample and axis.

    The kernel ends at ``reach_mm``; near borders the weights of the points that exist are scaled to sum
    to 1, so a constant stays what it is.

    Args:
        image: float32, shape ``(B, *lead, *grid)`` with ``D`` grid axes; nothing is mixed along ``lead``.
        sigma_mm: standard deviations, mm, shape ``(B, D)``; 0 leaves an axis as it is.
        spacing_mm: grid spacing per axis, mm, ``D`` numbers.
        reach_mm: where the kernel ends, mm, at every axis.
    """
    first = image.dim() - 1 - len(spacing_mm)
    for number, spacing in enumerate(spacing_mm):
        axis = first + number
        count = image.shape[axis + 1]
        if count == 1:
            continue
        sigma = sigma_mm[:, number].clamp(min=1e-3 * spacing)
        reach = min(math.ceil(reach_mm / spacing), count - 1)
        if count <= max(SHORT_AXIS, 2 * reach):
            at = centred_positions(count, spacing, image.device)
            matrix = _within(gaussian_matrix(at, at, sigma), at, at, (reach + 0.5) * spacing)
            image = apply_along(image, matrix / matrix.sum(-1, keepdim=True), axis)
            continue
        output = centred_positions(BLOCK, spacing, image.device)
        window = centred_positions(BLOCK + 2 * reach, spacing, image.device)
        block = _within(gaussian_matrix(output, window, sigma), output, window, (reach + 0.5) * spacing)
        margin = (0, 0) * (image.dim() - axis - 2) + (reach, reach)
        ones = functional.pad(torch.ones(len(image), count, device=image.device), (reach, reach))
        total = apply_band(ones, block, BLOCK, count, 0)
        image = apply_band(functional.pad(image, margin), block, BLOCK, count, axis)
        image = image.div_(total.view(-1, *[1] * axis, count, *[1] * (image.dim() - axis - 2)))
    return image


def _within(weights: Tensor, out_mm: Tensor, in_mm: Tensor, reach_mm: float) -> Tensor:
    """Weights ``(B, n_out, n_in)`` without those of points farther apart than ``reach_mm``."""
    return torch.where((out_mm.unsqueeze(1) - in_mm).abs() < reach_mm, weights, 0.0)


def smooth_field(
    keys: Tensor,
    name: str,
    grid: Sequence[int],
    spacing_mm: Spacing,
    correlation_mm: Tensor,
    smallest_mm: float,
    widest: float = WIDEST,
) -> Tensor:
    """Gaussian random field of mean 0 and variance 1 with a Gaussian correlation.

    White noise on a coarse grid, spread by Gaussian rows of unit length: the variance is exactly 1 at every
    point, borders included.

    Args:
        keys: int32 keys, shape ``(B, 2)``.
        name: name of the stream of random numbers.
        grid: shape of the field, float32 ``(B, *grid)``.
        spacing_mm: grid spacing per axis, mm.
        correlation_mm: standard deviation of the smoothing kernel per sample, ``(B,)``, or per sample and
            axis, ``(B, D)``, mm, from ``smallest_mm`` to ``widest`` times that.
        smallest_mm: sets the coarse grid, so it must not depend on data.
        widest: greatest correlation length as a multiple of the smallest.
    """
    if correlation_mm.dim() == 1:
        correlation_mm = correlation_mm.unsqueeze(1).expand(-1, len(grid))
    operators = [
        _spread(count, spacing, correlation_mm[:, axis], max(smallest_mm, spacing), widest)
        for axis, (count, spacing) in enumerate(zip(grid, spacing_mm, strict=True))
    ]
    coarse = [points for _, points, _ in operators]
    values = bell_field(keys, name, math.prod(coarse)).reshape(-1, *coarse)
    # From the last axis on, so that products are padded, see _product, while they are small.
    for axis in reversed(range(len(coarse))):
        matrix, _, stride = operators[axis]
        values = (
            apply_band(values, matrix, stride, grid[axis], axis)
            if stride
            else apply_along(values, matrix, axis)
        )
    return values


def _spread(
    count: int, spacing_mm: float, correlation_mm: Tensor, smallest_mm: float, widest: float
) -> tuple[Tensor, int, int]:
    """Rows of unit length from a coarse axis to a fine one; coarse points; stride of a band, 0 if whole."""
    device = correlation_mm.device
    step_mm = COARSENESS * smallest_mm
    coarse, stride = int(count * spacing_mm / step_mm) + 5, 0
    fine_mm, coarse_mm = (
        centred_positions(n, s, device) for n, s in ((count, spacing_mm), (coarse, step_mm))
    )
    if coarse > SHORT_AXIS:
        stride = math.ceil(BLOCK * spacing_mm / step_mm)
        finer_mm = BLOCK * spacing_mm / stride
        window = stride + 2 * math.ceil(REACH * widest * smallest_mm / finer_mm)
        coarse = (math.ceil(count / BLOCK) - 1) * stride + window
        fine_mm = centred_positions(BLOCK, spacing_mm, device)
        coarse_mm = centred_positions(window, finer_mm, device)
    rows = gaussian_matrix(fine_mm, coarse_mm, correlation_mm.clamp(min=smallest_mm))
    return rows / rows.square().sum(-1, keepdim=True).sqrt(), coarse, stride
