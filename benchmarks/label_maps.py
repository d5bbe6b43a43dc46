"""The label maps that every generator of the benchmark renders: a drawn lumbar spine on any grid."""

import torch
from torch import Tensor

from synthspine.gen.core.anatomy import CANAL, disc_code, vertebra_code

LEVELS = 6
MAPS = 4

_LOWEST, _PITCH, _DISC = 0.93, 0.14, 0.24


def label_maps(grid: tuple[int, ...]) -> Tensor:
    """Four spines of six vertebrae with arches, six discs and a canal: 14 labels with the background.

    They are drawn by formula, so every resolution shows the same anatomy.

    Args:
        grid: ``(H, W)`` or ``(Z, H, W)``: left to right, head to foot, front to back.

    Returns:
        Dense codes, uint8, shape ``(4, *grid)``.
    """
    down, back = (_share(grid[axis]) for axis in (-2, -1))
    side = (_share(grid[0]) - 0.5).abs().view(-1, 1, 1) if len(grid) == 3 else torch.zeros(1, 1)
    maps = [_spine(down.view(-1, 1), back, side, number / MAPS) for number in range(MAPS)]
    return torch.stack([codes.expand(grid) for codes in maps]).contiguous()


def _share(count: int) -> Tensor:
    """Centres of pixels as a share of the axis."""
    return (torch.arange(count) + 0.5) / count


def _spine(down: Tensor, back: Tensor, side: Tensor, phase: float) -> Tensor:
    middle = 0.42 + 0.05 * torch.sin(6 * (down + phase))
    behind = back - middle
    level = (_LOWEST - down) / _PITCH
    number = level.floor()
    within = level - number
    rank = torch.where((number >= 0) & (number < LEVELS), number + 1, 0)
    disc = (within < _DISC) & (behind.abs() < 0.072) & (side < 0.18)
    waist = 0.066 - 0.03 * (within - _DISC) * (1 - within)
    arch = ((behind - 0.20) / 0.06) ** 2 + ((within - 0.45) / 0.25) ** 2 + (side / 0.06) ** 2 < 1
    bone = (within >= _DISC) & (behind.abs() < waist) & (side < 0.17)
    canal = ((behind - 0.105).abs() < 0.026) & (side < 0.08) & (down > 0.03) & (down < 0.97)
    codes = torch.where(canal, CANAL, 0)
    codes = torch.where((bone | arch) & (rank > 0) & (codes == 0), rank * vertebra_code(1), codes)
    return torch.where(disc & (rank > 0), rank - 1 + disc_code(1), codes).to(torch.uint8)
