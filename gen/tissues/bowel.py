"""Bowel-like loops with a wall, content and gas, in front of the spine near its ends.

A smooth random field is lowered with the distance from the middle of a window and cut at a level: what
exceeds it are loops, with their wall along the border. Gas collects in the front of a loop, which is up in a
supine patient: where the field still rises from front to back.
"""

from dataclasses import dataclass

import torch
from torch import Tensor

from synthspine.gen.core.counter_rng import SampleRandom
from synthspine.gen.core.drawing import Feature, showcase
from synthspine.gen.core.feature import Batch, Range, Spacing, within
from synthspine.gen.core.filters import WIDEST, smooth_field
from synthspine.gen.core.masks import above, has_code, overpaint, per_sample
from synthspine.gen.geometry.spine_frame import NEVER_MM, SpineFrame
from synthspine.gen.tissues.palette import AIR, BOWEL_CONTENT, BOWEL_GAS, BOWEL_WALL

FINEST_LOOP_MM = 4.0
"""Least size of loops: their random field is drawn on a grid this coarse."""
_FALL = 2.0
"""By how many standard deviations the field is lowered at the border of a window: few loops reach it."""
_MEAN_SLOPE = 0.886
"""Mean length of the gradient of a field of correlation length 1: Rayleigh, sqrt(pi / 2) / sqrt(2)."""


@dataclass(frozen=True, kw_only=True, slots=True)
class BowelParams(Batch):
    """Loops of a batch."""

    key: Tensor
    middle_mm: Tensor  # from the uppermost and the lowest labelled row down to the loops' middle, ``(B, 2)``
    front_mm: Tensor
    half_mm: Tensor  # half the height and half the width of the window, ``(B, 2)``
    loop_mm: Tensor
    share: Tensor
    wall_mm: Tensor
    gas_share: Tensor

    def touched(self) -> Tensor:
        """Which samples it changes."""
        return self.middle_mm[:, 1] < NEVER_MM


@dataclass(frozen=True, kw_only=True, slots=True)
class BowelConfig(Feature[BowelParams]):
    """Bowel-like loops in front of the spine near its ends."""

    probability: float = 0.5
    """Probability of loops at the lower end, in front of the lowest vertebra and the sacrum."""
    head_probability: float = 0.4
    """Of these pictures, share that shows loops in front of the upper end as well."""
    foot_mm: Range = (-40.0, 45.0)
    """From the lowest labelled row down to the middle of the loops, mm."""
    head_mm: Range = (-10.0, 50.0)
    """From the uppermost labelled row down to the middle of the loops there, mm."""
    front_mm: Range = (55.0, 110.0)
    """From the canal's centre forward to the middle of the loops, mm."""
    height_mm: Range = (25.0, 65.0)
    """Half the height of the window that holds them, mm."""
    width_mm: Range = (25.0, 55.0)
    """Half its width, mm."""
    loop_mm: Range = (5.0, 11.0)
    """Size of the loops (standard deviation of their kernel; they are about 4 times as thick), mm."""
    share: Range = (0.6, 0.95)
    """Share of the middle of the window that loops fill."""
    wall_mm: Range = (1.0, 3.0)
    """Mean thickness of their wall, mm."""
    gas_share: Range = (0.0, 0.35)
    """Share of their inside that is gas."""

    bounds = within(
        "gas_share",
        height_mm=(1.0, NEVER_MM / 10),
        width_mm=(1.0, NEVER_MM / 10),
        loop_mm=(FINEST_LOOP_MM, WIDEST * FINEST_LOOP_MM),
        share=(0.0, 0.99),
        wall_mm=(0.0, NEVER_MM),
    )
    along_spine = True
    shown = showcase(head_probability=1.0, gas_share=(0.2, 0.2))

    def sample(self, random: SampleRandom) -> BowelParams:
        """Draw the loops of every sample."""
        foot = random.chance("bowel", self.probability)
        head = random.chance("bowel_head", self.head_probability) & foot
        middle = (
            torch.where(head, random.uniform("bowel_head_mm", *self.head_mm), NEVER_MM),
            torch.where(foot, random.uniform("bowel_foot_mm", *self.foot_mm), NEVER_MM),
        )
        half = (
            random.uniform("bowel_height", *self.height_mm),
            random.uniform("bowel_width", *self.width_mm),
        )
        return BowelParams(
            key=random.key("bowel_key"),
            middle_mm=torch.stack(middle, dim=1),
            front_mm=random.uniform("bowel_front", *self.front_mm),
            half_mm=torch.stack(half, dim=1),
            loop_mm=random.uniform("bowel_loop", *self.loop_mm),
            share=random.uniform("bowel_share", *self.share),
            wall_mm=random.uniform("bowel_wall", *self.wall_mm),
            gas_share=random.uniform("bowel_gas", *self.gas_share),
        )


def paint_bowel(
    painted: Tensor, params: BowelParams | None, frame: SpineFrame, spacing_mm: Spacing
) -> Tensor:
    """Paint loops over background and layers, but not over air."""
    if params is None:
        return painted
    field = smooth_field(params.key, "loops", painted.shape[1:], spacing_mm, params.loop_mm, FINEST_LOOP_MM)
    # The slope of such a field is normal, of this deviation, and independent of its value at the point.
    ahead = torch.cat((field[..., :1], field[..., :-1]), dim=-1)
    slope = (field - ahead) * per_sample(params.loop_mm * (2**0.5 / spacing_mm[-1]), field)

    # The field is lowered by the squared distance from the middle of the nearer window.
    height, width = params.half_mm.unbind(1)
    ends = torch.stack((frame.head_mm, frame.foot_mm), dim=1) + params.middle_mm
    down = (frame.rows_mm - ends.unsqueeze(2)).square().amin(1) / height.square().unsqueeze(1)
    down = down.view(len(field), *[1] * (field.dim() - 3), -1, 1)
    forward = (frame.behind_mm + per_sample(params.front_mm, field)) / per_sample(width, field)
    level = torch.addcmul(field - _FALL * down, forward, forward, value=-_FALL)

    least = -torch.special.ndtri(params.share)
    inner = least + params.wall_mm * _MEAN_SLOPE / params.loop_mm
    loop = above(level, per_sample(least, field)) * (has_code(painted, AIR) ^ 1)
    inside = loop * above(level, per_sample(inner, field))
    gas = inside * above(slope, per_sample(-torch.special.ndtri(params.gas_share), field))
    painted = overpaint(painted, BOWEL_WALL, loop)
    painted = overpaint(painted, BOWEL_CONTENT, inside)
    return overpaint(painted, BOWEL_GAS, gas)
