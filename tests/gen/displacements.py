"""Displacement of every pixel by a deformation, from what moves the label maps."""

import torch

from synthspine.gen.geometry.warp import _between_nodes, _node_positions, _strides


def displacement(params, grid, spacing_mm):
    """Where the tissue seen at a pixel comes from: mm from there, shape ``(B, D, *grid)``."""
    moved = _node_positions(grid, spacing_mm, params, params.key.device)
    still = _node_positions(grid, spacing_mm, None, params.key.device)
    strides = _strides(spacing_mm)
    parts = [
        _between_nodes((there.double() - here.double()) * spacing, grid, strides).float()
        for there, here, spacing in zip(moved, still, spacing_mm, strict=True)
    ]
    return torch.stack(parts, dim=1)
