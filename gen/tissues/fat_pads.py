"""Fat pads behind the canal: the triangles between the laminae, and the fat around the end of the sac.

They are the brightest objects next to the canal, up to 8 mm thick and one to two centimetres long.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from synthspine.gen.core.anatomy import CANAL
from synthspine.gen.core.counter_rng import SampleRandom
from synthspine.gen.core.feature import Batch, Range, check, check_within
from synthspine.gen.core.filters import WIDEST, smooth_field
from synthspine.gen.core.masks import above, has_code, overpaint, per_sample
from synthspine.gen.geometry.spine_frame import SpineFrame
from synthspine.gen.tissues.palette import EPIDURAL_FAT
from synthspine.gen.tissues.unannotated import unlabelled

FINEST_LENGTH_MM = 5.0
"""Their thickness is drawn on a grid this coarse, so none shorter (nor ``WIDEST`` times as long) can be
asked for."""
_HIGH = 1.5
"""Where the random field is this high, a pad is as thick as drawn; it ends where the field falls to the level
that leaves its share of the rows."""
_LEAST_RISE = 0.5
"""Pads of the least shares, whose level is that high, become no steeper than this."""
_LEAST_SHARE = 1e-4
"""Shares keep this far from 0 and 1, where the level would be infinite."""


@dataclass(frozen=True, kw_only=True, slots=True)
class FatPadsConfig:
    """Fat pads behind the canal and below its end."""

    probability: float = 0.6
    """Probability of fat pads."""
    share: Range = (0.3, 0.9)
    """Share of the canal's length that pads lie behind."""
    thickness_mm: Range = (2.0, 9.0)
    """Thickness of a pad where it is thickest, mm."""
    length_mm: Range = (5.0, 10.0)
    """Correlation length of their thickness along the canal, mm."""

    def __post_init__(self) -> None:
        check(self)
        check_within(
            self,
            share=(0.0, 1.0),
            thickness_mm=(0.0, 30.0),
            length_mm=(FINEST_LENGTH_MM, WIDEST * FINEST_LENGTH_MM),
        )


@dataclass(frozen=True, kw_only=True, slots=True)
class FatPadsParams(Batch):
    """Fat pads of a batch; ``thickness_mm`` is 0 for none."""

    key: Tensor
    share: Tensor
    thickness_mm: Tensor
    length_mm: Tensor


def draw_fat_pads(config: FatPadsConfig, random: SampleRandom) -> FatPadsParams | None:
    """Draw the pads; None if the configuration never has them."""
    if config.probability == 0 or config.thickness_mm[1] == 0:
        return None
    on = random.chance("fat_pads", config.probability)
    return FatPadsParams(
        key=random.key("fat_pads_field"),
        share=random.uniform("fat_pads_share", *config.share),
        thickness_mm=random.uniform("fat_pads_thickness", *config.thickness_mm) * on,
        length_mm=random.uniform("fat_pads_length", *config.length_mm),
    )


def paint_fat_pads(
    painted: Tensor,
    codes: Tensor,
    frame: SpineFrame,
    params: FatPadsParams | None,
    spacing_mm: Sequence[float],
) -> Tensor:
    """Paint the pads over the background (also the sacrum) but over no structure.

    A pad begins at the last pixel of the canal in its row. Below the last row that shows the canal the pads
    lie around its course, on either side. Above the first row, and in slices without canal, there are none.
    """
    if params is None:
        return painted
    thick = _thickness(params, codes, spacing_mm)
    # The last pixel of the canal, (B, *grid[:-1]), and where it is seen no more.
    border = (has_code(codes, CANAL) * frame.behind_mm).amax(-1)
    seen = above(border, 0.0)
    row = torch.arange(1, codes.shape[-2] + 1, device=codes.device)
    end = (seen * row).amax(-1, keepdim=True)
    below = (row > end) * (end > 0)
    # A pad's middle and half of its width; in rows above the canal it has none.
    middle = border + seen * (0.5 * thick + 0.25 * spacing_mm[-1])
    half = seen * (0.5 * thick + 0.25 * spacing_mm[-1]) + below * thick
    pads = above(half.unsqueeze(-1), (frame.behind_mm - middle.unsqueeze(-1)).abs_())
    return overpaint(painted, EPIDURAL_FAT, pads * unlabelled(codes, painted))


def _thickness(params: FatPadsParams, codes: Tensor, spacing_mm: Sequence[float]) -> Tensor:
    """Thickness of the pads, mm, of every row, ``(B, *grid[:-1])``; 0 in all but their share of the rows."""
    length_mm = params.length_mm.unsqueeze(1).expand(-1, len(spacing_mm) - 1)
    field = smooth_field(
        params.key, "fat_pads", codes.shape[1:-1], spacing_mm[:-1], length_mm, FINEST_LENGTH_MM
    )
    level = per_sample(-torch.special.ndtri(params.share.clamp(_LEAST_SHARE, 1 - _LEAST_SHARE)), field)
    rise = ((field - level) / (_HIGH - level).clamp(min=_LEAST_RISE)).clamp(0, 1)
    return rise * per_sample(params.thickness_mm, field)
