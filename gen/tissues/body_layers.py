"""Body layers that follow the spine: muscle, fat and air behind it; vessel and air in front of it.

Distances are measured along the rows of the picture from the middle of the canal, so the layers follow the
curve of the back.
"""

from dataclasses import dataclass

import torch
from torch import Tensor

from synthspine.gen.core.counter_rng import SampleRandom
from synthspine.gen.core.drawing import Feature, showcase
from synthspine.gen.core.feature import Batch, Range, Spacing, within
from synthspine.gen.core.filters import WIDEST, smooth_field
from synthspine.gen.core.masks import above, overpaint, per_sample
from synthspine.gen.geometry.spine_frame import NEVER_MM, SpineFrame
from synthspine.gen.tissues.palette import AIR, FAT, MUSCLE, MUSCLE_FAT, VESSEL

FINEST_WAVE_MM = 12.0
FINEST_STRAND_MM = 4.0
"""Least correlation lengths: random fields are drawn on grids this coarse."""


@dataclass(frozen=True, kw_only=True, slots=True)
class BodyLayersParams(Batch):
    """Body layers of a batch."""

    key: Tensor
    muscle_mm: Tensor  # beginning and end of the posterior muscle, ``(B, 2)``
    strand_mm: Tensor
    strand_share: Tensor
    gap_share: Tensor
    fat_mm: Tensor
    front_mm: Tensor
    uneven_mm: Tensor
    wave_mm: Tensor
    vessel_mm: Tensor  # nearest and farthest point of the vessel before the canal's centre, ``(B, 2)``

    def touched(self) -> Tensor:
        """Which samples it changes."""
        return self.front_mm < NEVER_MM


@dataclass(frozen=True, kw_only=True, slots=True)
class BodyLayersConfig(Feature[BodyLayersParams]):
    """Layers of the body behind and in front of the spine."""

    probability: float = 0.85
    """Probability of body layers."""
    muscle_start_mm: Range = (6.0, 6.0)
    """From the canal's centre to the beginning of the posterior muscle, mm."""
    muscle_mm: Range = (25.0, 60.0)
    """From the canal's centre to the end of the posterior muscle, mm."""
    strand_mm: Range = (5.0, 12.0)
    """Size of the strands of fat in the muscle (standard deviation of their kernel), mm."""
    strand_share: Range = (0.21, 0.21)
    """Share of the muscle that is strands of fat."""
    gap_share: Range = (0.115, 0.115)
    """Share of the muscle where the random background shows through."""
    fat_mm: Range = (3.0, 40.0)
    """Thickness of the fat under the skin behind, mm; air follows."""
    front_mm: Range = (70.0, 190.0)
    """From the canal's centre to the skin in front, mm."""
    uneven_mm: Range = (4.0, 4.0)
    """Standard deviation of the waves of these borders, mm."""
    wave_mm: Range = (14.0, 40.0)
    """Size of these waves (standard deviation of their kernel), mm."""
    vessel_probability: float = 0.5
    """Of pictures with layers, share that shows a vessel in front of the vertebral bodies."""
    vessel_near_mm: Range = (40.0, 58.0)
    """From the canal's centre to the vessel, mm."""
    vessel_width_mm: Range = (8.0, 24.0)
    """Width of the vessel, mm."""

    bounds = within(
        "strand_share",
        "gap_share",
        strand_mm=(FINEST_STRAND_MM, WIDEST * FINEST_STRAND_MM),
        wave_mm=(FINEST_WAVE_MM, WIDEST * FINEST_WAVE_MM),
        uneven_mm=(0.0, NEVER_MM / 100),
    )
    along_spine = True
    shown = showcase(vessel_probability=1.0)

    def sample(self, random: SampleRandom) -> BodyLayersParams:
        """Draw the layers of every sample."""
        on = random.chance("layers", self.probability)
        vessel = random.chance("layers_vessel", self.vessel_probability) & on
        muscle = torch.stack(
            (
                random.uniform("layers_muscle_start", *self.muscle_start_mm),
                random.uniform("layers_muscle", *self.muscle_mm),
            ),
            dim=1,
        )
        near = random.uniform("layers_vessel_near", *self.vessel_near_mm)
        far = near + random.uniform("layers_vessel_width", *self.vessel_width_mm)
        return BodyLayersParams(
            key=random.key("layers_key"),
            muscle_mm=torch.where(on.unsqueeze(1), muscle, NEVER_MM),
            strand_mm=random.uniform("layers_strand_mm", *self.strand_mm),
            strand_share=random.uniform("layers_strand", *self.strand_share),
            gap_share=random.uniform("layers_gap", *self.gap_share),
            fat_mm=random.uniform("layers_fat", *self.fat_mm),
            front_mm=torch.where(on, random.uniform("layers_front", *self.front_mm), NEVER_MM),
            uneven_mm=random.uniform("layers_uneven", *self.uneven_mm),
            wave_mm=random.uniform("layers_wave_mm", *self.wave_mm),
            vessel_mm=torch.where(vessel.unsqueeze(1), torch.stack((near, far), dim=1), NEVER_MM),
        )


def paint_body_layers(
    painted: Tensor, params: BodyLayersParams | None, frame: SpineFrame, spacing_mm: Spacing
) -> Tensor:
    """Paint the layers over the background."""
    if params is None:
        return painted

    def field(name: str, size_mm: Tensor, smallest_mm: float) -> Tensor:
        return smooth_field(params.key, name, painted.shape[1:], spacing_mm, size_mm, smallest_mm)

    def each(values: Tensor) -> Tensor:
        return per_sample(values, painted)

    wave = field("wave", params.wave_mm, FINEST_WAVE_MM) * each(params.uneven_mm)
    strands = field("strands", params.strand_mm, FINEST_STRAND_MM)
    behind = frame.behind_mm - wave
    start, end = params.muscle_mm.unbind(1)
    near, far = params.vessel_mm.unbind(1)

    flesh = above(frame.behind_mm, each(start))
    gap, strand = torch.special.ndtri(params.gap_share), -torch.special.ndtri(params.strand_share)
    painted = overpaint(painted, MUSCLE, flesh * above(strands, each(gap)))
    painted = overpaint(painted, MUSCLE_FAT, flesh * above(strands, each(strand)))
    painted = overpaint(painted, FAT, above(behind, each(end)))
    painted = overpaint(painted, VESSEL, above(each(-near), behind) * above(behind, each(-far)))
    air = above(behind, each(end + params.fat_mm)) | above(each(-params.front_mm), behind)
    return overpaint(painted, AIR, air)
