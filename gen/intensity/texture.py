"""Texture: grain inside the tissues, partly white, partly correlated over some millimetres."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache

import torch
from torch import Tensor

from synthspine.gen.core.counter_rng import SampleRandom, normal_field
from synthspine.gen.core.feature import Batch, Range, check, check_within
from synthspine.gen.core.filters import WIDEST, smooth_field
from synthspine.gen.tissues.palette import (
    AIR,
    BOWEL_GAS,
    HAEMANGIOMA,
    IMPLANT,
    MODIC,
    OUTSIDE,
    PAINT_CODES,
    SACRUM,
    VERTEBRAE,
)

FINEST_MM = 1.5
"""Least correlation length: sets the coarse grid of the random field."""
MARROW = (*range(VERTEBRAE.start, VERTEBRAE.stop), SACRUM, MODIC, HAEMANGIOMA)
"""Codes of bone marrow, whose trabeculae and fat make coarser grain than other tissues have."""
EMPTY = (AIR, BOWEL_GAS, IMPLANT)


@dataclass(frozen=True, kw_only=True, slots=True)
class TextureConfig:
    """Grain inside the tissues."""

    probability: float = 1.0
    """Probability of texture."""
    strength: Range = (0.0, 0.10)
    """Standard deviation of the grain of one tissue, share of full scale."""
    air_factor: float = 0.2
    """Factor on that standard deviation in air and voids."""
    correlated: Range = (0.2, 0.9)
    """Share of the variance that is spatially correlated; the rest is white. (0, 0) leaves it out."""
    correlation_mm: Range = (1.5, 6.0)
    """Correlation length of that part, mm."""
    marrow: Range = (0.0, 0.5)
    """Marrow is coarser: how much of its white variance is correlated as well."""

    def __post_init__(self) -> None:
        check(self)
        check_within(
            self,
            strength=(0.0, 1.0),
            air_factor=(0.0, 1.0),
            correlated=(0.0, 1.0),
            correlation_mm=(FINEST_MM, WIDEST * FINEST_MM),
            marrow=(0.0, 1.0),
        )


@dataclass(frozen=True, kw_only=True, slots=True)
class TextureParams(Batch):
    """Grain of every painted code, ``P`` codes; standard deviations as a share of full scale.

    Attributes:
        key: key of the fields, int32 ``(B, 2)``.
        white: standard deviation of the white part, ``(B, P)``; None where there is never one.
        coarse: standard deviation of the correlated part, ``(B, P)``; None where there is never one.
        correlation_mm: correlation length of the correlated part, ``(B,)``.
    """

    key: Tensor
    white: Tensor | None
    coarse: Tensor | None
    correlation_mm: Tensor


@cache
def _tables(device: torch.device, air_factor: float) -> tuple[Tensor, Tensor]:
    """Factor on the strength, and whether it is marrow, of every code, ``(P,)`` each."""
    factor, marrow = torch.ones(PAINT_CODES), torch.zeros(PAINT_CODES)
    factor[list(EMPTY)] = air_factor
    factor[OUTSIDE] = 0.0
    marrow[list(MARROW)] = 1.0
    return factor.to(device), marrow.to(device)


def draw_texture(config: TextureConfig, random: SampleRandom) -> TextureParams | None:
    """Draw the strength and coarseness of every tissue's grain; None if there is never any."""
    if config.probability == 0 or config.strength[1] == 0:
        return None
    factor, marrow = _tables(random.keys.device, config.air_factor)
    on = random.chance("texture_on", config.probability).unsqueeze(1)
    strength = random.uniform("texture_strength", *config.strength, shape=(PAINT_CODES,)) * (factor * on)
    share = random.uniform("texture_correlated", *config.correlated).unsqueeze(1)
    share = share + (1 - share) * marrow * random.uniform("texture_marrow", *config.marrow).unsqueeze(1)
    never_white = config.correlated[0] == 1
    never_coarse = config.correlated[1] == 0 and config.marrow[1] == 0
    return TextureParams(
        key=random.key("texture_field"),
        white=None if never_white else strength * torch.sqrt(1 - share),
        coarse=None if never_coarse else strength * torch.sqrt(share),
        correlation_mm=random.uniform("texture_mm", *config.correlation_mm),
    )


def add_texture(
    image: Tensor, painted: Tensor, params: TextureParams | None, spacing_mm: Sequence[float]
) -> Tensor:
    """Add the grain: per pixel, two independent normal numbers times the deviations of its tissue.

    The variance within a tissue is ``white**2 + coarse**2`` at every pixel, borders included.

    Args:
        image: ``(B, *grid)``.
        painted: painted codes (``gen.tissues.palette``), uint8 ``(B, *grid)``.
        params: what was drawn; None adds nothing.
        spacing_mm: grid spacing per axis, mm.

    Returns:
        Image, ``(B, *grid)``.
    """
    if params is None:
        return image
    grid = painted.shape[1:]
    index = painted.flatten(1).long()
    flat = image.flatten(1)
    if params.white is not None:
        flat = torch.addcmul(
            flat, params.white.gather(1, index), normal_field(params.key, "white", grid.numel())
        )
    if params.coarse is not None:
        size_mm = params.correlation_mm.unsqueeze(1).expand(-1, len(grid))
        field = smooth_field(params.key, "coarse", grid, spacing_mm, size_mm, FINEST_MM)
        flat = torch.addcmul(flat, params.coarse.gather(1, index), field.flatten(1))
    return flat.reshape(image.shape)
