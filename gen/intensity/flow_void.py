"""Flow voids: cerebrospinal fluid that moves between excitation and echo gives no signal."""

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from synthspine.gen.core.anatomy import CANAL
from synthspine.gen.core.counter_rng import SampleRandom
from synthspine.gen.core.drawing import Feature, showcase
from synthspine.gen.core.feature import Batch, Range, Spacing, within
from synthspine.gen.core.filters import centred_positions
from synthspine.gen.core.masks import per_sample

WAVES = 12
"""Plane waves whose sum is the random field: enough that its values are close to normal."""


@dataclass(frozen=True, kw_only=True, slots=True)
class FlowVoidParams(Batch):
    """The patches."""

    depth: Tensor
    threshold: Tensor
    softness: Tensor
    waves: Tensor  # waves that make the field, radians per mm along slices, rows and columns, ``(B, 12, 3)``
    phase: Tensor  # of the waves at the middle of the grid, radians, ``(B, 12)``

    def touched(self) -> Tensor:
        """Which samples it changes."""
        return self.depth > 0


@dataclass(frozen=True, kw_only=True, slots=True)
class FlowVoidConfig(Feature[FlowVoidParams]):
    """Dark patches in the canal's fluid where it pulses, longer than wide."""

    probability: float = 0.15
    """Probability of flow voids."""
    depth: Range = (0.3, 0.9)
    """Share of the fluid's signal that is lost in a patch."""
    threshold: Range = (0.2, 1.2)
    """Patches lie where a normal random field exceeds it: 0.2 covers 42 % of the fluid, 1.2 12 %."""
    softness: float = 1.2
    """Rise of the field above the threshold at which a patch reaches its depth, standard deviations."""
    length_mm: Range = (4.0, 15.0)
    """Standard deviation of the field's Gaussian autocorrelation along the canal (head-foot), mm: sqrt(2)
    times the ``correlation_mm`` of other features, which is that of the kernel that smooths white noise."""
    width_mm: Range = (2.5, 5.0)
    """The same across the canal and between slices, mm."""

    bounds = within(
        "depth", threshold=(-5.0, 5.0), softness=(0.01, 5.0), length_mm=(0.1, 1000.0), width_mm=(0.1, 1000.0)
    )
    shown = showcase("middle_disc", depth=(0.8, 0.9), threshold=(0.2, 0.3))

    def sample(self, random: SampleRandom) -> FlowVoidParams:
        """Draw the flow voids."""
        on = random.chance("flow_void", self.probability)
        depth = random.uniform("flow_void_depth", *self.depth) * on
        length = random.uniform("flow_void_length_mm", *self.length_mm)
        width = random.uniform("flow_void_width_mm", *self.width_mm)
        size = torch.stack((width, length, width), dim=1).unsqueeze(1)
        return FlowVoidParams(
            depth=depth,
            threshold=random.uniform("flow_void_threshold", *self.threshold),
            softness=torch.full_like(depth, self.softness),
            waves=random.normal("flow_void_waves", (WAVES, 3)) / size,
            phase=random.uniform("flow_void_phase", 0.0, 2 * math.pi, shape=(WAVES,)),
        )


def wave_field(waves: Tensor, phase: Tensor, grid: tuple[int, ...], spacing_mm: Spacing) -> Tensor:
    """Random field of mean 0 and variance 1, ``(B, *grid)``: a sum of plane waves of normal frequencies.

    Its autocorrelation is Gaussian, ``exp(-d^2 / (2 l^2))`` for waves of standard deviation ``1 / l``. The
    cosine of a sum of a row's and a column's part is a product of narrow matrices, so no cosine is taken
    per pixel. ``waves`` ``(B, K, 3)`` and ``phase`` ``(B, K)`` are as in :class:`FlowVoidParams`.

    Source: Rahimi and Recht 2007 (random Fourier features).
    """
    angles = [
        centred_positions(count, spacing, waves.device)[:, None] * waves[:, None, :, axis - len(grid)]
        for axis, (count, spacing) in enumerate(zip(grid, spacing_mm, strict=True))
    ]
    down = angles[-2] + phase.unsqueeze(1)
    if len(grid) == 3:
        down = (angles[0].unsqueeze(2) + down.unsqueeze(1)).flatten(1, 2)
    left = torch.cat((torch.cos(down), torch.sin(down)), dim=2)
    right = torch.cat((torch.cos(angles[-1]), -torch.sin(angles[-1])), dim=2)
    field = torch.bmm(left * math.sqrt(2 / waves.shape[1]), right.mT)
    return field.view(-1, *grid)


def add_flow_void(
    image: Tensor, painted: Tensor, params: FlowVoidParams | None, spacing_mm: Spacing
) -> Tensor:
    """Darken patches of the canal's fluid, ``image * (1 - depth * patch)``; cord, roots and fat stay."""
    if params is None:
        return image
    field = wave_field(params.waves, params.phase, image.shape[1:], spacing_mm)
    slope = 1 / params.softness
    patch = (field * per_sample(slope, image) - per_sample(params.threshold * slope, image)).clamp(0, 1)
    lost = patch * per_sample(params.depth, image)
    return torch.where(painted == CANAL, torch.addcmul(image, image, lost, value=-1), image)
