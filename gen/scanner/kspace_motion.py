"""Motion during the acquisition: the patient lies elsewhere while some lines of k-space are read."""

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from synthspine.gen.core.counter_rng import SampleRandom
from synthspine.gen.core.feature import Batch, Range, check, check_within
from synthspine.gen.scanner.lines import Lines, phase_along_rows

JUMPS = 2
"""Sudden movements of one acquisition."""


@dataclass(frozen=True, kw_only=True, slots=True)
class KSpaceMotionConfig:
    """Rigid motion while k-space is read: sudden movements, or a swing as of breathing.

    Lines are read from the middle of k-space outwards (centric order): the patient is where the labels
    are when the acquisition starts, and the two lines of a frequency are read together, so the picture
    stays real.
    """

    probability: float = 0.05
    """Probability of motion."""
    swing_probability: float = 0.5
    """Share of the moving patients that swing (breathe) rather than move suddenly."""
    jump_mm: Range = (0.5, 2.5)
    """Distance of a sudden movement, in any direction of the plane, mm."""
    jump_time: Range = (0.1, 0.6)
    """When it happens, share of the acquisition."""
    swing_mm: Range = (0.2, 1.0)
    """Amplitude of the swing, along the phase-encoding axis, mm."""
    swing_cycles: Range = (2.0, 20.0)
    """Swings per acquisition."""

    def __post_init__(self) -> None:
        check(self)
        check_within(
            self,
            jump_mm=(0.0, 20.0),
            jump_time=(0.0, 1.0),
            swing_mm=(0.0, 20.0),
            swing_cycles=(0.0, 1000.0),
        )


@dataclass(frozen=True, kw_only=True, slots=True)
class KSpaceMotionParams(Batch):
    """Where the patient lies while a line is read; all zero where nobody moves.

    Attributes:
        along_rows: 1 where phase is encoded along the rows' axis, else 0, ``(B,)``.
        jump_time: when the sudden movements happen, share of the acquisition, ``(B, 2)``.
        displacement_mm: position (row, column) before, between and after them, mm, ``(B, 3, 2)``.
        swing_mm: amplitude of the swing, mm, ``(B,)``.
        swing_cycles: swings per acquisition, ``(B,)``.
        swing_phase: phase of the swing at its start, radians, ``(B,)``.
    """

    along_rows: Tensor
    jump_time: Tensor
    displacement_mm: Tensor
    swing_mm: Tensor
    swing_cycles: Tensor
    swing_phase: Tensor

    def touched(self) -> Tensor:
        """Which samples it changes, bool ``(B,)``."""
        return (self.displacement_mm != 0).any(dim=2).any(dim=1) | (self.swing_mm > 0)


def draw_kspace_motion(config: KSpaceMotionConfig, random: SampleRandom) -> KSpaceMotionParams | None:
    """Draw the motion of every sample; None if there is never any."""
    if config.probability == 0:
        return None
    on = random.chance("kspace_motion", config.probability)
    swings = random.chance("kspace_swings", config.swing_probability)
    time = random.uniform("kspace_jump_time", *config.jump_time, shape=(JUMPS,))
    distance = random.uniform("kspace_jump_mm", *config.jump_mm, shape=(JUMPS,))
    angle = random.uniform("kspace_jump_angle", 0.0, 2 * math.pi, shape=(JUMPS,))
    steps = distance.unsqueeze(2) * torch.stack((torch.cos(angle), torch.sin(angle)), dim=2)
    steps = steps * (on & ~swings).view(-1, 1, 1)
    positions = torch.stack((torch.zeros_like(steps[:, 0]), steps[:, 0], steps[:, 0] + steps[:, 1]), dim=1)
    return KSpaceMotionParams(
        along_rows=phase_along_rows(random).float(),
        jump_time=time,
        displacement_mm=positions,
        swing_mm=random.uniform("kspace_swing_mm", *config.swing_mm) * (on & swings),
        swing_cycles=random.uniform("kspace_swing_cycles", *config.swing_cycles),
        swing_phase=random.uniform("kspace_swing_phase", 0.0, 2 * math.pi),
    )


def motion_factors(params: KSpaceMotionParams, lines: tuple[Lines, Lines]) -> tuple[Tensor, Tensor]:
    """Factors of the weights of k-space: ``weight[r, c] = sum over i of rows[i, r] * columns[i, c]``.

    A picture displaced by ``d`` has its spectrum multiplied by ``exp(-2 pi i f d)`` (shift theorem). The
    sum runs over the times before, between and after the jumps: each holds the lines read then.

    Args:
        params: what was drawn.
        lines: of rows and columns.

    Returns:
        complex64 ``(B, 3, H)`` and ``(B, 3, W // 2 + 1)``.
    """
    rows = params.along_rows.view(-1, 1, 1) > 0
    return (
        _axis_factors(params, rows, lines[0], params.displacement_mm[..., 0]),
        _axis_factors(params, ~rows, lines[1], params.displacement_mm[..., 1]),
    )


def _axis_factors(
    params: KSpaceMotionParams, encodes: Tensor, lines: Lines, displacement_mm: Tensor
) -> Tensor:
    """Factors along one axis; ``encodes`` ``(B, 1, 1)`` says whether its lines are read one by one."""
    time = lines.number.abs() * (2 / lines.count)
    start = params.swing_phase.view(-1, 1, 1)
    swing = torch.sin(2 * math.pi * params.swing_cycles.view(-1, 1, 1) * time + start) - torch.sin(start)
    swing = swing * params.swing_mm.view(-1, 1, 1) * encodes
    jumped = (time >= params.jump_time.unsqueeze(2)).sum(dim=1, keepdim=True, dtype=torch.int32)
    during = jumped == torch.arange(JUMPS + 1, device=time.device).view(1, -1, 1)
    position = displacement_mm.unsqueeze(2) + swing
    turn = (-2 * math.pi / (lines.count * lines.spacing_mm)) * lines.number * position
    return torch.polar((during | ~encodes).float(), turn)
