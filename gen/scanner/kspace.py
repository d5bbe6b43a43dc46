"""Artefacts that arise in k-space, all in one round trip of the Fourier transform.

Every feature is a factor of the weights of k-space; the weights are a short sum of products of a factor
per row and a factor per column. The weights of opposite lines are conjugate, so the picture stays real and
half of k-space is enough.
"""

from collections.abc import Sequence

import torch
from torch import Tensor

from synthspine.gen.core.masks import per_sample
from synthspine.gen.scanner.ghosting import GhostingParams, ghosting_factors
from synthspine.gen.scanner.gibbs import GibbsParams, gibbs_factors
from synthspine.gen.scanner.kspace_motion import KSpaceMotionParams, motion_factors
from synthspine.gen.scanner.lines import lines_of
from synthspine.gen.scanner.motion_blur import MotionBlurParams, line_transfer
from synthspine.gen.scanner.spike import SpikeParams, add_spike


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
