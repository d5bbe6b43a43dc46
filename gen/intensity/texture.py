"""Texture: grain inside the tissues, partly white, partly correlated over some millimetres."""

from dataclasses import dataclass

import torch
from torch import Tensor

from synthspine.gen.core.counter_rng import SampleRandom, normal_field
from synthspine.gen.core.drawing import Feature, showcase
from synthspine.gen.core.feature import Batch, Range, Spacing, within
from synthspine.gen.core.filters import WIDEST, smooth_field
from synthspine.gen.core.masks import per_code
from synthspine.gen.intensity.contrast import code_tables
from synthspine.gen.tissues.palette import PAINT_CODES

FINEST_MM = 1.5
"""Least correlation length of the grain: it is drawn on a grid this coarse."""


@dataclass(frozen=True, kw_only=True, slots=True)
class TextureParams(Batch):
    """Grain of every painted code; standard deviations as a share of full scale."""

    key: Tensor  # key of the fields, int32 ``(B, 2)``
    white: Tensor | None  # standard deviation of the white part, ``(B, P)``; None where there is never one
    coarse: Tensor | None  # that of the correlated part, ``(B, P)``; None where there is never one
    correlation_mm: Tensor


@dataclass(frozen=True, kw_only=True, slots=True)
class TextureConfig(Feature[TextureParams]):
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
    """Marrow is coarser: share of its white variance that is correlated as well."""

    bounds = within(
        "strength", "air_factor", "correlated", "marrow", correlation_mm=(FINEST_MM, WIDEST * FINEST_MM)
    )
    shown = showcase("middle_disc", strength=(0.08, 0.1), correlated=(0.7, 0.7))

    def never(self) -> bool:
        """Whether the configuration leaves it out."""
        return self.probability == 0 or self.strength[1] == 0

    def sample(self, random: SampleRandom) -> TextureParams:
        """Draw the strength and coarseness of every tissue's grain."""
        tables = code_tables(random.keys.device)
        # Marrow is coarser: trabeculae and fat. What lies outside of the field of view has no grain.
        factor = torch.where(tables.air | tables.void, self.air_factor, tables.lit)
        on = random.chance("texture_on", self.probability).unsqueeze(1)
        strength = random.uniform("texture_strength", *self.strength, shape=(PAINT_CODES,)) * (factor * on)
        share = random.uniform("texture_correlated", *self.correlated).unsqueeze(1)
        more = random.uniform("texture_marrow", *self.marrow).unsqueeze(1)
        share = share + (1 - share) * tables.marrow * more
        never_coarse = self.correlated[1] == 0 and self.marrow[1] == 0
        return TextureParams(
            key=random.key("texture_field"),
            white=None if self.correlated[0] == 1 else strength * torch.sqrt(1 - share),
            coarse=None if never_coarse else strength * torch.sqrt(share),
            correlation_mm=random.uniform("texture_mm", *self.correlation_mm),
        )


def add_texture(image: Tensor, painted: Tensor, params: TextureParams | None, spacing_mm: Spacing) -> Tensor:
    """Add the grain: per pixel, two independent normal numbers times the deviations of its painted code.

    The variance within a tissue is ``white**2 + coarse**2`` at every pixel, borders included.
    """
    if params is None:
        return image
    grid = image.shape[1:]
    if params.white is not None:
        white = normal_field(params.key, "white", grid.numel()).view(image.shape)
        image = torch.addcmul(image, white, per_code(params.white, painted))
        del white
    if params.coarse is not None:
        field = smooth_field(params.key, "coarse", grid, spacing_mm, params.correlation_mm, FINEST_MM)
        image = torch.addcmul(image, field, per_code(params.coarse, painted))
    return image
