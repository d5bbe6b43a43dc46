"""The sagittal plane of a scan: its phase-encoding axis, its lines of k-space, pixels moved inside it.

Rows and columns are the last two axes of a grid. All artefacts of one sample share the phase-encoding axis:
motion, ghosts and wrap-around run along it, chemical shift runs across it (along the readout).
"""

from dataclasses import dataclass
from typing import ClassVar, NamedTuple

import torch
from torch import Tensor

from synthspine.gen.core.counter_rng import SampleRandom, uniform_field
from synthspine.gen.core.feature import Batch, Spacing

ROWS_PROBABILITY = 0.5
"""Lumbar protocols encode phase head-foot (no ghosts of the belly on the spine) or front-back: both occur."""


def phase_along_rows(random: SampleRandom) -> Tensor:
    """Whether phase is encoded along the rows' axis (head-foot), bool ``(B,)``.

    The number comes from the keys directly, so several artefacts of a sample can ask for it.
    """
    return uniform_field(random.keys, "phase_axis", 1)[:, 0] < ROWS_PROBABILITY


class Lines(NamedTuple):
    """The lines of k-space along one axis, as in the FFT of a real image."""

    number: Tensor  # 0, 1, .., -2, -1 for rows; 0, 1, .., W // 2 for columns, whose other half mirrors them
    pixels: int  # of the axis, N
    spacing_mm: float  # of pixels, mm; line n holds n / (N * spacing_mm) cycles per mm


PlaneLines = tuple[Lines, Lines]
"""Lines of k-space along the rows' and the columns' axis."""


@dataclass(frozen=True, kw_only=True, slots=True)
class KSpaceArtefact(Batch):
    """Parameters of an artefact that arises in k-space: weights of its lines, or a change of the image."""

    weighs_lines: ClassVar[bool] = True
    """Whether it has weights; otherwise it has ``distort``."""

    def touched(self) -> Tensor:
        """Which samples it changes, bool ``(B,)``."""
        raise NotImplementedError(f"{type(self).__name__}.touched")

    def factors(self, lines: PlaneLines) -> tuple[Tensor, Tensor] | None:
        """Factors of the weights, ``(B, i, H)`` of rows and ``(B, i, W // 2 + 1)`` of columns; None for none.

        ``weight[r, c] = sum over i of rows[i, r] * columns[i, c]``.
        """
        return None

    def transfer(self, lines: PlaneLines) -> Tensor | None:
        """A factor of the weights that is no such sum, ``(B, H, W // 2 + 1)``; None for none."""
        return None

    def distort(self, image: Tensor, spacing_mm: Spacing) -> Tensor:
        """The magnitude of the image, real ``(B, *grid)``, with the artefact."""
        raise NotImplementedError(f"{type(self).__name__}.distort")


def lines_of(grid: tuple[int, ...], spacing_mm: Spacing, device: torch.device) -> PlaneLines:
    """Lines of k-space of the last two axes of a grid."""
    height, width = grid[-2:]
    rows = torch.arange(height, device=device, dtype=torch.float32)
    rows = torch.where(rows < (height + 1) // 2, rows, rows - height)
    columns = torch.arange(width // 2 + 1, device=device, dtype=torch.float32)
    return Lines(rows, height, spacing_mm[-2]), Lines(columns, width, spacing_mm[-1])


def take(image: Tensor, rows: Tensor, columns: Tensor) -> Tensor:
    """Pixels at other rows ``(B, H)`` and columns ``(B, W)``, int64, of an image ``(B, *grid)``.

    ``result[.., r, c] = image[.., rows[r], columns[c]]``.
    """
    index = ((rows * image.shape[-1]).unsqueeze(2) + columns.unsqueeze(1)).flatten(1)
    if image.dim() == 3:
        return image.flatten(1).gather(1, index).view(image.shape)
    index = index.unsqueeze(1).expand(-1, image.shape[1], -1)
    return image.flatten(2).gather(2, index).view(image.shape)
