"""Artefacts that arise in k-space, all in one round trip of the Fourier transform.

Every artefact is a factor of the weights of k-space; the weights are a short sum of products of a factor
per row and a factor per column. The weights of opposite lines are conjugate, so the picture stays real and
half of k-space is enough. The factors of moving patients come from ``gen.scanner.motion``; a spike is added
to the picture itself.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from synthspine.gen.core.brush import per_sample
from synthspine.gen.core.counter_rng import SampleRandom
from synthspine.gen.core.filters import centred_positions
from synthspine.gen.core.record import Batch
from synthspine.gen.core.settings import Range, check, check_within
from synthspine.gen.scanner.lines import Lines, lines_of, phase_along_rows
from synthspine.gen.scanner.motion import (
    GhostingParams,
    KSpaceMotionParams,
    MotionBlurParams,
    ghosting_factors,
    line_transfer,
    motion_factors,
)

_TINY = 1e-20
"""Least square under the root, whose slope must stay finite where there is no signal."""


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


def distort_kspace(
    image: Tensor,
    motion: KSpaceMotionParams | None,
    ghosting: GhostingParams | None,
    gibbs: GibbsParams | None,
    spike: SpikeParams | None,
    blur: MotionBlurParams | None,
    spacing_mm: Sequence[float],
) -> Tensor:
    """Distort the spectrum of every slice and take the magnitude.

    Args:
        image: not negative, ``(B, *grid)``; slices are distorted alike, but for the spike.
        motion: motion between lines, or None.
        ghosting: periodic errors of lines, or None.
        gibbs: cut-off of k-space, or None.
        spike: a wrong point of k-space, or None.
        blur: blur along a line, or None.
        spacing_mm: grid spacing per axis.

    Returns:
        ``(B, *grid)``; samples that have none of it come back bit for bit.
    """
    features = [each for each in (motion, ghosting, gibbs, spike, blur) if each is not None]
    if not features:
        return image
    touched = features[0].touched()
    for each in features[1:]:
        touched = touched | each.touched()
    if motion is None and ghosting is None and gibbs is None and blur is None:
        signal = image
    else:
        signal = _round_trip(image, motion, ghosting, gibbs, blur, spacing_mm)
    magnitude = signal.abs() if spike is None else add_spike(signal, spike, spacing_mm)
    return torch.lerp(image, magnitude, per_sample(touched.float(), image))


def _round_trip(
    image: Tensor,
    motion: KSpaceMotionParams | None,
    ghosting: GhostingParams | None,
    gibbs: GibbsParams | None,
    blur: MotionBlurParams | None,
    spacing_mm: Sequence[float],
) -> Tensor:
    """The picture after its spectrum was weighted, real, ``(B, *grid)``."""
    # The library transforms a plane that is alone in another way, with other last bits.
    alone = image.shape[:-2].numel() == 1
    spectrum = torch.fft.fft(torch.fft.rfft(torch.cat((image, image)) if alone else image), dim=-2)
    weights = kspace_weights(image.shape, motion, ghosting, gibbs, blur, spacing_mm, image.device)
    spectrum *= weights if image.dim() == 3 else weights.unsqueeze(1)
    return torch.fft.irfft(torch.fft.ifft(spectrum, dim=-2), n=image.shape[-1])[: len(image)]


def kspace_weights(
    grid: Sequence[int],
    motion: KSpaceMotionParams | None,
    ghosting: GhostingParams | None,
    gibbs: GibbsParams | None,
    blur: MotionBlurParams | None,
    spacing_mm: Sequence[float],
    device: torch.device,
) -> Tensor:
    """Weights of the half spectrum of a real picture.

    Args:
        grid: shape of the picture; its last two axes count.
        motion: or None; not all of the features may be None.
        ghosting: or None.
        gibbs: or None.
        blur: or None.
        spacing_mm: grid spacing per axis.
        device: of the features.

    Returns:
        complex64 or float32, ``(B, H, W // 2 + 1)``.
    """
    lines = lines_of(grid, spacing_mm, device)
    factors = []
    if gibbs is not None:
        factors.append(gibbs_factors(gibbs, lines))
    if ghosting is not None:
        factors.append(ghosting_factors(ghosting, lines))
    if motion is not None:
        factors.append(motion_factors(motion, lines))
    transfer = None if blur is None else line_transfer(blur, lines)
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
