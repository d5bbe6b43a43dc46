"""Background: surroundings of the labelled structures, as random regions of three sizes, not organs."""

from dataclasses import dataclass
from statistics import NormalDist

import torch
from torch import Tensor

from synthspine.gen.core.counter_rng import SampleRandom
from synthspine.gen.core.drawing import Feature, showcase
from synthspine.gen.core.feature import Batch, Range, Spacing, within
from synthspine.gen.core.filters import WIDEST, smooth_field
from synthspine.gen.core.masks import above, overpaint, per_sample
from synthspine.gen.tissues.palette import (
    COARSE_REGIONS,
    FINE_REGIONS,
    FIRST_COARSE,
    FIRST_FINE,
    FIRST_MEDIUM,
    MEDIUM_REGIONS,
)

FINEST_COARSE_MM = 12.0
FINEST_MEDIUM_MM = 4.0
FINEST_FINE_MM = 1.5
"""Least correlation lengths: random fields are drawn on grids this coarse."""

_CORE = 0.4
"""Share of a spot that is its centre; the rest is its border, another tissue."""
_NEVER = 1e4
_QUANTILES = tuple(NormalDist().inv_cdf(k / COARSE_REGIONS) for k in range(1, COARSE_REGIONS))


@dataclass(frozen=True, kw_only=True, slots=True)
class BackgroundParams(Batch):
    """Random regions of a batch; sizes and shares of spots are None if no sample has any."""

    key: Tensor
    regions: Tensor  # 1 with random regions, 0 with one tissue
    coarse_mm: Tensor
    medium_mm: Tensor | None
    medium_share: Tensor | None
    fine_mm: Tensor | None
    fine_share: Tensor | None


@dataclass(frozen=True, kw_only=True, slots=True)
class BackgroundConfig(Feature[BackgroundParams]):
    """Random regions around the labelled structures."""

    probability: float = 1.0
    """Probability of random regions; without them the background is one tissue."""
    coarse_mm: Range = (14.0, 40.0)
    """Size of the largest regions, which cover all (standard deviation of their kernel), mm."""
    medium_mm: Range = (5.0, 12.0)
    """Size of the medium spots, mm."""
    medium_share: Range = (0.0, 0.3)
    """Share of the background that medium spots overpaint; (0, 0) leaves them out."""
    fine_mm: Range = (1.5, 4.0)
    """Size of the finest spots, mm."""
    fine_share: Range = (0.0, 0.15)
    """Share of the background that the finest spots overpaint in turn; (0, 0) leaves them out."""

    bounds = within(
        "medium_share",
        "fine_share",
        coarse_mm=(FINEST_COARSE_MM, WIDEST * FINEST_COARSE_MM),
        medium_mm=(FINEST_MEDIUM_MM, WIDEST * FINEST_MEDIUM_MM),
        fine_mm=(FINEST_FINE_MM, WIDEST * FINEST_FINE_MM),
    )
    shown = showcase(medium_share=(0.3, 0.3), fine_share=(0.3, 0.3))

    def sample(self, random: SampleRandom) -> BackgroundParams:
        """Draw the regions of every sample."""
        regions = random.chance("background", self.probability).float()
        medium = self.medium_share[1] > 0
        fine = self.fine_share[1] > 0
        return BackgroundParams(
            key=random.key("background_key"),
            regions=regions,
            coarse_mm=random.uniform("background_coarse_mm", *self.coarse_mm),
            medium_mm=random.uniform("background_medium_mm", *self.medium_mm) if medium else None,
            medium_share=random.uniform("background_medium", *self.medium_share) * regions
            if medium
            else None,
            fine_mm=random.uniform("background_fine_mm", *self.fine_mm) if fine else None,
            fine_share=random.uniform("background_fine", *self.fine_share) * regions if fine else None,
        )


def paint_background(codes: Tensor, params: BackgroundParams | None, spacing_mm: Spacing) -> Tensor:
    """Paint random regions everywhere; of ``codes`` only shape and device count."""
    painted = torch.full_like(codes, FIRST_COARSE)
    if params is None:
        return painted
    coarse = smooth_field(
        params.key, "coarse", codes.shape[1:], spacing_mm, params.coarse_mm, FINEST_COARSE_MM
    )
    even = per_sample(_NEVER * (1 - params.regions), codes)
    for quantile in _QUANTILES:
        painted += above(coarse, even + quantile)
    if params.medium_mm is not None and params.medium_share is not None:
        field = smooth_field(
            params.key, "medium", codes.shape[1:], spacing_mm, params.medium_mm, FINEST_MEDIUM_MM
        )
        painted = _spots(painted, field, params.medium_share, FIRST_MEDIUM, MEDIUM_REGIONS)
    if params.fine_mm is not None and params.fine_share is not None:
        field = smooth_field(params.key, "fine", codes.shape[1:], spacing_mm, params.fine_mm, FINEST_FINE_MM)
        painted = _spots(painted, field, params.fine_share, FIRST_FINE, FINE_REGIONS)
    return painted


def _spots(painted: Tensor, field: Tensor, share: Tensor, first: int, count: int) -> Tensor:
    """The two tails of a field make spots on either side of its mean, a centre and a border each."""
    size = field.abs()
    edge, core = (per_sample(-torch.special.ndtri(share * (part / 2)), field) for part in (1.0, _CORE))
    kind = above(size, core) + (count // 2) * above(field, 0.0) + first
    return overpaint(painted, kind, above(size, edge))
