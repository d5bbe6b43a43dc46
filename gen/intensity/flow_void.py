"""Flow voids: cerebrospinal fluid that moves between excitation and echo gives no signal."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from synthspine.gen.core.anatomy import CANAL
from synthspine.gen.core.counter_rng import SampleRandom
from synthspine.gen.core.feature import Batch, Range, check, check_within
from synthspine.gen.core.filters import centred_positions
from synthspine.gen.core.masks import per_sample

WAVES = 12
"""Plane waves whose sum is the random field: enough that its values are close to normal."""


@dataclass(frozen=True, kw_only=True, slots=True)
class FlowVoidConfig:
    """Dark patches in the canal's fluid where it pulses, longer than wide."""

    probability: float = 0.15
    """Probability of flow voids."""
    depth: Range = (0.3, 0.9)
    """Share of the fluid's signal that is lost in a patch."""
    threshold: Range = (0.2, 1.2)
    """Where a normal random field exceeds it lies a patch: 0.2 covers 42 % of the fluid, 1.2 12 %."""
    softness: float = 1.2
    """How far above the threshold a patch reaches its depth, standard deviations of the field."""
    length_mm: Range = (4.0, 15.0)
    """Correlation length of the field along the canal (head-foot), mm."""
    width_mm: Range = (2.5, 5.0)
    """The same across it and between slices."""

    def __post_init__(self) -> None:
        check(self)
        lengths = (0.1, 1000.0)
        check_within(
            self,
            depth=(0.0, 1.0),
            threshold=(-5.0, 5.0),
            softness=(0.01, 5.0),
            length_mm=lengths,
            width_mm=lengths,
        )


@dataclass(frozen=True, kw_only=True, slots=True)
class FlowVoidParams(Batch):
    """The patches.

    Attributes:
        depth: share of the signal lost, 0 without flow voids, ``(B,)``.
        threshold: value of the random field where a patch begins, ``(B,)``.
        softness: rise of the field from there to full depth, ``(B,)``.
        waves: waves that make the field, radians per mm along slices, rows and columns, ``(B, 12, 3)``.
        phase: of the waves at the middle of the grid, radians, ``(B, 12)``.
    """

    depth: Tensor
    threshold: Tensor
    softness: Tensor
    waves: Tensor
    phase: Tensor


def draw_flow_void(config: FlowVoidConfig, random: SampleRandom) -> FlowVoidParams | None:
    """Draw the flow voids of every sample; None if there are never any."""
    if config.probability == 0:
        return None
    on = random.chance("flow_void", config.probability)
    depth = random.uniform("flow_void_depth", *config.depth) * on
    length = random.uniform("flow_void_length_mm", *config.length_mm)
    width = random.uniform("flow_void_width_mm", *config.width_mm)
    size = torch.stack((width, length, width), dim=1).unsqueeze(1)
    return FlowVoidParams(
        depth=depth,
        threshold=random.uniform("flow_void_threshold", *config.threshold),
        softness=torch.full_like(depth, config.softness),
        waves=random.normal("flow_void_waves", (WAVES, 3)) / size,
        phase=random.uniform("flow_void_phase", 0.0, 2 * math.pi, shape=(WAVES,)),
    )


def wave_field(waves: Tensor, phase: Tensor, grid: Sequence[int], spacing_mm: Sequence[float]) -> Tensor:
    """Random field of mean 0 and variance 1: a sum of plane waves with normally distributed frequencies.

    Its correlation is Gaussian, ``exp(-d^2 / (2 l^2))`` for waves of standard deviation ``1 / l``. The
    cosine of a sum of a row's and a column's part is a product of narrow matrices, so no cosine is taken
    per pixel.

    Args:
        waves: radians per mm along slices, rows and columns, ``(B, K, 3)``.
        phase: radians, ``(B, K)``.
        grid: shape of the field.
        spacing_mm: grid spacing per axis.

    Returns:
        float32, ``(B, *grid)``.

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
    image: Tensor, painted: Tensor, params: FlowVoidParams | None, spacing_mm: Sequence[float]
) -> Tensor:
    """Darken patches of the canal's fluid, ``image * (1 - depth * patch)``.

    Args:
        image: ``(B, *grid)``.
        painted: painted codes, uint8 ``(B, *grid)``; only ``CANAL`` changes (not cord, roots or fat).
        params: what was drawn, or None.
        spacing_mm: grid spacing per axis.

    Returns:
        ``(B, *grid)``.
    """
    if params is None:
        return image
    field = wave_field(params.waves, params.phase, image.shape[1:], spacing_mm)
    slope = 1 / params.softness
    patch = (field * per_sample(slope, image) - per_sample(params.threshold * slope, image)).clamp(0, 1)
    lost = patch * per_sample(params.depth, image)
    return torch.where(painted == CANAL, torch.addcmul(image, image, lost, value=-1), image)
