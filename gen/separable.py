"""Separable linear operators: one matrix per sample and axis, applied with batched matrix products.

Positions are in millimetres from the centre of the grid, so operators built from them never shift a
picture, whatever the spacings on either side.
"""

from collections.abc import Sequence

import torch
from torch import Tensor

from gen.counter_rng import normal_field


def centred_positions(count: int, spacing_mm: float, device: torch.device) -> Tensor:
    """Positions of ``count`` grid points about the centre of their axis, mm, shape ``(count,)``."""
    return (torch.arange(count, device=device, dtype=torch.float32) - (count - 1) / 2) * spacing_mm


def apply_along(values: Tensor, matrix: Tensor, axis: int) -> Tensor:
    """Apply one matrix per sample along a grid axis.

    Args:
        values: shape ``(B, *grid)``.
        matrix: shape ``(B, n_out, n_in)`` with ``n_in = grid[axis]``.
        axis: grid axis, 0 is the first after the batch.

    Returns:
        shape ``(B, *grid)`` with ``grid[axis]`` replaced by ``n_out``.
    """
    batch, grid = values.shape[0], list(values.shape[1:])
    n_out = matrix.shape[1]
    if axis == len(grid) - 1:
        result = torch.bmm(values.reshape(batch, -1, grid[axis]), matrix.mT)
    elif axis == 0:
        result = torch.bmm(matrix, values.reshape(batch, grid[axis], -1))
    else:
        lead = values.shape[1 : axis + 1].numel()
        result = matrix.unsqueeze(1) @ values.reshape(batch, lead, grid[axis], -1)
    grid[axis] = n_out
    return result.reshape(batch, *grid)


def apply_separable(values: Tensor, matrices: Sequence[Tensor]) -> Tensor:
    """Apply one matrix per sample along every grid axis in turn; see :func:`apply_along`."""
    for axis, matrix in enumerate(matrices):
        values = apply_along(values, matrix, axis)
    return values


def gaussian_matrix(out_mm: Tensor, in_mm: Tensor, sigma_mm: Tensor) -> Tensor:
    """Gaussian weights of input points seen from output points, rows not normalised.

    Args:
        out_mm: positions of the outputs, shape ``(n_out,)`` or ``(B, n_out)``.
        in_mm: positions of the inputs, shape ``(n_in,)``.
        sigma_mm: standard deviation per sample, shape ``(B,)``, greater than 0.

    Returns:
        Shape ``(B, n_out, n_in)``.
    """
    distance = out_mm.unsqueeze(-1) - in_mm
    return torch.exp(-0.5 * (distance / sigma_mm[:, None, None]) ** 2)


def smooth_field(
    keys: Tensor,
    name: str,
    grid: Sequence[int],
    spacing_mm: Sequence[float],
    correlation_mm: Tensor,
    smallest_mm: float,
) -> Tensor:
    """Gaussian random field of mean 0 and variance 1 with a Gaussian correlation.

    White noise on a coarse grid, spread by Gaussian rows of unit length: the variance is exactly 1 at
    every point, borders included.

    Args:
        keys: int32 keys, shape ``(B, 2)``.
        name: name of the stream of random numbers.
        grid: shape of the field.
        spacing_mm: grid spacing per axis, mm.
        correlation_mm: standard deviation of the smoothing kernel per sample and axis, mm, shape ``(B, D)``.
        smallest_mm: lower bound of ``correlation_mm``; sets the coarse grid, so it must not depend on data.

    Returns:
        float32, shape ``(B, *grid)``.
    """
    matrices = []
    for axis, (count, spacing) in enumerate(zip(grid, spacing_mm, strict=True)):
        step = max(smallest_mm, spacing)
        coarse = int(count * spacing / step) + 5
        fine_mm = centred_positions(count, spacing, keys.device)
        coarse_mm = centred_positions(coarse, step, keys.device)
        rows = gaussian_matrix(fine_mm, coarse_mm, correlation_mm[:, axis].clamp(min=step))
        matrices.append(rows / rows.square().sum(-1, keepdim=True).sqrt())
    shape = [matrix.shape[2] for matrix in matrices]
    noise = normal_field(keys, name, torch.Size(shape).numel()).reshape(-1, *shape)
    return apply_separable(noise, matrices)
