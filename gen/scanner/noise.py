"""Noise of the receiver (Rician or Gaussian, amplified by parallel imaging), and a zipper of radio noise."""

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from synthspine.gen.core.counter_rng import SampleRandom, uniform_field
from synthspine.gen.core.drawing import Feature, showcase
from synthspine.gen.core.feature import Batch, Range, Spacing, within
from synthspine.gen.core.masks import per_sample
from synthspine.gen.scanner.lines import phase_along_rows

_ANGLES = 4096
"""Different angles of the complex noise: the last 12 of the 24 bits of a random number."""


@dataclass(frozen=True, kw_only=True, slots=True)
class GFactorParams(Batch):
    """Amplification of noise by parallel imaging."""

    extra: Tensor  # amplification above 1 in the middle of the region, 0 for none, ``(B,)``
    middle: Tensor  # row and column of its middle, from the image's, share of the field of view, ``(B, 2)``
    width: Tensor  # standard deviation of its profile along rows and columns, same unit, ``(B, 2)``


@dataclass(frozen=True, kw_only=True, slots=True)
class NoiseParams(Batch):
    """Noise of every sample."""

    key: Tensor  # key of the noise, int32 ``(B, 2)``
    level: Tensor
    rician: Tensor  # 1 for the magnitude of the complex signal, 0 for its real part, ``(B,)``
    g_factor: GFactorParams | None  # where the noise is amplified; None if nowhere


@dataclass(frozen=True, kw_only=True, slots=True)
class NoiseConfig(Feature[NoiseParams]):
    """Noise, added at the acquired resolution."""

    probability: float = 0.9
    """Probability of noise."""
    level: Range = (0.0, 0.08)
    """Standard deviation in each channel of the complex signal, share of the brightest tissue."""
    rician_probability: float = 1.0
    """Of the noisy: probability that the image is the magnitude of the complex signal (Rician noise);
    otherwise it is the real part (Gaussian noise, which may go below 0)."""
    g_factor_probability: float = 0.2
    """Of the noisy: probability that parallel imaging amplifies the noise in the middle of the image."""
    g_factor: Range = (0.2, 1.0)
    """Extra amplification in the middle of that region: 1 makes the noise there twice as strong."""
    g_factor_middle: Range = (-0.2, 0.2)
    """Middle of the region from the middle of the image, share of the field of view."""
    g_factor_width: Range = (0.1, 0.3)
    """Standard deviation of its profile along the phase-encoding axis, share of the field of view."""
    g_factor_breadth: Range = (0.3, 1.0)
    """Standard deviation of its profile across that axis, share of the field of view."""

    bounds = within(
        level=(0.0, 10.0), g_factor=(0.0, 10.0), g_factor_width=(0.01, 1e6), g_factor_breadth=(0.01, 1e6)
    )
    shown = showcase(level=(0.08, 0.08), g_factor_probability=1.0, g_factor=(1.0, 1.0))

    def sample(self, random: SampleRandom) -> NoiseParams:
        """Draw the noise."""
        on = random.chance("noise", self.probability)
        return NoiseParams(
            key=random.key("noise_field"),
            level=random.uniform("noise_level", *self.level) * on,
            rician=random.chance("noise_rician", self.rician_probability).float(),
            g_factor=_draw_g_factor(self, random),
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
    """Amplification of noise: 1 plus a separable Gaussian, ``(B, H, W)``.

    Unfolding is worst conditioned where most pixels fold onto each other, about the middle of the
    phase-encoding axis (SENSE, Pruessmann et al. 1999). ``rows`` ``(H,)`` or ``(B, H)`` and ``columns`` are
    positions from the middle, share of the field of view.
    """
    by_row = torch.exp(-0.5 * ((rows - params.middle[:, :1]) / params.width[:, :1]).square())
    by_column = torch.exp(-0.5 * ((columns - params.middle[:, 1:]) / params.width[:, 1:]).square())
    return 1 + (params.extra[:, None] * by_row).unsqueeze(2) * by_column.unsqueeze(1)


def add_noise(samples: Tensor, noise: NoiseParams | None, rows: Tensor, columns: Tensor) -> Tensor:
    """Add complex Gaussian noise and take the magnitude (or the real part).

    With radius ``r`` and angle ``t`` of the complex noise, the magnitude of a real signal ``s`` is
    ``sqrt(s^2 + 2 s r cos t + r^2)``. One random number gives both: the radius comes from all of its bits,
    the angle from the last twelve. ``rows`` and ``columns`` are positions as in :func:`g_factor_map`.

    Source: Gudbjartsson and Patz 1995 (Rician distribution), Box and Muller 1958 (radius and angle).
    """
    if noise is None:
        return samples
    level = per_sample(noise.level, samples)
    if noise.g_factor is not None:
        gain = g_factor_map(noise.g_factor, rows, columns)
        level = level * gain.view(len(gain), *[1] * (samples.dim() - 3), *gain.shape[1:])
    uniform = uniform_field(noise.key, "noise", samples[0].numel()).view(samples.shape)
    radius = torch.log(uniform).mul_(-2).sqrt_().mul_(level)
    # The quarter of a step keeps the cosine from being exactly 0, which would be an atom of the distribution.
    turn = uniform.mul_(2**24 / _ANGLES).frac_().add_(0.25 / _ANGLES)
    real = torch.addcmul(samples, radius, turn.mul_(2 * math.pi).cos_())
    # |s + n|^2 = (s + r cos t)^2 + r^2 (1 - cos^2 t), written so that one cosine is enough.
    square = (2 * real).sub_(samples).mul_(samples).addcmul_(radius, radius)
    # The gradient of a root is infinite at 0.
    magnitude = square.clamp_(min=1e-20).sqrt_()
    # At its ends the interpolation is exact, and without noise the real part is the signal.
    return torch.lerp(real, magnitude, per_sample(noise.rician * (noise.level > 0), samples))


@dataclass(frozen=True, kw_only=True, slots=True)
class ZipperParams(Batch):
    """The line."""

    key: Tensor  # key of its noise, int32 ``(B, 2)``
    along_rows: Tensor  # 1 where the line runs along the rows' axis (is a column), else 0, ``(B,)``
    strength: Tensor
    place: Tensor  # where it crosses the other axis, share of the field of view, ``(B,)``
    width_mm: Tensor

    def touched(self) -> Tensor:
        """Which samples it changes."""
        return self.strength > 0


@dataclass(frozen=True, kw_only=True, slots=True)
class ZipperConfig(Feature[ZipperParams]):
    """Zipper: a radio signal from outside the scanner, one noisy line of dashes across the image.

    It runs along the phase-encoding axis, at the place of one frequency of the readout.
    """

    probability: float = 0.02
    """Probability of a zipper."""
    strength: Range = (0.1, 0.5)
    """Greatest brightness it adds, share of the brightest pixel."""
    width_mm: Range = (0.5, 1.5)
    """Half of its width, mm; at least one pixel is hit."""

    bounds = within(strength=(0.0, 10.0), width_mm=(0.0, 50.0))
    shown = showcase(strength=(1.0, 1.0), width_mm=(1.5, 1.5))

    def sample(self, random: SampleRandom) -> ZipperParams:
        """Draw the zipper."""
        on = random.chance("zipper", self.probability)
        return ZipperParams(
            key=random.key("zipper_noise"),
            along_rows=phase_along_rows(random).float(),
            strength=random.uniform("zipper_strength", *self.strength) * on,
            place=random.uniform("zipper_place"),
            width_mm=random.uniform("zipper_width_mm", *self.width_mm),
        )


def add_zipper(image: Tensor, params: ZipperParams | None, spacing_mm: Spacing) -> Tensor:
    """Add the line: dashes of uniform brightness, one per pixel of its length, with linear flanks.

    Every slice of a volume has its own dashes.
    """
    if params is None:
        return image
    brightness = params.strength * image.flatten(1).amax(dim=1)
    height, width = image.shape[-2:]
    lead = image.shape[1:-2]
    down = uniform_field(params.key, "zipper_down", lead.numel() * height).view(-1, *lead, height, 1)
    across = uniform_field(params.key, "zipper_across", lead.numel() * width).view(-1, *lead, 1, width)
    at_column = _across_zipper(params, brightness * params.along_rows, width, spacing_mm[-1]).unsqueeze(1)
    at_row = _across_zipper(params, brightness * (1 - params.along_rows), height, spacing_mm[-2]).unsqueeze(2)
    if image.dim() == 4:
        at_column, at_row = at_column.unsqueeze(1), at_row.unsqueeze(1)
    return torch.addcmul(torch.addcmul(image, down, at_column), at_row, across)


def _across_zipper(params: ZipperParams, brightness: Tensor, count: int, spacing_mm: float) -> Tensor:
    """Brightness across the line, ``(B, count)``."""
    place = torch.floor(params.place * count).unsqueeze(1)
    distance = (torch.arange(count, device=place.device) - place).abs() * spacing_mm
    reach = params.width_mm.clamp(min=0.5 * spacing_mm).unsqueeze(1)
    return (1 - distance / reach).clamp(min=0) * brightness.unsqueeze(1)
