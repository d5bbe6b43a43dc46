"""Fat in front of vertebral bodies. It ends at discs, to which the ligament before the spine holds fast."""

from dataclasses import dataclass

import torch
from torch import Tensor

from synthspine.gen.core.anatomy import MAX_RANK, STRUCTURES, vertebra_code
from synthspine.gen.core.counter_rng import SampleRandom
from synthspine.gen.core.drawing import Feature, showcase
from synthspine.gen.core.feature import Batch, Range, Spacing, within
from synthspine.gen.core.masks import above, between, overpaint, per_sample
from synthspine.gen.geometry.spine_frame import BODY_TO_CANAL_MM, NEVER_MM, SpineFrame
from synthspine.gen.tissues.palette import FAT, SACRAL_DISC, SACRUM
from synthspine.gen.tissues.unannotated import unlabelled

ATTACHED_MM = 1.5
"""No fat lies this near to a disc."""
RISE_MM = 2.0
"""Over this distance from there the fat becomes as thick as drawn."""


@dataclass(frozen=True, kw_only=True, slots=True)
class FrontFatParams(Batch):
    """Fat in front of the bodies of a batch; ``thickness_mm`` is 0 for none."""

    thickness_mm: Tensor

    def touched(self) -> Tensor:
        """Which samples it changes."""
        return self.thickness_mm > 0


@dataclass(frozen=True, kw_only=True, slots=True)
class FrontFatConfig(Feature[FrontFatParams]):
    """Fat in front of vertebral bodies, thinner towards discs."""

    probability: float = 0.75
    """Probability of fat there."""
    thickness_mm: Range = (2.0, 7.0)
    """Thickness in front of the middle of a body, mm."""

    bounds = within(thickness_mm=(0.0, 40.0))
    along_spine = near_borders = True
    hidden_with = ("vertebra", "thickness_mm")
    shown = showcase("middle_disc", thickness_mm=(7.0, 7.0))

    def sample(self, random: SampleRandom) -> FrontFatParams:
        """Draw the thickness of the fat."""
        thickness = random.uniform("front_fat_thickness", *self.thickness_mm)
        return FrontFatParams(thickness_mm=thickness * random.chance("front_fat", self.probability))


def paint_front_fat(
    painted: Tensor,
    codes: Tensor,
    depth_mm: Tensor,
    frame: SpineFrame,
    params: FrontFatParams | None,
    spacing_mm: Spacing,
) -> Tensor:
    """Paint the fat over the background, in rows that show a body, before its first pixel.

    ``painted``, ``codes`` and the result are uint8 ``(B, *grid)``; ``depth_mm`` comes from
    ``gen.intensity.cortex.depths``.
    """
    if params is None:
        return painted
    behind = frame.behind_mm
    bodies = between(codes, vertebra_code(1), vertebra_code(MAX_RANK)) * above(-behind, BODY_TO_CANAL_MM)
    front = torch.where(bodies > 0, behind, NEVER_MM).amin(-1, keepdim=True)
    free = unlabelled(codes, painted) * (1 - between(painted, SACRUM, SACRAL_DISC)) * above(front, behind)
    disc = depth_mm[:, STRUCTURES.index("disc")]
    rise = ((disc + ATTACHED_MM) * (-1 / RISE_MM)).clamp_(0, 1)
    reach = per_sample(params.thickness_mm, rise) * rise + spacing_mm[-1] / 2
    return overpaint(painted, FAT, free * above(behind + reach, front))
