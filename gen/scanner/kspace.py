"""Artefacts that arise in k-space, all in one round trip of the Fourier transform.

The weights of k-space are a short sum of products of factors per row and per column (``KSpaceArtefact``).
The weights of opposite lines are conjugate, so the image stays real and half of k-space is enough. A spike is
added to the image itself.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from synthspine.gen.core.counter_rng import SampleRandom
from synthspine.gen.core.drawing import Feature, showcase
from synthspine.gen.core.feature import Range, Spacing, within
from synthspine.gen.core.filters import centred_positions
from synthspine.gen.core.masks import per_sample
from synthspine.gen.scanner.lines import KSpaceArtefact, PlaneLines, lines_of, phase_along_rows

_TINY = 1e-20
"""Least square under the root, whose slope must stay finite where there is no signal."""


@dataclass(frozen=True, kw_only=True, slots=True)
class GibbsParams(KSpaceArtefact):
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


@dataclass(frozen=True, kw_only=True, slots=True)
class GibbsConfig(Feature[GibbsParams]):
    """Ringing beside edges: the outer lines of k-space are not read and count as zero."""

    probability: float = 0.1
    """Probability of ringing."""
    phase_kept: Range = (0.4, 0.8)
    """Share of the lines that are read along the phase-encoding axis."""
    readout_kept: Range = (0.7, 1.0)
    """Share that is read along the other axis."""

    bounds = within(phase_kept=(0.05, 1.0), readout_kept=(0.05, 1.0))
    shown = showcase("middle_disc", phase_kept=(0.4, 0.4))

    def sample(self, random: SampleRandom) -> GibbsParams:
        """Draw the cut-off."""
        on = random.chance("gibbs", self.probability)
        along_rows = phase_along_rows(random)
        phase = random.uniform("gibbs_phase_kept", *self.phase_kept)
        readout = random.uniform("gibbs_readout_kept", *self.readout_kept)
        kept = torch.stack(
            (torch.where(along_rows, phase, readout), torch.where(along_rows, readout, phase)), dim=1
        )
        return GibbsParams(kept=torch.where(on.unsqueeze(1), kept, 1.0))


@dataclass(frozen=True, kw_only=True, slots=True)
class SpikeParams(KSpaceArtefact):
    """The wrong point of k-space."""

    strength: Tensor
    frequency: Tensor  # of the stripes along rows and columns, cycles per mm, ``(B, 2)``
    phase: Tensor  # at the middle of the grid, radians, ``(B,)``
    slice_place: Tensor  # which slice of a volume has stripes, share of its slices, ``(B,)``

    weighs_lines = False

    def touched(self) -> Tensor:
        """Which samples it changes, bool ``(B,)``."""
        return self.strength > 0

    def distort(self, image: Tensor, spacing_mm: Spacing) -> Tensor:
        """Magnitude of the image plus a plane wave, ``|x + a exp(i t)|``; only one slice of a volume has it.

        One point of k-space is one plane wave (the Fourier transform is linear), so no transform is needed,
        and the magnitude of the complex sum is ``sqrt(x^2 + 2 a x cos(t) + a^2)``.
        """
        rows, columns = (
            (2 * math.pi) * self.frequency[:, axis, None] * centred_positions(count, spacing, image.device)
            for axis, (count, spacing) in enumerate(zip(image.shape[-2:], spacing_mm[-2:], strict=True))
        )
        rows, columns = (rows + self.phase.unsqueeze(1)).unsqueeze(2), columns.unsqueeze(1)
        amplitude = per_sample(self.strength * image.flatten(1).amax(dim=1), image)
        if image.dim() == 4:
            number = torch.floor(self.slice_place * image.shape[1]).unsqueeze(1)
            hit = torch.arange(image.shape[1], device=image.device) == number
            amplitude = amplitude * hit[:, :, None, None]
            rows, columns = rows.unsqueeze(1), columns.unsqueeze(1)
        # Cosines of a sum from cosines of its parts: none is taken per pixel.
        double = 2 * amplitude
        signal = torch.addcmul(image, double * torch.cos(rows), torch.cos(columns))
        signal = torch.addcmul(signal, double * torch.sin(rows), -torch.sin(columns))
        return torch.addcmul(amplitude * amplitude, image, signal).clamp(min=_TINY).sqrt()


@dataclass(frozen=True, kw_only=True, slots=True)
class SpikeConfig(Feature[SpikeParams]):
    """Stripes over the image: one wrong point of k-space (a spark in the scanner; "corduroy" artefact)."""

    probability: float = 0.02
    """Probability of stripes."""
    strength: Range = (0.02, 0.1)
    """Amplitude of the stripes, share of the brightest pixel."""
    stripe_mm: Range = (3.0, 15.0)
    """Distance from one stripe to the next, mm."""

    bounds = within("strength", stripe_mm=(0.5, 500.0))
    shown = showcase(strength=(0.1, 0.1))

    def sample(self, random: SampleRandom) -> SpikeParams:
        """Draw the stripes."""
        on = random.chance("spike", self.probability)
        angle = random.uniform("spike_angle", 0.0, math.pi)
        cycles = 1 / random.uniform("spike_stripe_mm", *self.stripe_mm)
        return SpikeParams(
            strength=random.uniform("spike_strength", *self.strength) * on,
            frequency=torch.stack((cycles * torch.cos(angle), cycles * torch.sin(angle)), dim=1),
            phase=random.uniform("spike_phase", 0.0, 2 * math.pi),
            slice_place=random.uniform("spike_slice"),
        )


def distort_kspace(image: Tensor, artefacts: Sequence[KSpaceArtefact | None], spacing_mm: Spacing) -> Tensor:
    """Distort the spectrum of every slice and take the magnitude.

    The image must not be negative; None among the artefacts is skipped. All slices of a volume are distorted
    alike, except by the spike. Samples without any of the artefacts keep their values bit for bit.
    """
    present = [each for each in artefacts if each is not None]
    if not present:
        return image
    touched = torch.stack([each.touched() for each in present]).any(dim=0)
    signal = image
    if any(each.weighs_lines for each in present):
        # The FFT library treats a single plane differently, with other last bits.
        alone = image.shape[:-2].numel() == 1
        spectrum = torch.fft.fft(torch.fft.rfft(torch.cat((image, image)) if alone else image), dim=-2)
        weights = _half_spectrum_weights(present, lines_of(image.shape, spacing_mm, image.device))
        spectrum *= weights if image.dim() == 3 else weights.unsqueeze(1)
        signal = torch.fft.irfft(torch.fft.ifft(spectrum, dim=-2), n=image.shape[-1])[: len(image)]
    others = [each for each in present if not each.weighs_lines]
    for each in others:
        signal = each.distort(signal, spacing_mm)
    return torch.lerp(image, signal if others else signal.abs(), per_sample(touched.float(), image))


def _half_spectrum_weights(artefacts: list[KSpaceArtefact], lines: PlaneLines) -> Tensor:
    """Weights of the half spectrum, ``(B, H, W // 2 + 1)``: the product of those of the artefacts."""
    factors = [pair for each in artefacts if (pair := each.factors(lines)) is not None]
    products = [product for each in artefacts if (product := each.transfer(lines)) is not None]
    if factors:
        rows, columns = factors[0]
        for more_rows, more_columns in factors[1:]:
            rows, columns = rows * more_rows, columns * more_columns
        weights = rows[:, 0, :, None] * columns[:, 0, None, :]
        for part in range(1, rows.shape[1]):
            weights = torch.addcmul(weights, rows[:, part, :, None], columns[:, part, None, :])
        products.insert(0, weights)
    return math.prod(products[1:], start=products[0])
