"""Spines that disease or surgery has changed: a slipped vertebra, a wedge fracture, a laminectomy.

Slip and fracture move the label map, as a deformation does; a laminectomy makes bone background. Their places
come from the discs below and above a vertebra. Where a map lacks one of these, or the canal, nothing changes.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from synthspine.gen.core.anatomy import BACKGROUND, CANAL, DISC_OFFSET
from synthspine.gen.core.counter_rng import SampleRandom
from synthspine.gen.core.drawing import Feature, showcase
from synthspine.gen.core.feature import Batch, Range, Spacing, within
from synthspine.gen.core.masks import above, has_code, overpaint, per_sample
from synthspine.gen.geometry.spine_frame import SpineFrame, middle_of

SLIP_RANKS, WEDGE_RANKS, OPENED_RANKS = (1, 3), (2, 6), (1, 4)
"""Lowest and highest rank of vertebrae that slip, break, and lose their arches."""
MOST_OPENED = 2
"""A laminectomy takes the arches of at most this many neighbours."""
STEP_MM = 8.0
"""The step of a slip is this high, about the middle of the disc."""
HALF_DISC_MM = 4.5
"""From the middle of a disc to the end plate."""
BODY_DEPTH_MM = 34.0
"""From the front of a vertebral body to its back."""
FADE_MM = 60.0
"""What a fracture moves down in front of it comes to rest over this length above it."""
_LEAST_MM = 10.0
"""Discs closer than this give no direction."""


@dataclass(frozen=True, kw_only=True, slots=True)
class PathologyParams(Batch):
    """Changed vertebrae; 0 where a sample lacks a change."""

    rank: Tensor  # of the vertebra that slips or breaks, ``(B,)``
    slip_mm: Tensor
    wedge: Tensor
    opened_rank: Tensor  # lowest vertebra of the laminectomy, ``(B,)``
    opened: Tensor  # number of vertebrae that lack their posterior elements, ``(B,)``

    def touched(self) -> Tensor:
        """Which samples :func:`open_canal` changes."""
        return self.opened > 0


@dataclass(frozen=True, kw_only=True, slots=True)
class PathologyConfig(Feature[PathologyParams]):
    """A vertebra slipped forward with all above it, a wedge fracture, arches taken out by surgery."""

    slip_probability: float = 0.06
    """Probability that a vertebra has slipped forward on the one below (spondylolisthesis)."""
    slip_mm: Range = (2.0, 10.0)
    """How far, mm."""
    wedge_probability: float = 0.06
    """Probability of a body that is lower in front (wedge fracture)."""
    wedge: Range = (0.15, 0.4)
    """Share of its height that it has lost in front."""
    laminectomy_probability: float = 0.04
    """Probability that posterior elements of one vertebra, or of two neighbours, are missing."""

    bounds = within(slip_mm=(0.0, 30.0), wedge=(0.0, 0.6))
    along_spine = True
    shown = showcase(
        "lowest_disc",
        slip_probability=1.0,
        slip_mm=(9.0, 10.0),
        wedge_probability=0.0,
        laminectomy_probability=1.0,
    )

    def never(self) -> bool:
        """Whether the configuration leaves it out."""
        return self.slip_probability == self.wedge_probability == self.laminectomy_probability == 0

    def sample(self, random: SampleRandom) -> PathologyParams:
        """Draw what has changed. The vertebra that slips is the one that breaks, where both are drawn."""

        def rank(name: str, ends: tuple[int, int]) -> Tensor:
            return (random.integer(name, ends[1] - ends[0] + 1) + ends[0]).float()

        slips = random.chance("slip", self.slip_probability)
        opened = random.chance("laminectomy", self.laminectomy_probability)
        slip_rank, wedge_rank = rank("slip_rank", SLIP_RANKS), rank("wedge_rank", WEDGE_RANKS)
        return PathologyParams(
            rank=torch.where(slips, slip_rank, wedge_rank),
            slip_mm=random.uniform("slip_mm", *self.slip_mm) * slips,
            wedge=random.uniform("wedge", *self.wedge) * random.chance("wedge_on", self.wedge_probability),
            opened_rank=rank("laminectomy_rank", OPENED_RANKS),
            opened=rank("laminectomy_count", (1, MOST_OPENED)) * opened,
        )


def change_shape(
    places: Sequence[Tensor], maps: Tensor, params: PathologyParams | None, spacing_mm: Spacing
) -> list[Tensor]:
    """Where tissue seen at ``places`` comes from when a vertebra has slipped or broken.

    Args:
        places: pixels about the centre of the grid, per axis; all broadcast to ``(B, *nodes)``.
        maps: label maps of the samples, dense codes, uint8 ``(B, *grid)``.
        params: what has changed.
        spacing_mm: grid spacing per axis, mm.

    Returns:
        Pixels like ``places``, bit for bit the same in samples without slip and fracture.
    """
    if params is None:
        return list(places)
    (lower, found), (upper, found_upper), (canal, found_canal) = (
        middle_of(has_code(maps, code), spacing_mm)
        for code in (
            per_sample((params.rank + DISC_OFFSET).to(torch.uint8), maps),
            per_sample((params.rank + DISC_OFFSET + 1).to(torch.uint8), maps),
            CANAL,
        )
    )
    way = upper - lower
    apart = way.square().sum(1).sqrt()
    known = (found & found_upper & found_canal & (apart > _LEAST_MM)).float()
    up = way / apart.clamp(min=_LEAST_MM).unsqueeze(1)
    ahead = torch.stack((-up[:, 1], up[:, 0]), dim=1)
    ahead = ahead * torch.where(((lower - canal) * ahead).sum(1) < 0, -1.0, 1.0).unsqueeze(1)

    def along(direction: Tensor) -> Tensor:
        """Distance from the lower disc in that direction, mm."""
        parts = (
            (place * spacing - per_sample(lower[:, axis], place)) * per_sample(direction[:, axis], place)
            for axis, (place, spacing) in enumerate(zip(places[-2:], spacing_mm[-2:], strict=True))
        )
        return sum(parts, torch.zeros((), device=maps.device))

    height, front = along(up), along(ahead)
    slip = (height * (1 / STEP_MM) + 0.5).clamp(0, 1) * per_sample(params.slip_mm * known, height)
    # A body's lower end plate stays, its upper one sinks in front, and what lies above follows ever less.
    body = (apart - 2 * HALF_DISC_MM).clamp(min=_LEAST_MM - 2 * HALF_DISC_MM)
    lost = (front * (1 / BODY_DEPTH_MM) + 0.5).clamp(0, 1) * per_sample(params.wedge * known * body, height)
    left = per_sample(body, height) - lost
    sink = torch.minimum((height - HALF_DISC_MM) / left, 1 - (height - HALF_DISC_MM - left) * (1 / FADE_MM))
    sink = sink.clamp(0, 1) * lost
    moved = [
        place + (per_sample(up[:, axis], height) * sink - per_sample(ahead[:, axis], height) * slip) / spacing
        for axis, (place, spacing) in enumerate(zip(places[-2:], spacing_mm[-2:], strict=True))
    ]
    return [*places[:-2], *moved]


def open_canal(codes: Tensor, frame: SpineFrame, params: PathologyParams | None) -> Tensor:
    """Make posterior elements background where a laminectomy took them, in slices that show the canal.

    ``codes`` are dense codes, uint8 ``(B, *grid)``, and so is the result.
    """
    if params is None:
        return codes
    rank, count = (
        per_sample(values.to(torch.uint8), codes) for values in (params.opened_rank, params.opened)
    )
    # From the lowest rank on: 0, 1, ...; all other codes are larger.
    taken = (count - torch.minimum(codes - rank, count)).clamp_(max=1) * above(frame.behind_mm, 0.0)
    shows = has_code(codes, CANAL).amax((-2, -1), keepdim=True)
    return overpaint(codes, BACKGROUND, taken * shows)
