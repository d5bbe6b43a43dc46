"""Resolution: blur by the point-spread function, sampling, noise, interpolation back, as matrices.

Along every axis the operator is ``U S G``: Gaussian blur ``G``, sampling ``S`` at the acquired spacing,
linear interpolation ``U`` back to the grid. Noise is born between ``S`` and ``U``, at the acquired
resolution. The acquired points lie symmetrically about the centre of the grid, so nothing shifts.
"""

import math
from collections.abc import Sequence

import torch
from torch import Tensor

from gen.config import AcquisitionConfig
from gen.counter_rng import SampleRandom, normal_field
from gen.params import AcquisitionParams, ArtefactParams
from gen.separable import apply_separable, centred_positions, gaussian_matrix

FWHM = 2 * math.sqrt(2 * math.log(2))
"""Full width at half maximum of a Gaussian, in standard deviations."""


def draw_acquisition(
    config: AcquisitionConfig, random: SampleRandom, spacing_mm: Sequence[float]
) -> AcquisitionParams:
    """Draw the resolution of every sample; ``spacing_mm`` is the grid's spacing per axis.

    As in SynthSeg (Billot et al. 2023): native, or coarser along all axes, or along one axis alone. The
    factor's reciprocal is uniform, so that mild losses are more frequent than strong ones.
    """
    dims = len(spacing_mm)
    grid_mm = torch.tensor(spacing_mm, device=random.keys.device)
    native = random.chance("native", config.native_probability).unsqueeze(1)
    isotropic = random.chance("isotropic", config.isotropic_probability).unsqueeze(1)
    low, high = config.factor
    drawn = 1 / random.uniform("factor", 1 / high, 1 / low, shape=(1,))
    axis = torch.arange(dims, device=grid_mm.device) == random.integer("axis", dims).unsqueeze(1)
    factor = torch.where(native, 1.0, torch.where(isotropic | axis, drawn, 1.0))
    spacing = grid_mm * factor
    thickness = random.uniform("thickness", *config.thickness, shape=(1,))
    return AcquisitionParams(spacing_mm=spacing, sigma_mm=thickness * spacing / FWHM)


def acquire(
    image: Tensor, params: AcquisitionParams, artefacts: ArtefactParams, spacing_mm: Sequence[float]
) -> Tensor:
    """Take the picture at the acquired resolution and bring it back to the grid.

    Args:
        image: ``(B, *grid)``, float32.
        params: acquired resolution.
        artefacts: holds the level of the noise.
        spacing_mm: grid spacing per axis.

    Returns:
        Not negative where there is noise (Rician), ``(B, *grid)``.
    """
    samplers, interpolators = [], []
    for axis, (count, spacing) in enumerate(zip(image.shape[1:], spacing_mm, strict=True)):
        sampler, interpolator = axis_operators(
            count, spacing, params.spacing_mm[:, axis], params.sigma_mm[:, axis]
        )
        samplers.append(sampler)
        interpolators.append(interpolator)
    return apply_separable(rician(apply_separable(image, samplers), artefacts), interpolators)


def axis_operators(count: int, grid_mm: float, spacing_mm: Tensor, sigma_mm: Tensor) -> tuple[Tensor, Tensor]:
    """Sampling with blur, and linear interpolation back, along one axis.

    Args:
        count: grid points of the axis.
        grid_mm: their spacing.
        spacing_mm: acquired spacing, not below ``grid_mm``, ``(B,)``.
        sigma_mm: standard deviation of the point-spread function, ``(B,)``.

    Returns:
        Two matrices, ``(B, count, count)`` each. Acquired points that do not exist, because the coarser
        grid has fewer, keep a place that the second matrix never reads: shapes do not depend on values.
    """
    at = centred_positions(count, grid_mm, sigma_mm.device)
    ordinal = torch.arange(count, device=sigma_mm.device, dtype=torch.float32)
    extent = (count - 1) * grid_mm
    # The tolerance keeps a point that rounding would put just beyond the border.
    acquired = torch.floor(extent / spacing_mm + 1e-4) + 1
    first = -(acquired - 1) / 2 * spacing_mm
    points = first[:, None] + ordinal * spacing_mm[:, None]
    blur = gaussian_matrix(points, at, sigma_mm.clamp(min=1e-3 * grid_mm))
    blur = blur / blur.sum(-1, keepdim=True).clamp(min=1e-12)
    place = ((at - first[:, None]) / spacing_mm[:, None]).clamp(min=0)
    place = torch.minimum(place, (acquired - 1)[:, None])
    back = (1 - (place.unsqueeze(2) - ordinal).abs()).clamp(min=0)
    return blur, back


def rician(image: Tensor, params: ArtefactParams) -> Tensor:
    """Magnitude of a complex signal with Gaussian noise in both channels (Gudbjartsson and Patz 1995)."""
    count = image[0].numel()
    level = params.noise.view(-1, *[1] * (image.dim() - 1))
    noise = normal_field(params.key, "noise", 2 * count).reshape(len(image), 2, *image.shape[1:])
    noisy = torch.sqrt((image + level * noise[:, 0]) ** 2 + (level * noise[:, 1]) ** 2)
    return torch.where(level > 0, noisy, image)
