"""Errors between the lines of k-space: motion of the patient, ghosts, and blur along a line.

Each artefact gives weights of k-space (``KSpaceArtefact``), which ``gen.scanner.kspace`` applies.
"""

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from synthspine.gen.core.counter_rng import SampleRandom
from synthspine.gen.core.drawing import Feature, showcase
from synthspine.gen.core.feature import Config, Range, within
from synthspine.gen.scanner.lines import KSpaceArtefact, Lines, PlaneLines, phase_along_rows

JUMPS = 2
"""Sudden movements of one acquisition."""
NEAR_ZERO = 0.01
"""Below it sin(x) / x is 1 to 2e-5, and the quotient would lose as many digits."""


@dataclass(frozen=True, kw_only=True, slots=True)
class KSpaceMotionParams(KSpaceArtefact):
    """Position of the patient while a line is read; all zero without motion."""

    along_rows: Tensor  # 1 where phase is encoded along the rows' axis, else 0, ``(B,)``
    jump_time: Tensor  # time of the two sudden movements, ``(B, 2)``
    displacement_mm: Tensor  # position (row, column) before, between and after them, mm, ``(B, 3, 2)``
    swing_mm: Tensor
    swing_cycles: Tensor
    swing_phase: Tensor  # phase of the swing at its start, radians, ``(B,)``

    def touched(self) -> Tensor:
        """Which samples move."""
        return (self.displacement_mm != 0).any(dim=2).any(dim=1) | (self.swing_mm > 0)

    def factors(self, lines: PlaneLines) -> tuple[Tensor, Tensor]:
        """Factors of rows and columns, complex64, one for each time before, between and after the jumps.

        An image displaced by ``d`` has its spectrum multiplied by ``exp(-2 pi i f d)`` (shift theorem).
        """
        rows = self.along_rows.view(-1, 1, 1) > 0
        return (
            _motion_axis(self, rows, lines[0], self.displacement_mm[..., 0]),
            _motion_axis(self, ~rows, lines[1], self.displacement_mm[..., 1]),
        )


@dataclass(frozen=True, kw_only=True, slots=True)
class KSpaceMotionConfig(Feature[KSpaceMotionParams]):
    """Rigid motion while k-space is read: sudden movements, or a swing as of breathing.

    Lines are read from the centre of k-space outwards (centric order), so the patient lies where the labels
    are when the acquisition starts. The two lines of a frequency are read together: the image stays real.
    """

    probability: float = 0.05
    """Probability of motion."""
    swing_probability: float = 0.5
    """Share of the moving patients that swing (breathe) rather than move suddenly."""
    jump_mm: Range = (0.5, 2.5)
    """Distance of a sudden movement, in any direction of the plane, mm."""
    jump_time: Range = (0.1, 0.6)
    """Time of a sudden movement, share of the acquisition."""
    swing_mm: Range = (0.2, 1.0)
    """Amplitude of the swing, along the phase-encoding axis, mm."""
    swing_cycles: Range = (2.0, 20.0)
    """Swings per acquisition."""

    bounds = within("jump_time", jump_mm=(0.0, 20.0), swing_mm=(0.0, 20.0), swing_cycles=(0.0, 1000.0))
    shown = showcase(swing_probability=0.0, jump_mm=(2.5, 2.5), jump_time=(0.1, 0.2))

    def sample(self, random: SampleRandom) -> KSpaceMotionParams:
        """Draw the motion."""
        on = random.chance("kspace_motion", self.probability)
        swings = random.chance("kspace_swings", self.swing_probability)
        distance = random.uniform("kspace_jump_mm", *self.jump_mm, shape=(JUMPS,))
        angle = random.uniform("kspace_jump_angle", 0.0, 2 * math.pi, shape=(JUMPS,))
        steps = distance.unsqueeze(2) * torch.stack((torch.cos(angle), torch.sin(angle)), dim=2)
        steps = steps * (on & ~swings).view(-1, 1, 1)
        positions = torch.stack(
            (torch.zeros_like(steps[:, 0]), steps[:, 0], steps[:, 0] + steps[:, 1]), dim=1
        )
        return KSpaceMotionParams(
            along_rows=phase_along_rows(random).float(),
            jump_time=random.uniform("kspace_jump_time", *self.jump_time, shape=(JUMPS,)),
            displacement_mm=positions,
            swing_mm=random.uniform("kspace_swing_mm", *self.swing_mm) * (on & swings),
            swing_cycles=random.uniform("kspace_swing_cycles", *self.swing_cycles),
            swing_phase=random.uniform("kspace_swing_phase", 0.0, 2 * math.pi),
        )


def _motion_axis(params: KSpaceMotionParams, encodes: Tensor, lines: Lines, moved_mm: Tensor) -> Tensor:
    """Factors along one axis; ``encodes`` ``(B, 1, 1)`` says whether its lines are read one by one."""
    time = lines.number.abs() * (2 / lines.pixels)
    start = params.swing_phase.view(-1, 1, 1)
    swing = torch.sin(2 * math.pi * params.swing_cycles.view(-1, 1, 1) * time + start) - torch.sin(start)
    swing = swing * params.swing_mm.view(-1, 1, 1) * encodes
    jumped = (time >= params.jump_time.unsqueeze(2)).sum(dim=1, keepdim=True, dtype=torch.int32)
    during = jumped == torch.arange(JUMPS + 1, device=time.device).view(1, -1, 1)
    position = moved_mm.unsqueeze(2) + swing
    turn = (-2 * math.pi / (lines.pixels * lines.spacing_mm)) * lines.number * position
    return torch.polar((during | ~encodes).float(), turn)


@dataclass(frozen=True, kw_only=True, slots=True)
class GhostingParams(KSpaceArtefact):
    """Wrong lines; ``along_rows`` is 1 where phase is encoded along the rows; ``strength`` is signed."""

    along_rows: Tensor
    strength: Tensor
    every: Tensor

    def touched(self) -> Tensor:
        """Which samples have ghosts."""
        return self.strength != 0

    def factors(self, lines: PlaneLines) -> tuple[Tensor, Tensor]:
        """Factors of rows and columns, float32.

        ``1 + s (n - 1)`` on every n-th line and ``1 - s`` on the others is 1 plus ``n - 1`` waves of
        amplitude ``s``: the image is kept, and a ghost of that amplitude lies at every multiple of ``N / n``.
        """
        every, strength, along_rows = (
            value.view(-1, 1, 1) for value in (self.every, self.strength, self.along_rows)
        )
        rows, columns = (
            1 + strength * encodes * (every * (torch.remainder(each.number, every) == 0) - 1)
            for each, encodes in zip(lines, (along_rows, 1 - along_rows), strict=True)
        )
        return rows, columns


@dataclass(frozen=True, kw_only=True, slots=True)
class GhostingConfig(Feature[GhostingParams]):
    """Ghosts: every n-th line of k-space is wrong, so copies of the image lie an n-th of its size apart."""

    probability: float = 0.05
    """Probability of ghosts."""
    strength: Range = (0.03, 0.15)
    """Amplitude of each ghost, share of the image; it brightens or darkens what it falls on."""
    every: Range = (2.0, 4.0)
    """n: one line in n is wrong; whole numbers of equal probability."""

    bounds = within("strength", every=(2.0, 64.0))
    shown = showcase(strength=(0.15, 0.15))

    def __post_init__(self) -> None:
        Config.__post_init__(self)
        if any(number != int(number) for number in self.every):
            raise ValueError(f"GhostingConfig.every is {self.every}; want whole numbers")

    def sample(self, random: SampleRandom) -> GhostingParams:
        """Draw the ghosts."""
        on = random.chance("ghosting", self.probability)
        low, high = self.every
        every = low + random.integer("ghosting_every", int(high - low) + 1).float()
        sign = 1 - 2 * random.integer("ghosting_sign", 2)
        return GhostingParams(
            along_rows=phase_along_rows(random).float(),
            strength=random.uniform("ghosting_strength", *self.strength) * on * sign,
            every=every,
        )


@dataclass(frozen=True, kw_only=True, slots=True)
class MotionBlurParams(KSpaceArtefact):
    """The line, from the rows' axis towards the columns' axis."""

    length_mm: Tensor
    direction_deg: Tensor

    def touched(self) -> Tensor:
        """Which samples are blurred."""
        return self.length_mm > 0

    def transfer(self, lines: PlaneLines) -> Tensor:
        """Weights of k-space of a mean over a line, float32.

        ``sin(x) / x`` with ``x = pi * length * frequency``. The sine of a sum of a row's and a column's part
        comes from their sines and cosines, so no sine is taken per pixel.
        """
        angle = torch.deg2rad(self.direction_deg)
        extents = (self.length_mm * torch.cos(angle), self.length_mm * torch.sin(angle))
        rows, columns = (
            each.number * (math.pi / (each.pixels * each.spacing_mm) * extent).unsqueeze(1)
            for each, extent in zip(lines, extents, strict=True)
        )
        rows, columns = rows.unsqueeze(2), columns.unsqueeze(1)
        x = rows + columns
        sine = torch.addcmul(torch.sin(rows) * torch.cos(columns), torch.cos(rows), torch.sin(columns))
        return torch.where(x.abs() < NEAR_ZERO, 1.0, sine / x)


@dataclass(frozen=True, kw_only=True, slots=True)
class MotionBlurConfig(Feature[MotionBlurParams]):
    """Blur along a line in the sagittal plane: the patient drifts evenly while every line is averaged."""

    probability: float = 0.1
    """Probability of blur."""
    length_mm: Range = (1.0, 6.0)
    """Length of the line, mm."""
    direction_deg: Range = (0.0, 180.0)
    """Direction of the line from head-foot towards front-back, degrees."""

    bounds = within(length_mm=(0.0, 100.0), direction_deg=(-360.0, 360.0))
    shown = showcase("middle_disc", length_mm=(6.0, 6.0))

    def sample(self, random: SampleRandom) -> MotionBlurParams:
        """Draw the blur."""
        on = random.chance("motion_blur", self.probability)
        return MotionBlurParams(
            length_mm=random.uniform("motion_blur_mm", *self.length_mm) * on,
            direction_deg=random.uniform("motion_blur_deg", *self.direction_deg),
        )
