"""Noise of the receiver: Rician or Gaussian, amplified where parallel imaging unfolds the picture."""

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from synthspine.gen.core.counter_rng import SampleRandom, uniform_field
from synthspine.gen.core.feature import Batch, Range, check, check_within
from synthspine.gen.scanner.lines import phase_along_rows

_ANGLES = 4096
"""Different angles of the complex noise: the last 12 of the 24 bits of a random number."""


@dataclass(frozen=True, kw_only=True, slots=True)
class NoiseConfig:
    """Noise, born at the acquired resolution."""

    probability: float = 0.9
    """Probability of noise."""
    level: Range = (0.0, 0.08)
    """Standard deviation of the noise in either channel of the complex signal, as a share of the brightest
    tissue."""
    rician_probability: float = 1.0
    """Of the noisy: probability that the picture is the magnitude of the complex signal (Rician noise);
    otherwise its real part (Gaussian noise, which may go below 0)."""
    g_factor_probability: float = 0.2
    """Of the noisy: probability that parallel imaging amplifies the noise in the middle of the picture."""
    g_factor: Range = (0.2, 1.0)
    """Extra amplification in the middle of that region: 1 makes the noise there twice as strong."""
    g_factor_middle: Range = (-0.2, 0.2)
    """Middle of the region from the middle of the picture, share of the field of view."""
    g_factor_width: Range = (0.1, 0.3)
    """Standard deviation of its profile along the phase-encoding axis (rows or columns, by chance), share of
    the field of view."""
    g_factor_breadth: Range = (0.3, 1.0)
    """Standard deviation of its profile across that axis, share of the field of view."""

    def __post_init__(self) -> None:
        check(self)
        check_within(self, level=(0.0, 10.0), g_factor=(0.0, 10.0))
        check_within(self, g_factor_width=(0.01, 1e6), g_factor_breadth=(0.01, 1e6))


@dataclass(frozen=True, kw_only=True, slots=True)
class GFactorParams(Batch):
    """Amplification of noise by parallel imaging.

    Attributes:
        extra: amplification above 1 in the middle of the region, 0 for none, ``(B,)``.
        middle: row and column of the region's middle, from the picture's, share of the field of view,
            ``(B, 2)``.
        width: standard deviation of its profile along rows' and columns' positions, same unit, ``(B, 2)``.
    """

    extra: Tensor
    middle: Tensor
    width: Tensor


@dataclass(frozen=True, kw_only=True, slots=True)
class NoiseParams(Batch):
    """Noise of every sample.

    Attributes:
        key: key of the noise, int32 ``(B, 2)``.
        level: standard deviation in either channel, 0 for none, ``(B,)``.
        rician: 1 for the magnitude of the complex signal, 0 for its real part, ``(B,)``.
        g_factor: where the noise is amplified; None if nowhere.
    """

    key: Tensor
    level: Tensor
    rician: Tensor
    g_factor: GFactorParams | None


def draw_noise(config: NoiseConfig, random: SampleRandom) -> NoiseParams | None:
    """Draw the noise of every sample; None if the configuration never has any."""
    if config.probability == 0:
        return None
    on = random.chance("noise", config.probability)
    return NoiseParams(
        key=random.key("noise_field"),
        level=random.uniform("noise_level", *config.level) * on,
        rician=random.chance("noise_rician", config.rician_probability).float(),
        g_factor=_draw_g_factor(config, random),
    )


def _draw_g_factor(config: NoiseConfig, random: SampleRandom) -> GFactorParams | None:
    if config.g_factor_probability == 0:
        return None
    on = random.chance("g_factor", config.g_factor_probability)
    width = random.uniform("g_factor_width", *config.g_factor_width)
    breadth = random.uniform("g_factor_breadth", *config.g_factor_breadth)
    by_row = phase_along_rows(random)
    along_rows, along_columns = torch.where(by_row, width, breadth), torch.where(by_row, breadth, width)
    return GFactorParams(
        extra=random.uniform("g_factor_extra", *config.g_factor) * on,
        middle=random.uniform("g_factor_middle", *config.g_factor_middle, shape=(2,)),
        width=torch.stack((along_rows, along_columns), dim=1),
    )


def g_factor_map(params: GFactorParams, rows: Tensor, columns: Tensor) -> Tensor:
    """Amplification of noise: 1 plus a bump, greatest in the middle of the field of view.

    Unfolding is worst conditioned where most pixels fold onto each other, about the middle of the
    phase-encoding axis (SENSE, Pruessmann et al. 1999). The bump is a separable Gaussian.

    Args:
        params: what was drawn.
        rows: position of the rows from the middle, share of the field of view, ``(H,)`` or ``(B, H)``.
        columns: position of the columns, ``(W,)`` or ``(B, W)``.

    Returns:
        At least 1, ``(B, H, W)``.
    """
    by_row = torch.exp(-0.5 * ((rows - params.middle[:, :1]) / params.width[:, :1]).square())
    by_column = torch.exp(-0.5 * ((columns - params.middle[:, 1:]) / params.width[:, 1:]).square())
    return 1 + (params.extra[:, None] * by_row).unsqueeze(2) * by_column.unsqueeze(1)


def add_noise(samples: Tensor, noise: NoiseParams | None, rows: Tensor, columns: Tensor) -> Tensor:
    """Add complex Gaussian noise and take the magnitude (or the real part).

    With radius ``r`` and angle ``t`` of the complex noise, the magnitude of a real signal ``s`` is
    ``sqrt(s^2 + 2 s r cos t + r^2)`` (Rician distribution, Gudbjartsson and Patz 1995; radius and angle by
    Box and Muller 1958). One random number gives both: the radius comes from all of its bits, the angle
    from the last twelve, so they are independent but for steps of 1/4096 in the radius' probability, and
    the moments of the cosine over evenly spaced angles are exact.

    Args:
        samples: ``(B, H, W)`` or ``(B, Z, H, W)``.
        noise: what was drawn; None leaves the picture as it is.
        rows: position of the rows from the middle, share of the field of view, ``(H,)`` or ``(B, H)``.
        columns: position of the columns, ``(W,)`` or ``(B, W)``.
    """
    if noise is None:
        return samples
    each = (-1, *[1] * (samples.dim() - 1))
    level = noise.level.view(each)
    if noise.g_factor is not None:
        gain = g_factor_map(noise.g_factor, rows, columns)
        level = level * gain.view(len(gain), *[1] * (samples.dim() - 3), *gain.shape[1:])
    uniform = uniform_field(noise.key, "noise", samples[0].numel()).view(samples.shape)
    radius = torch.sqrt(-2 * torch.log(uniform)) * level
    # The quarter of a step keeps the cosine from being exactly 0, which would be an atom of the distribution.
    turn = (uniform * (2**24 / _ANGLES)).frac() + 0.25 / _ANGLES
    real = torch.addcmul(samples, radius, torch.cos(turn * (2 * math.pi)))
    # |s + n|^2 = (s + r cos t)^2 + r^2 (1 - cos^2 t), written so that one cosine is enough.
    square = torch.addcmul((2 * real - samples) * samples, radius, radius)
    # The gradient of a root is infinite at 0.
    magnitude = torch.sqrt(square.clamp(min=1e-20))
    # At its ends the interpolation is exact, and without noise the real part is the signal.
    return torch.lerp(real, magnitude, (noise.rician * (noise.level > 0)).view(each))
