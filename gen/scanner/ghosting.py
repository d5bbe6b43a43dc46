"""Ghosts: every n-th line of k-space is wrong, so copies of the picture appear an n-th of it apart."""

from dataclasses import dataclass

import torch
from torch import Tensor

from synthspine.gen.core.counter_rng import SampleRandom
from synthspine.gen.core.feature import Batch, Range, check, check_within
from synthspine.gen.scanner.lines import Lines, phase_along_rows


@dataclass(frozen=True, kw_only=True, slots=True)
class GhostingConfig:
    """Ghosts: periodic errors of the k-space lines."""

    probability: float = 0.05
    """Probability of ghosts."""
    strength: Range = (0.03, 0.15)
    """Amplitude of each ghost, share of the picture; brightens or darkens what it falls on."""
    every: Range = (2.0, 4.0)
    """Every how many lines one is wrong; whole numbers, drawn alike."""

    def __post_init__(self) -> None:
        check(self)
        check_within(self, strength=(0.0, 1.0), every=(2.0, 64.0))
        if any(number != int(number) for number in self.every):
            raise ValueError(f"GhostingConfig.every is {self.every}; want whole numbers")


@dataclass(frozen=True, kw_only=True, slots=True)
class GhostingParams(Batch):
    """The lines that are wrong.

    Attributes:
        along_rows: 1 where phase is encoded along the rows' axis, else 0, ``(B,)``.
        strength: amplitude of each ghost, negative where it darkens, 0 without ghosts, ``(B,)``.
        every: ``n``: every how many lines one is wrong, ``(B,)``.
    """

    along_rows: Tensor
    strength: Tensor
    every: Tensor

    def touched(self) -> Tensor:
        """Which samples it changes, bool ``(B,)``."""
        return self.strength != 0


def draw_ghosting(config: GhostingConfig, random: SampleRandom) -> GhostingParams | None:
    """Draw the ghosts of every sample; None if there are never any."""
    if config.probability == 0:
        return None
    on = random.chance("ghosting", config.probability)
    low, high = config.every
    every = low + random.integer("ghosting_every", int(high - low) + 1).float()
    sign = 1 - 2 * random.integer("ghosting_sign", 2)
    return GhostingParams(
        along_rows=phase_along_rows(random).float(),
        strength=random.uniform("ghosting_strength", *config.strength) * on * sign,
        every=every,
    )


def ghosting_factors(params: GhostingParams, lines: tuple[Lines, Lines]) -> tuple[Tensor, Tensor]:
    """Factors of the weights of k-space, ``weight[r, c] = rows[0, r] * columns[0, c]``.

    ``1 + s (n - 1)`` on every n-th line and ``1 - s`` on the others is 1 plus ``n - 1`` waves of amplitude
    ``s``: the picture itself is kept, and a ghost of amplitude ``s`` lies at every multiple of ``N / n``.

    Args:
        params: what was drawn.
        lines: of rows and columns.

    Returns:
        float32 ``(B, 1, H)`` and ``(B, 1, W // 2 + 1)``.
    """
    rows = params.along_rows.view(-1, 1, 1)
    return _axis_factors(params, rows, lines[0]), _axis_factors(params, 1 - rows, lines[1])


def _axis_factors(params: GhostingParams, encodes: Tensor, lines: Lines) -> Tensor:
    every = params.every.view(-1, 1, 1)
    comb = every * (torch.remainder(lines.number, every) == 0) - 1
    return 1 + params.strength.view(-1, 1, 1) * encodes * comb
