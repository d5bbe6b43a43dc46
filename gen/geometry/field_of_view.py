"""Field of view: what of the anatomy the scan shows."""

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from synthspine.gen.core.anatomy import IGNORE, vertebra_code
from synthspine.gen.core.counter_rng import SampleRandom
from synthspine.gen.core.drawing import Feature, showcase
from synthspine.gen.core.feature import Batch, Range, Spacing, within

LOWEST = vertebra_code(1)
MOST_SHARE = 0.49
"""Two sides together lose less than a whole axis."""


@dataclass(frozen=True, kw_only=True, slots=True)
class FieldOfViewParams(Batch):
    """The sides of the field of view."""

    lost_mm: Tensor  # at head, foot, front and back, 0 for a whole field of view, ``(B, 4)``
    greatest_share: Tensor
    keep_lowest: Tensor  # 1 or 0, ``(B,)``


@dataclass(frozen=True, kw_only=True, slots=True)
class FieldOfViewConfig(Feature[FieldOfViewParams]):
    """A smaller field of view: less is seen in front, behind and at the head end."""

    probability: float = 0.5
    """Probability of a smaller field of view."""
    crop_mm: Range = (0.0, 70.0)
    """What it loses at each of its sides, mm."""
    greatest_share: float = 0.3
    """Greatest share of an axis that is lost at one side, less than half."""
    crop_foot: bool = False
    """Whether the foot end may be lost, too."""
    keep_lowest: bool = True
    """Whether the lowest vertebra always stays in view, whole, where it is: counting starts there."""

    bounds = within(crop_mm=(0.0, math.inf), greatest_share=(0.0, MOST_SHARE))
    shown = showcase(crop_mm=(40.0, 60.0))

    def never(self) -> bool:
        """Whether the configuration leaves it out."""
        return self.probability == 0 or self.crop_mm[1] == 0 or self.greatest_share == 0

    def sample(self, random: SampleRandom) -> FieldOfViewParams:
        """Draw the field of view."""
        on = random.chance("view", self.probability).float()
        lost_mm = random.uniform("view_lost", *self.crop_mm, shape=(4,)) * on.unsqueeze(1)
        head, foot, front, back = lost_mm.unbind(1)
        return FieldOfViewParams(
            lost_mm=torch.stack((head, foot * float(self.crop_foot), front, back), dim=1),
            greatest_share=torch.full_like(on, self.greatest_share),
            keep_lowest=torch.full_like(on, float(self.keep_lowest)),
        )


def limit_view(codes: Tensor, params: FieldOfViewParams | None, spacing_mm: Spacing) -> Tensor:
    """Set the dense codes, uint8 ``(B, *grid)``, outside the field of view to 255."""
    if params is None:
        return codes
    # 0 at the lowest vertebra: the minimum of bytes is faster than any().
    other = codes ^ LOWEST
    if codes.dim() == 4:
        other = other.amin(1)
    rows = _unseen(params, 0, other.amin(-1) == 0, spacing_mm[-2])
    columns = _unseen(params, 2, other.amin(-2) == 0, spacing_mm[-1])
    slices = [1] * (codes.dim() - 3)
    rows, columns = rows.view(len(codes), *slices, -1, 1), columns.view(len(codes), *slices, 1, -1)
    return codes | rows | columns


def _unseen(params: FieldOfViewParams, side: int, lowest: Tensor, spacing_mm: float) -> Tensor:
    """255 where all of a pixel of an axis lies outside the field of view, else 0, uint8 ``(B, n)``.

    The axis starts with column ``side`` of ``lost_mm`` and ends with the next; ``lowest``, bool ``(B, n)``,
    is where the lowest vertebra is.
    """
    count = lowest.shape[1]
    edges_mm = torch.arange(count + 1, dtype=torch.float32, device=lowest.device) * spacing_mm
    before_mm, past_mm = edges_mm[:-1], edges_mm[1:]
    kept = lowest & (params.keep_lowest.unsqueeze(1) > 0)
    unseen = torch.zeros_like(lowest)
    for end in (side, side + 1):
        lost_mm = torch.minimum(params.lost_mm[:, end], params.greatest_share * (count * spacing_mm))
        lost_mm = torch.minimum(lost_mm, torch.where(kept, before_mm, math.inf).amin(1))
        unseen = unseen | (past_mm <= lost_mm.unsqueeze(1))
        before_mm, past_mm = before_mm.flip(0), past_mm.flip(0)
    return unseen.to(torch.uint8) * IGNORE
