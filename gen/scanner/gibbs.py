"""Gibbs ringing: the outer lines of k-space were never read, so edges ring."""

from dataclasses import dataclass

import torch
from torch import Tensor

from synthspine.gen.core.counter_rng import SampleRandom
from synthspine.gen.core.feature import Batch, Range, check, check_within
from synthspine.gen.scanner.lines import Lines, phase_along_rows


@dataclass(frozen=True, kw_only=True, slots=True)
class GibbsConfig:
    """Ringing beside edges: k-space cut off sharply and filled with zeros."""

    probability: float = 0.1
    """Probability of ringing."""
    phase_kept: Range = (0.4, 0.8)
    """Share of the lines that was read along the phase-encoding axis."""
    readout_kept: Range = (0.7, 1.0)
    """Share that was read along the other axis."""

    def __post_init__(self) -> None:
        check(self)
        check_within(self, phase_kept=(0.05, 1.0), readout_kept=(0.05, 1.0))


@dataclass(frozen=True, kw_only=True, slots=True)
class GibbsParams(Batch):
    """The part of k-space that was read.

    Attributes:
        kept: share of the lines per axis (rows, columns), 1 without ringing, ``(B, 2)``.
    """

    kept: Tensor

    def touched(self) -> Tensor:
        """Which samples it changes, bool ``(B,)``."""
        return self.kept.amin(dim=1) < 1


def draw_gibbs(config: GibbsConfig, random: SampleRandom) -> GibbsParams | None:
    """Draw the cut-off of every sample; None if there is never one."""
    if config.probability == 0:
        return None
    on = random.chance("gibbs", config.probability)
    along_rows = phase_along_rows(random)
    phase = random.uniform("gibbs_phase_kept", *config.phase_kept)
    readout = random.uniform("gibbs_readout_kept", *config.readout_kept)
    kept = torch.stack(
        (torch.where(along_rows, phase, readout), torch.where(along_rows, readout, phase)), dim=1
    )
    return GibbsParams(kept=torch.where(on.unsqueeze(1), kept, 1.0))


def gibbs_factors(params: GibbsParams, lines: tuple[Lines, Lines]) -> tuple[Tensor, Tensor]:
    """Factors of the weights of k-space, ``weight[r, c] = rows[0, r] * columns[0, c]``: 1 read, 0 not.

    Lines up to ``kept * N / 2`` from the middle are read.

    Args:
        params: what was drawn.
        lines: of rows and columns.

    Returns:
        float32 ``(B, 1, H)`` and ``(B, 1, W // 2 + 1)``.
    """
    rows, columns = (
        (each.number.abs() <= params.kept[:, axis, None, None] * (each.count / 2)).float()
        for axis, each in enumerate(lines)
    )
    return rows, columns
