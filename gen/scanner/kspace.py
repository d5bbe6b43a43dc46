"""Artefacts that arise in k-space, all in one round trip of the Fourier transform.

The weights of k-space are a short sum of products of factors per row and per column (``gen.scanner.motion``).
The weights of opposite lines are conjugate, so the image stays real and half of k-space is enough. A spike is
added to the image itself.
"""

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from synthspine.gen.core.counter_rng import SampleRandom
from synthspine.gen.core.feature import Batch, Config, Range, Spacing, within
from synthspine.gen.core.filters import centred_positions
from synthspine.gen.core.masks import per_sample
from synthspine.gen.scanner.lines import PlaneLines, lines_of, phase_along_rows
from synthspine.gen.scanner.motion import GhostingParams, KSpaceMotionParams, MotionBlurParams, line_transfer

_TINY = 1e-20
"""Least square under the root, whose slope must stay finite where there is no signal."""


@dataclass(frozen=True, kw_only=True, slots=True)
class GibbsConfig(Config):
    """Ringing beside edges: the outer lines of k-space are not read and count as zero."""

    probability: float = 0.1
    """Probability of ringing."""
    phase_kept: Range = (0.4, 0.8)
    """Share of the lines that are read along the phase-encoding axis."""
    readout_kept: Range = (0.7, 1.0)
    """Share that is read along the other axis."""

    bounds = within(phase_kept=(0.05, 1.0), readout_kept=(0.05, 1.0))


@dataclass(frozen=True, kw_only=True, slots=True)
class GibbsParams(Batch):
    """Share of the lines that are read along rows and columns, 1 without ringing, ``(B, 2)``."""

    kept: Tensor

    def touched(self) -> Tensor:
        """Which samples it changes, bool ``(B,)``."""
        return self.kept.amin(dim=1) < 1

    def factors(self, lines: PlaneLines) -> tuple[Tensor, Tensor]:
        """Factors of rows ``(B, 1, H)`` and columns: 1 up to ``kept * N / 2`` from the middle, else 0."""
        rows, columns = (
            (each.number.abs() <= self.kept[:, axis, None, None] * (each.pixels / 2)).float()
            for axis, each in enumerate(lines)
        )
        return rows, columns


def draw_gibbs(config: GibbsConfig, random: SampleRandom) -> GibbsParams | None:
    """Draw the cut-off; None if there is never one."""
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


@dataclass(frozen=True, kw_only=True, slots=True)
class SpikeConfig(Config):
    """Stripes over the image: one wrong point of k-space (a spark in the scanner; "corduroy" artefact)."""

    probability: float = 0.02
    """Probability of stripes."""
    strength: Range = (0.02, 0.1)
    """Amplitude of the stripes, share of the brightest pixel."""
    stripe_mm: Range = (3.0, 15.0)
    """Distance from one stripe to the next, mm."""

    bounds = within("strength", stripe_mm=(0.5, 500.0))


@dataclass(frozen=True, kw_only=True, slots=True)
class SpikeParams(Batch):
    """The wrong point of k-space."""

    strength: Tensor
    frequency: Tensor  # of the stripes along rows and columns, cycles per mm, ``(B, 2)``
    phase: Tensor  # at the middle of the grid, radians, ``(B,)``
    slice_place: Tensor  # which slice of a volume has stripes, share of its slices, ``(B,)``

    def touched(self) -> Tensor:
        """Which samples it changes, bool ``(B,)``."""
        return self.strength > 0


def draw_spike(config: SpikeConfig, random: SampleRandom) -> SpikeParams | None:
    """Draw the stripes; None if there are never any."""
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


def add_spike(image: Tensor, params: SpikeParams, spacing_mm: Spacing) -> Tensor:
    """Magnitude of the image plus a plane wave, ``|x + a exp(i t)|``; only one slice of a volume has it.

    One point of k-space is one plane wave (the Fourier transform is linear), so no transform is needed,
    and the magnitude of the complex sum is ``sqrt(x^2 + 2 a x cos(t) + a^2)``. ``image`` is real and may be
    negative.
    """
    rows, columns = (
        (2 * math.pi) * params.frequency[:, axis, None] * centred_positions(count, spacing, image.device)
        for axis, (count, spacing) in enumerate(zip(image.shape[-2:], spacing_mm[-2:], strict=True))
    )
    rows, columns = (rows + params.phase.unsqueeze(1)).unsqueeze(2), columns.unsqueeze(1)
    amplitude = per_sample(params.strength * image.flatten(1).amax(dim=1), image)
    if image.dim() == 4:
        number = torch.floor(params.slice_place * image.shape[1]).unsqueeze(1)
        hit = torch.arange(image.shape[1], device=image.device) == number
        amplitude, rows, columns = amplitude * hit[:, :, None, None], rows.unsqueeze(1), columns.unsqueeze(1)
    # Cosines of a sum from cosines of its parts: none is taken per pixel.
    double = 2 * amplitude
    signal = torch.addcmul(image, double * torch.cos(rows), torch.cos(columns))
    signal = torch.addcmul(signal, double * torch.sin(rows), -torch.sin(columns))
    return torch.addcmul(amplitude * amplitude, image, signal).clamp(min=_TINY).sqrt()


def distort_kspace(
    image: Tensor,
    motion: KSpaceMotionParams | None,
    ghosting: GhostingParams | None,
    gibbs: GibbsParams | None,
    spike: SpikeParams | None,
    blur: MotionBlurParams | None,
    spacing_mm: Spacing,
) -> Tensor:
    """Distort the spectrum of every slice and take the magnitude; any artefact may be None.

    The image must not be negative. All slices of a volume are distorted alike, except by the spike. Samples
    without any of the artefacts keep their values bit for bit.
    """
    features = [each for each in (motion, ghosting, gibbs, spike, blur) if each is not None]
    if not features:
        return image
    touched = torch.stack([each.touched() for each in features]).any(dim=0)
    signal = image
    if any(each is not None for each in (motion, ghosting, gibbs, blur)):
        # The FFT library treats a single plane differently, with other last bits.
        alone = image.shape[:-2].numel() == 1
        spectrum = torch.fft.fft(torch.fft.rfft(torch.cat((image, image)) if alone else image), dim=-2)
        lines = lines_of(image.shape, spacing_mm, image.device)
        factors = [each.factors(lines) for each in (gibbs, ghosting, motion) if each is not None]
        weights = _half_spectrum_weights(factors, None if blur is None else line_transfer(blur, lines))
        spectrum *= weights if image.dim() == 3 else weights.unsqueeze(1)
        signal = torch.fft.irfft(torch.fft.ifft(spectrum, dim=-2), n=image.shape[-1])[: len(image)]
    magnitude = signal.abs() if spike is None else add_spike(signal, spike, spacing_mm)
    return torch.lerp(image, magnitude, per_sample(touched.float(), image))


def _half_spectrum_weights(factors: list[tuple[Tensor, Tensor]], transfer: Tensor | None) -> Tensor:
    """Weights of the half spectrum, ``(B, H, W // 2 + 1)``: products of factors, times ``transfer``."""
    if not factors:
        assert transfer is not None
        return transfer
    rows, columns = factors[0]
    for more_rows, more_columns in factors[1:]:
        rows, columns = rows * more_rows, columns * more_columns
    weights = rows[:, 0, :, None] * columns[:, 0, None, :]
    for part in range(1, rows.shape[1]):
        weights = torch.addcmul(weights, rows[:, part, :, None], columns[:, part, None, :])
    return weights if transfer is None else weights * transfer
