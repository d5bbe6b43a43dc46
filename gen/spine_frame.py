"""Where the spine lies in a label map: the canal's course, the lowest vertebra and the disc below it.

All sums run over integers, so they are exact and the same in any batch.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from gen.anatomy import CANAL, DISC_OFFSET, MAX_RANK, disc_code, vertebra_code
from gen.separable import apply_separable, centred_positions, gaussian_matrix

BODY_TO_CANAL_MM = 25.0
"""Typical distance from the middle of a vertebral body to the middle of the canal."""
_REACH_MM = ((8.0, 1.0), (30.0, 1e-3), (120.0, 1e-6))
"""Kernels (standard deviation, weight) that carry the canal's course to rows where it is not seen."""


@dataclass(frozen=True, kw_only=True, slots=True)
class SpineFrame:
    """Position of the spine in a batch of maps, mm from the centre of the grid.

    Attributes:
        behind_mm: distance behind the middle of the canal, per pixel, ``(B, *grid)``.
        rows_mm: position of the grid's rows, ``(H,)``.
        columns_mm: position of the grid's columns, ``(W,)``.
        body_mm: middle (row, column) of the lowest vertebra's body, ``(B, 2)``.
        step_mm: from there to the middle of the disc below, ``(B, 2)``.
        has_lowest: whether the lowest vertebra and its disc are there, bool ``(B,)``.
    """

    behind_mm: Tensor
    rows_mm: Tensor
    columns_mm: Tensor
    body_mm: Tensor
    step_mm: Tensor
    has_lowest: Tensor


def find_spine(codes: Tensor, spacing_mm: Sequence[float]) -> SpineFrame:
    """Locate the spine in dense codes, uint8 ``(B, *grid)``; rows and columns are the last two axes."""
    rows = centred_positions(codes.shape[-2], spacing_mm[-2], codes.device)
    columns = centred_positions(codes.shape[-1], spacing_mm[-1], codes.device)
    middle = _canal_course(codes, spacing_mm)
    behind = columns - middle.unsqueeze(-1)
    body, found_body = _middle((codes == vertebra_code(1)) & (behind < -5.0), rows, columns)
    disc, found_disc = _middle(codes == disc_code(1), rows, columns)
    return SpineFrame(
        behind_mm=behind,
        rows_mm=rows,
        columns_mm=columns,
        body_mm=body,
        step_mm=disc - body,
        has_lowest=found_body & found_disc,
    )


def _canal_course(codes: Tensor, spacing_mm: Sequence[float]) -> Tensor:
    """Column of the canal's middle per row, mm, ``(B, *grid[:-1])``; guessed from the bodies where unseen."""
    canal = codes == CANAL
    bodies = ((codes >= 1) & (codes <= MAX_RANK)) | (
        (codes > DISC_OFFSET) & (codes <= DISC_OFFSET + MAX_RANK)
    )
    index = torch.arange(codes.shape[-1], device=codes.device, dtype=torch.int32)
    weight, moment = _count_and_sum(canal, index)
    body_weight, body_moment = _count_and_sum(bodies, index)
    shift = BODY_TO_CANAL_MM / spacing_mm[-1]
    faint = 1e-4
    weight = weight + faint * body_weight
    moment = moment + faint * (body_moment + shift * body_weight)

    matrices = []
    for count, spacing in zip(codes.shape[1:-1], spacing_mm[:-1], strict=True):
        at = centred_positions(count, spacing, codes.device)
        sigmas = torch.tensor([s for s, _ in _REACH_MM], device=codes.device)
        shares = torch.tensor([w for _, w in _REACH_MM], device=codes.device)
        kernel = (gaussian_matrix(at, at, sigmas) * shares[:, None, None]).sum(0, keepdim=True)
        matrices.append(kernel.expand(len(codes), -1, -1))
    tiny = 1e-20
    centre = (codes.shape[-1] - 1) / 2
    course = (apply_separable(moment, matrices) + tiny * centre) / (apply_separable(weight, matrices) + tiny)
    return (course - centre) * spacing_mm[-1]


def _count_and_sum(mask: Tensor, index: Tensor) -> tuple[Tensor, Tensor]:
    """Pixels of each row and the sum of their indices, exact, as float32."""
    count = mask.sum(-1, dtype=torch.int32)
    total = (mask * index).sum(-1, dtype=torch.int32)
    return count.float(), total.float()


def _middle(mask: Tensor, rows: Tensor, columns: Tensor) -> tuple[Tensor, Tensor]:
    """Mean (row, column) of a mask in mm, ``(B, 2)``, and whether it has a pixel, ``(B,)``."""
    plane = mask if mask.dim() == 3 else mask.sum(1, dtype=torch.int32)
    by_row, by_column = plane.sum(2, dtype=torch.int64), plane.sum(1, dtype=torch.int64)
    count = by_row.sum(1)
    row_index = torch.arange(len(rows), device=mask.device)
    column_index = torch.arange(len(columns), device=mask.device)
    total = count.clamp(min=1).double()
    row = (by_row * row_index).sum(1).double() / total
    column = (by_column * column_index).sum(1).double() / total
    row_mm = (row - (len(rows) - 1) / 2) * _step(rows)
    column_mm = (column - (len(columns) - 1) / 2) * _step(columns)
    return torch.stack((row_mm, column_mm), dim=1).float(), count > 0


def _step(positions: Tensor) -> Tensor:
    return positions[1] - positions[0] if len(positions) > 1 else positions[0] * 0 + 1
