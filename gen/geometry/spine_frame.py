"""Where the spine lies in a label map: the canal's course, the lowest vertebra and the disc below it.

All sums run over integers below 2**24, so they are exact in float32 and the same in any batch.
"""

from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import torch
from torch import Tensor

from synthspine.gen.core.anatomy import CANAL, DISC_OFFSET, MAX_RANK, disc_code, vertebra_code
from synthspine.gen.core.feature import Batch, Spacing
from synthspine.gen.core.filters import apply_along, centred_positions
from synthspine.gen.core.masks import above, columns_of, has_code, per_sample

BODY_TO_CANAL_MM = 25.0
"""Typical distance from the middle of a vertebral body to the middle of the canal."""
BEFORE_CANAL_MM = 5.0
"""What belongs to a vertebra and lies farther in front of the canal's middle than this is its body."""
NEVER_MM = 1e4
"""A distance beyond every picture: something is absent."""
STUMP_MM = 20.0
"""A slice whose canal has no more height than this lies beside the spine."""
_REACH_MM = ((8.0, 1.0), (30.0, 1e-3), (120.0, 1e-6))
"""Kernels (standard deviation, weight) that carry the canal's course to rows where it is not seen."""
_FAINT = 1e-4
"""Weight of a pixel of a vertebral body, from which the course is estimated, against one of the canal."""
_TINY = 1e-20
"""Weight of the middle of the picture, which counts where neither is seen."""


@dataclass(frozen=True, kw_only=True, slots=True)
class SpineFrame(Batch):
    """Position of the spine in a batch of maps, mm from the centre of the grid."""

    behind_mm: Tensor  # distance behind the middle of the canal, per pixel, ``(B, *grid)``
    rows_mm: Tensor  # position of the grid's rows, ``(H,)``
    columns_mm: Tensor  # position of the grid's columns, ``(W,)``
    body_mm: Tensor  # middle (row, column) of the lowest vertebra's body, ``(B, 2)``
    step_mm: Tensor  # from there to the middle of the disc below, ``(B, 2)``
    has_lowest: Tensor  # whether the lowest vertebra and its disc are there, bool ``(B,)``
    head_mm: Tensor  # first row that shows a vertebra or a disc, ``(B,)``; the first row of all without any
    foot_mm: Tensor  # last row that shows one, ``(B,)``; the last row of all without any
    canal_mm: Tensor  # height of the rows of a slice that show the canal, ``(B, *grid[:-2])``
    has_bodies: Tensor  # whether a slice shows a vertebra or a disc, bool ``(B, *grid[:-2])``

    def _columns(self) -> list[tuple[str, Any]]:
        """The fields with one value per sample: positions of the grid are common to all."""
        return [
            (name, value) for name, value in Batch._columns(self) if name not in ("rows_mm", "columns_mm")
        ]


def is_beside(frame: SpineFrame) -> Tensor:
    """Which slices lie beside the spine, bool ``(B, *grid[:-2])``."""
    return frame.canal_mm <= STUMP_MM


def nowhere(codes: Tensor) -> SpineFrame:
    """A frame of zeros, for pictures in which nothing is placed along the spine."""
    nothing = torch.zeros(len(codes), device=codes.device)
    rows, columns = (torch.zeros(count, device=codes.device) for count in codes.shape[-2:])
    return SpineFrame(
        behind_mm=per_sample(nothing, codes).expand(codes.shape),
        rows_mm=rows,
        columns_mm=columns,
        body_mm=nothing.unsqueeze(1).expand(-1, 2),
        step_mm=nothing.unsqueeze(1).expand(-1, 2),
        has_lowest=nothing > 0,
        head_mm=nothing,
        foot_mm=nothing,
        canal_mm=nothing,
        has_bodies=nothing > 0,
    )


def find_spine(codes: Tensor, spacing_mm: Spacing) -> SpineFrame:
    """Locate the spine in dense codes, uint8 ``(B, *grid)``; rows and columns are the last two axes."""
    rows, columns = (
        centred_positions(codes.shape[axis], spacing_mm[axis], codes.device) for axis in (-2, -1)
    )
    canal = _count_and_sum(has_code(codes, CANAL))
    # Vertebrae and discs: codes 1..55; no valid code lies between the two.
    other = DISC_OFFSET + MAX_RANK + 1
    bodies = _count_and_sum((codes.clamp(max=other) ^ other).clamp(max=1) * codes.clamp(max=1))
    middle = _canal_course(canal, bodies, codes.shape, spacing_mm)
    behind = columns - middle.unsqueeze(-1)
    lowest = has_code(codes, vertebra_code(1))
    at = columns_of(lowest)
    before = above(-BEFORE_CANAL_MM - behind[..., at], 0.0) * lowest[..., at]
    body, found_body = _middle(_count_and_sum(before, at.start), codes, spacing_mm)
    disc, found_disc = _middle(_count_and_sum(has_code(codes, disc_code(1))), codes, spacing_mm)
    head, foot = _ends(bodies[0], rows)
    return SpineFrame(
        behind_mm=behind,
        rows_mm=rows,
        columns_mm=columns,
        body_mm=body,
        step_mm=disc - body,
        has_lowest=found_body & found_disc,
        head_mm=head,
        foot_mm=foot,
        canal_mm=(canal[0] > 0).sum(-1) * spacing_mm[-2],
        has_bodies=bodies[0].amax(-1) > 0,
    )


def _count_and_sum(mask: Tensor, first: int = 0) -> tuple[Tensor, Tensor]:
    """Pixels of each row ``(B, *grid[:-1])`` and the sum of their column indices, exact, float32.

    ``first`` is the index of the mask's first column.
    """
    at = columns_of(mask)
    values = mask[..., at].float()
    index = torch.arange(first + at.start, first + at.stop, device=mask.device, dtype=torch.float32)
    return values @ torch.ones_like(index), values @ index


def _canal_course(
    canal: tuple[Tensor, Tensor], bodies: tuple[Tensor, Tensor], shape: torch.Size, spacing_mm: Spacing
) -> Tensor:
    """Column of the canal's middle per row, mm, ``(B, *grid[:-1])``; estimated from the bodies elsewhere."""
    shift = BODY_TO_CANAL_MM / spacing_mm[-1]
    weight = canal[0] + _FAINT * bodies[0]
    moment = canal[1] + _FAINT * (bodies[1] + shift * bodies[0])
    both = torch.stack((weight, moment), dim=-1)
    for axis, (count, spacing) in enumerate(zip(shape[1:-1], spacing_mm[:-1], strict=True)):
        kernel = _reach_kernel(count, spacing, both.device).to(both.dtype)
        both = apply_along(both, kernel.expand(len(both), -1, -1), axis)
    weight, moment = both.unbind(-1)
    centre = (shape[-1] - 1) / 2
    return ((moment + _TINY * centre) / (weight + _TINY) - centre) * spacing_mm[-1]


@lru_cache(maxsize=64)
def _reach_kernel(count: int, spacing_mm: float, device: torch.device) -> Tensor:
    """Weights of the rows of an axis for each of its rows, ``(count, count)``."""
    at = centred_positions(count, spacing_mm, device)
    squared = (at.unsqueeze(1) - at).square()
    kernel = torch.zeros_like(squared)
    for sigma, share in _REACH_MM:
        kernel = kernel + share * torch.exp(squared * (-0.5 / sigma**2))
    return kernel


def middle_of(mask: Tensor, spacing_mm: Spacing) -> tuple[Tensor, Tensor]:
    """Middle of a mask, uint8 ``(B, *grid)``, and whether it has a pixel.

    The middle is the mean (row, column), mm from the centre of the grid, ``(B, 2)``, and 0 without a pixel;
    the second is bool, ``(B,)``.
    """
    middle, found = _middle(_count_and_sum(mask), mask, spacing_mm)
    return middle * found.unsqueeze(1), found


def _middle(by_row: tuple[Tensor, Tensor], codes: Tensor, spacing_mm: Spacing) -> tuple[Tensor, Tensor]:
    """Mean (row, column) of a mask in mm, ``(B, 2)``, and whether it has a pixel, ``(B,)``."""
    height, width = codes.shape[-2:]
    count, moment = (values.double().reshape(len(codes), -1, height) for values in by_row)
    index = torch.arange(height, device=codes.device, dtype=torch.float64)
    total = count.sum((1, 2))
    some = total.clamp(min=1)
    row = (count * index).sum((1, 2)) / some
    column = moment.sum((1, 2)) / some
    row_mm = (row - (height - 1) / 2) * spacing_mm[-2]
    column_mm = (column - (width - 1) / 2) * spacing_mm[-1]
    return torch.stack((row_mm, column_mm), dim=1).float(), total > 0


def _ends(count: Tensor, rows_mm: Tensor) -> tuple[Tensor, Tensor]:
    """First and last row, mm, ``(B,)`` each, with a pixel; of the whole grid where no row has any."""
    seen = count.reshape(len(count), -1, len(rows_mm)).amax(1) > 0
    first = torch.where(seen, rows_mm, rows_mm[-1]).amin(1)
    last = torch.where(seen, rows_mm, rows_mm[0]).amax(1)
    none = last < first
    return torch.where(none, rows_mm[0], first), torch.where(none, rows_mm[-1], last)
