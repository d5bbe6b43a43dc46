"""A spike in k-space (a spark while it was read): stripes over the whole picture."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from synthspine.gen.core.counter_rng import SampleRandom
from synthspine.gen.core.feature import Batch, Range, check, check_within
from synthspine.gen.core.filters import centred_positions
from synthspine.gen.core.masks import per_sample

_TINY = 1e-20
"""Least square under the root, whose slope must stay finite where there is no signal."""


@dataclass(frozen=True, kw_only=True, slots=True)
class SpikeConfig:
    """Stripes over the picture: one wrong point of k-space ("corduroy" artefact)."""

    probability: float = 0.02
    """Probability of stripes."""
    strength: Range = (0.02, 0.1)
    """Amplitude of the stripes, share of the brightest pixel."""
    stripe_mm: Range = (3.0, 15.0)
    """Distance from one stripe to the next, mm."""

    def __post_init__(self) -> None:
        check(self)
        check_within(self, strength=(0.0, 1.0), stripe_mm=(0.5, 500.0))


@dataclass(frozen=True, kw_only=True, slots=True)
class SpikeParams(Batch):
    """The wrong point of k-space.

    Attributes:
        strength: amplitude of the stripes, share of the brightest pixel, 0 without stripes, ``(B,)``.
        frequency: of the stripes along rows and columns, cycles per mm, ``(B, 2)``.
        phase: at the middle of the grid, radians, ``(B,)``.
        slice_place: which slice of a volume was being read, share of its slices, ``(B,)``.
    """

    strength: Tensor
    frequency: Tensor
    phase: Tensor
    slice_place: Tensor

    def touched(self) -> Tensor:
        """Which samples it changes, bool ``(B,)``."""
        return self.strength > 0


def draw_spike(config: SpikeConfig, random: SampleRandom) -> SpikeParams | None:
    """Draw the stripes of every sample; None if there are never any."""
    if config.probability == 0:
        return None
    on = random.chance("spike", config.probability)
    angle = random.uniform("spike_angle", 0.0, math.pi)
    cycles = 1 / random.uniform("spike_stripe_mm", *config.stripe_mm)
    return SpikeParams(
        strength=random.uniform("spike_strength", *config.strength) * on,
        frequency=torch.stack((cycles * torch.cos(angle), cycles * torch.sin(angle)), dim=1),
        phase=random.uniform("spike_phase", 0.0, 2 * math.pi),
        slice_place=random.uniform("spike_slice"),
    )


def add_spike(image: Tensor, params: SpikeParams, spacing_mm: Sequence[float]) -> Tensor:
    """Magnitude of the picture plus the plane wave that a spike is, ``|x + a exp(i t)|``.

    One point of k-space is one plane wave (the Fourier transform is linear), so no transform is needed,
    and the magnitude of the complex sum is ``sqrt(x^2 + 2 a x cos(t) + a^2)``. In a volume only the slice
    that was being read has stripes.

    Args:
        image: real picture, may be negative where it was distorted, ``(B, *grid)``.
        params: what was drawn.
        spacing_mm: grid spacing per axis.

    Returns:
        ``(B, *grid)``, not negative.
    """
    rows, columns = (
        (2 * math.pi) * params.frequency[:, axis, None] * centred_positions(count, spacing, image.device)
        for axis, (count, spacing) in enumerate(zip(image.shape[-2:], spacing_mm[-2:], strict=True))
    )
    rows, columns = (rows + params.phase.unsqueeze(1)).unsqueeze(2), columns.unsqueeze(1)
    amplitude = per_sample(params.strength * image.flatten(1).amax(dim=1), image)
    if image.dim() == 4:
        slices = image.shape[1]
        hit = torch.arange(slices, device=image.device) == torch.floor(params.slice_place * slices).unsqueeze(
            1
        )
        amplitude, rows, columns = amplitude * hit[:, :, None, None], rows.unsqueeze(1), columns.unsqueeze(1)
    # Cosines of a sum from cosines of its parts: none is taken per pixel.
    double = 2 * amplitude
    signal = torch.addcmul(image, double * torch.cos(rows), torch.cos(columns))
    signal = torch.addcmul(signal, double * torch.sin(rows), -torch.sin(columns))
    return torch.addcmul(amplitude * amplitude, image, signal).clamp(min=_TINY).sqrt()
