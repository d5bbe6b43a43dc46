"""The rim of vertebral bodies that annotations leave out: marrow beyond the label where it faces a disc."""

from dataclasses import dataclass

import torch
from torch import Tensor

from synthspine.gen.core.anatomy import BACKGROUND, MAX_RANK, disc_code
from synthspine.gen.core.counter_rng import SampleRandom
from synthspine.gen.core.drawing import Feature, showcase
from synthspine.gen.core.feature import Batch, Range, Spacing, within
from synthspine.gen.core.masks import (
    at_most,
    between,
    columns_of,
    greatest_near,
    has_code,
    overpaint,
    per_sample,
    with_columns,
)

GREATEST_MM = 2.0
"""Upper bound of the rim's height."""
DISC_MM = 3.0
"""A pixel this near to a disc, along its column, lies between body and disc."""


@dataclass(frozen=True, kw_only=True, slots=True)
class RimParams(Batch):
    """Rims of a batch; ``height_mm`` is 0 for none."""

    height_mm: Tensor

    def touched(self) -> Tensor:
        """Which samples it changes."""
        return self.height_mm > 0


@dataclass(frozen=True, kw_only=True, slots=True)
class RimConfig(Feature[RimParams]):
    """Marrow beyond the label of vertebrae where they face a disc: annotators draw inside of the border."""

    probability: float = 0.8
    """Probability of a rim."""
    height_mm: Range = (0.0, 1.4)
    """Height of the rim, mm; rounded to whole rows, and only as high as the gap up to the disc."""

    bounds = within(height_mm=(0.0, GREATEST_MM))
    hidden_with = ("vertebra", "height_mm")
    shown = showcase("middle_disc", height_mm=(2.0, 2.0))

    def sample(self, random: SampleRandom) -> RimParams:
        """Draw the height of the rim."""
        height = random.uniform("rim_height", *self.height_mm)
        return RimParams(height_mm=height * random.chance("rim", self.probability))


def paint_rim(painted: Tensor, codes: Tensor, params: RimParams | None, spacing_mm: Spacing) -> Tensor:
    """Paint the rim over the background between bodies and discs; codes ``(B, *grid)`` and result uint8."""
    if params is None:
        return painted
    discs = between(codes, disc_code(1), disc_code(MAX_RANK))
    columns = columns_of(discs)
    whole = painted
    painted, codes, discs = (each[..., columns] for each in (painted, codes, discs))
    vertebrae = codes * at_most(codes, MAX_RANK)
    free = has_code(codes, BACKGROUND) * greatest_near(discs, max(1, int(DISC_MM / spacing_mm[-2] + 0.5)))
    rows = (params.height_mm * (1 / spacing_mm[-2]) + 0.5).to(torch.uint8)
    for row in range(1, int(GREATEST_MM / spacing_mm[-2] + 0.5) + 1):
        near = greatest_near(vertebrae, row)
        high = per_sample((rows.clamp(min=row - 1) - (row - 1)).clamp(max=1), codes)
        painted = overpaint(painted, near, free * near.clamp(max=1) * high)
    return with_columns(whole, columns, painted)
