"""What the scanner adds before sampling: shading by bias field and coil, motion."""

import math
from collections.abc import Sequence

import torch
from kornia.filters import filter2d
from torch import Tensor

from gen.config import FINEST_BIAS_MM, ArtefactConfig
from gen.counter_rng import SampleRandom
from gen.params import ArtefactParams
from gen.separable import smooth_field

MOTION_REACH = 5
"""Half size of the motion kernel, pixels."""


def draw_artefacts(config: ArtefactConfig, random: SampleRandom) -> ArtefactParams:
    """Draw shading, noise and motion of every sample."""
    coil = random.chance("coil", config.coil_probability)
    return ArtefactParams(
        key=random.key("artefacts"),
        bias=random.uniform("bias", *config.bias) * random.chance("bias_on", config.bias_probability),
        bias_mm=random.uniform("bias_mm", *config.bias_mm),
        coil_floor=torch.where(coil, random.uniform("coil_floor", *config.coil_floor), 1.0),
        coil_mm=random.uniform("coil_mm", 45.0, 110.0),
        coil_width_mm=random.uniform("coil_width", *config.coil_width_mm),
        noise=random.uniform("noise", *config.noise) * random.chance("noise_on", config.noise_probability),
        motion_mm=random.uniform("motion_mm", *config.motion_mm)
        * random.chance("motion", config.motion_probability),
        motion_deg=random.uniform("motion_deg", 0.0, 180.0),
    )


def shade(image: Tensor, behind_mm: Tensor, params: ArtefactParams, spacing_mm: Sequence[float]) -> Tensor:
    """Multiply by a bias field (exponential of a smooth field) and the coil's sensitivity.

    Args:
        image: ``(B, *grid)``.
        behind_mm: distance behind the canal, ``(B, *grid)``.
        params: what was drawn.
        spacing_mm: grid spacing per axis.
    """
    each = (-1, *[1] * (image.dim() - 1))
    size = params.bias_mm.unsqueeze(1).expand(-1, len(spacing_mm))
    field = smooth_field(params.key, "bias", image.shape[1:], spacing_mm, size, smallest_mm=FINEST_BIAS_MM)
    bias = torch.exp(params.bias.view(each) * field)
    floor = params.coil_floor.view(each)
    reach = (behind_mm + params.coil_mm.view(each)) / params.coil_width_mm.view(each)
    return image * bias * (floor + (1 - floor) * torch.sigmoid(4 * reach))


def move(image: Tensor, params: ArtefactParams, spacing_mm: Sequence[float]) -> Tensor:
    """Blur along a line in the sagittal plane, ``(B, *grid)``; length 0 leaves the picture as it is."""
    offsets = torch.arange(-MOTION_REACH, MOTION_REACH + 1, device=image.device, dtype=torch.float32)
    angle = (params.motion_deg * (math.pi / 180))[:, None, None]
    down, across = offsets[:, None] * spacing_mm[-2], offsets * spacing_mm[-1]
    along = down * torch.cos(angle) + across * torch.sin(angle)
    aside = across * torch.cos(angle) - down * torch.sin(angle)
    # The line is one pixel wide with linear flanks, so every direction and length has its own kernel.
    pixel = spacing_mm[-2]
    beyond = (along.abs() - params.motion_mm[:, None, None] / 2).clamp(min=0)
    kernel = (1 - aside.abs() / pixel).clamp(min=0) * (1 - beyond / pixel).clamp(min=0)
    still = (offsets[:, None] == 0) & (offsets == 0)
    kernel = torch.where(params.motion_mm[:, None, None] > 0, kernel, still.float())
    planes = image if image.dim() == 4 else image.unsqueeze(1)
    # Rows of unit sum come from kornia; reflection needs more pixels than half a kernel.
    mode = "reflect" if min(planes.shape[-2:]) > MOTION_REACH else "replicate"
    return filter2d(planes, kernel, border_type=mode, normalized=True).reshape(image.shape)
