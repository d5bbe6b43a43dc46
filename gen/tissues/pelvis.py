"""Below the lowest vertebra: the sacrum, and the floor where the body or the range of the coil ends.

Where label maps do not annotate it, the sacrum is made of tapering repeats of the lowest vertebral body, each
turned further backwards and fused with the next at a rudimentary disc. The sacral canal behind them is
unlabelled and filled with fat: in the masks of SPIDER the canal ends with the dural sac, near the first of
these discs.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from kornia.geometry.conversions import angle_to_rotation_matrix
from torch import Tensor
from torch.nn import functional

from synthspine.gen.core import anatomy
from synthspine.gen.core.anatomy import CANAL, vertebra_code
from synthspine.gen.core.counter_rng import SampleRandom
from synthspine.gen.core.drawing import Feature, showcase
from synthspine.gen.core.feature import Batch, Range, Spacing, within
from synthspine.gen.core.masks import above, between, columns_of, has_code, overpaint, per_sample
from synthspine.gen.geometry.spine_frame import BEFORE_CANAL_MM, NEVER_MM, SpineFrame
from synthspine.gen.tissues.palette import AIR, EPIDURAL_FAT, FAT, SACRAL_DISC, SACRUM

SEGMENTS = 5
"""Most segments: as many as a sacrum has. With fewer, a real S1 could have as many segments below it as a
rendered L5 has, and be taken for one."""
END_PLATE = 0.72
"""Where a vertebral body ends, as a share of the way from its middle to that of the disc: it is stretched
until the bones meet."""
DISC_HALF = 0.28
"""Half the thickness of a disc, as a share of that way."""
_LEAST_SCALE = 0.1
"""A tapering body keeps at least this share of its size."""
_LEAST_LENS = 0.02
"""A lens is no thinner and no narrower than this share of the way; this avoids a division by 0."""


@dataclass(frozen=True, kw_only=True, slots=True)
class SacrumParams(Batch):
    """Sacrum of a batch; ``(B, 5)`` for the segments, but ``(B,)`` for ``canal``."""

    turn_deg: Tensor  # against the segment above
    scale: Tensor  # size against the lowest vertebra, 0 for an absent segment
    taper: Tensor  # width of the lower end against the upper end
    disc_thickness: Tensor
    disc_width: Tensor
    disc_place: Tensor  # middle of a disc, from -1 (front) to 1 (back) of the room left
    canal: Tensor  # 1 with a sacral canal

    def touched(self) -> Tensor:
        """Which samples it changes."""
        return self.scale[:, 0] > 0


@dataclass(frozen=True, kw_only=True, slots=True)
class SacrumConfig(Feature[SacrumParams]):
    """Unlabelled repeats of the lowest vertebra's body, 1 to 5 of them."""

    probability: float = 0.85
    """Probability of a sacrum."""
    turn_deg: Range = (5.0, 28.0)
    """Turn of every segment against the one above, backwards, degrees."""
    shrink: Range = (0.70, 0.95)
    """Size of every segment against the one above."""
    taper: Range = (0.5, 1.0)
    """Width of a segment at its lower end, against its upper end, which is as wide as what lies above it."""
    disc_thickness: Range = (0.1, 0.6)
    """Thickness of the rest of a disc, against a lumbar disc that shrinks as the bone does."""
    disc_width: Range = (0.25, 1.1)
    """Width of the rest of a disc, against the bone there."""
    canal_probability: float = 0.7
    """Probability that a sacrum has a sacral canal with fat in it."""

    bounds = within(
        "disc_thickness", turn_deg=(-60.0, 60.0), shrink=(0.5, 1.5), taper=(0.3, 1.5), disc_width=(0.0, 2.0)
    )
    along_spine = True
    shown = showcase("lowest_disc", turn_deg=(12.0, 16.0), shrink=(0.8, 0.85))

    def sample(self, random: SampleRandom) -> SacrumParams:
        """Draw the sacrum of every sample."""
        each = (SEGMENTS,)
        on = random.chance("sacrum", self.probability).unsqueeze(1)
        last = random.integer("sacrum_segments", SEGMENTS).unsqueeze(1)
        segments = torch.arange(SEGMENTS, device=last.device) <= last
        scale = random.uniform("sacrum_shrink", *self.shrink, shape=each).cumprod(1)
        return SacrumParams(
            turn_deg=random.uniform("sacrum_turn", *self.turn_deg, shape=each),
            scale=scale * (on & segments),
            taper=random.uniform("sacrum_taper", *self.taper, shape=each),
            disc_thickness=random.uniform("sacrum_disc", *self.disc_thickness, shape=each),
            disc_width=random.uniform("sacrum_disc_width", *self.disc_width, shape=each),
            disc_place=random.uniform("sacrum_disc_place", -1.0, 1.0, shape=each),
            canal=random.chance("sacrum_canal", self.canal_probability).float(),
        )


def paint_sacrum(
    painted: Tensor, params: SacrumParams | None, codes: Tensor, frame: SpineFrame, spacing_mm: Spacing
) -> Tensor:
    """Paint the sacrum over background, layers and bowel, but none where the sacrum is annotated.

    A segment is one look-up of the lowest vertebra's body and canal, stretched until it meets the next; the
    rudimentary disc is an ellipse at its lower end. All slices of a volume move alike.
    """
    if params is None:
        return painted
    fat = per_sample((params.canal * EPIDURAL_FAT).to(torch.uint8), codes)
    # A sacrum has no spinous processes like those of the vertebrae above it: of the bone the body alone.
    body = has_code(codes, vertebra_code(1)) * above(-frame.behind_mm, BEFORE_CANAL_MM)
    parts = body * SACRUM + has_code(codes, CANAL) * fat
    parts = parts.reshape(len(codes), -1, *codes.shape[-2:])
    # 0 at the annotated sacrum: the minimum of bytes is faster than any().
    shown = frame.has_lowest & ((codes ^ anatomy.SACRUM).flatten(1).amin(1) > 0)
    row, column = _window(parts.amax(1), frame, params, shown, spacing_mm)
    plane = (len(codes), row.shape[1], column.shape[1])
    index = torch.zeros(plane, dtype=torch.int32, device=codes.device)
    lenses = torch.zeros(plane, dtype=torch.bool, device=codes.device)
    for segment, (middle, angle_deg, scale, width) in enumerate(_placed(frame, params, shown)):
        positions = frame.rows_mm[row], frame.columns_mm[column]
        place = _Segment(frame, positions, middle, angle_deg, scale, width)
        index = torch.where(place.inside, place.look_from(params.taper[:, segment], spacing_mm), index)
        lenses |= place.lens(params, segment)
    # Positions outside the grid are looked up in a margin of zeros.
    source = functional.pad(parts, (1, 1, 1, 1)).flatten(2)
    found = source.gather(2, index.flatten(1).long().unsqueeze(1).expand(-1, source.shape[1], -1))
    lens = lenses.to(torch.uint8).flatten(1).unsqueeze(1)
    found = overpaint(found, SACRAL_DISC, lens * has_code(found, SACRUM))
    flat = (row.unsqueeze(2) * codes.shape[-1] + column.unsqueeze(1)).flatten(1).unsqueeze(1).expand_as(found)
    planes = painted.reshape(len(codes), -1, codes.shape[-2] * codes.shape[-1])
    over = overpaint(planes.gather(2, flat), found, found.clamp(max=1))
    return planes.scatter(2, flat, over).reshape(painted.shape)


def _placed(
    frame: SpineFrame, params: SacrumParams, shown: Tensor
) -> Iterator[tuple[Tensor, Tensor, Tensor, Tensor]]:
    """Middle ``(B, 2)``, angle, scale and width at the upper end, ``(B,)``, of every segment."""
    angle_deg, width = torch.zeros_like(params.canal), torch.ones_like(params.canal)
    middle = frame.body_mm + frame.step_mm
    for segment in range(SEGMENTS):
        angle_deg = angle_deg + params.turn_deg[:, segment]
        scale = params.scale[:, segment] * shown
        step = turn(frame.step_mm, angle_deg) * scale.clamp(min=_LEAST_SCALE).unsqueeze(1)
        yield middle + step, angle_deg, scale, width
        middle, width = middle + 2 * step, width * params.taper[:, segment]


def _window(
    parts: Tensor, frame: SpineFrame, params: SacrumParams, shown: Tensor, spacing_mm: Spacing
) -> tuple[Tensor, Tensor]:
    """Rows ``(B, h)`` and columns ``(B, w)`` of a window that holds all that can be painted, int64.

    It is the whole plane in compiled code, and on a GPU, where its size would have to be waited for.
    ``parts`` is not 0 where there is something to look up, ``(B, H, W)``.
    """
    counts = parts.shape[-2:]
    if parts.device.type != "cpu" or torch.compiler.is_compiling():
        rows, columns = (torch.arange(n, device=parts.device).expand(len(parts), n) for n in counts)
        return rows, columns
    # How far the parts reach to either side of the lowest vertebra's axis, in lengths of its step.
    pixel = torch.tensor(spacing_mm[-2:])
    squared = frame.step_mm.square().sum(1, keepdim=True).clamp(min=1e-6)
    margin = pixel.amax() / squared.sqrt()
    side = torch.stack((-frame.step_mm[:, 1], frame.step_mm[:, 0]), dim=1)
    own = columns_of(parts)
    parts = parts[..., own]
    down, back = frame.rows_mm - frame.body_mm[:, :1], frame.columns_mm[own] - frame.body_mm[:, 1:]

    def coordinate(axis: Tensor) -> Tensor:
        axis = axis / squared
        return (down * axis[:, :1]).unsqueeze(2) + (back * axis[:, 1:]).unsqueeze(1)

    near = above(END_PLATE + margin.unsqueeze(2), coordinate(frame.step_mm).abs_()) * parts.clamp(max=1)
    across = coordinate(side).mul_(near).flatten(1)
    ends = torch.stack((across.amin(1).clamp(max=0), across.amax(1).clamp(min=0)), dim=1)
    ends = ends * params.taper.amax(1, keepdim=True).clamp(min=1) + torch.tensor([-1.0, 1.0]) * margin
    corners = []
    for middle, angle_deg, scale, width in _placed(frame, params, shown):
        step, beside = (turn(each, angle_deg) for each in (frame.step_mm, side))
        for along in (-1, 1):
            for end in ends.unbind(1):
                corner = middle + along * scale.unsqueeze(1) * step + (end * width).unsqueeze(1) * beside
                corners.append(torch.where((scale > 0).unsqueeze(1), corner, middle))
    reach = torch.stack(corners) / pixel + (torch.tensor(counts) - 1) / 2
    low, high = reach.amin(0) - 2, reach.amax(0) + 2
    axes = []
    for axis, count in enumerate(counts):
        first, last = low[:, axis].clamp(0, count - 1).floor(), high[:, axis].clamp(0, count - 1).ceil()
        size = int(torch.where(shown, last - first, 0).amax()) + 1
        axes.append(first.clamp(max=count - size).long().unsqueeze(1) + torch.arange(size))
    return axes[0], axes[1]


def paint_annotated_sacrum(painted: Tensor, codes: Tensor) -> Tensor:
    """Give the annotated sacrum, whose dense code is still in ``painted``, the tissue of the sacrum."""
    return torch.add(painted, has_code(codes, anatomy.SACRUM), alpha=SACRUM - anatomy.SACRUM)


def painted_sacrum(painted: Tensor) -> Tensor:
    """1 where the sacrum or one of its discs is painted, else 0: uint8, the shape of ``painted``."""
    return between(painted, *sorted((SACRUM, SACRAL_DISC)))


def turn(vector: Tensor, angle_deg: Tensor) -> Tensor:
    """Rotate (row, column) vectors from down towards back; vectors ``(B, 2)``, angles in degrees ``(B,)``."""
    return (angle_to_rotation_matrix(-angle_deg) @ vector.unsqueeze(2)).squeeze(2)


class _Segment:
    """Coordinates of a segment along and across its axis, in distances from a body's middle to a disc's.

    ``positions_mm`` are those of rows ``(B, H)`` and columns ``(B, W)``. The middle of its body goes to
    ``middle_mm`` ``(B, 2)``; turn, size (0 for an absent segment) and width of its upper end against the
    lowest vertebra are ``(B,)``.
    """

    def __init__(
        self,
        frame: SpineFrame,
        positions_mm: tuple[Tensor, Tensor],
        middle_mm: Tensor,
        angle_deg: Tensor,
        scale: Tensor,
        width: Tensor,
    ) -> None:
        self._frame = frame
        self._shown = (scale > 0).unsqueeze(1)
        size = scale.clamp(min=_LEAST_SCALE).unsqueeze(1)
        angle = torch.deg2rad(angle_deg)
        # Absent segments have zero coordinates; this avoids overflow.
        cosine, sine = (
            torch.where(self._shown, part(angle).unsqueeze(1) / size, 0.0) for part in (torch.cos, torch.sin)
        )
        down = positions_mm[0] - middle_mm[:, :1]
        back = positions_mm[1] - middle_mm[:, 1:]
        step_row, step_column = frame.step_mm.unsqueeze(2).unbind(1)
        squared = (step_row.square() + step_column.square()).clamp(min=1e-6)
        # From the middle of the body, mm of the source: one part for the rows, one for the columns.
        row = (down * cosine, back * sine)
        column = (-down * sine, back * cosine)
        self._along = [(r * step_row + c * step_column) / squared for r, c in zip(row, column, strict=True)]
        narrow = (size / width.unsqueeze(1)) / squared
        self._across = [(c * step_row - r * step_column) * narrow for r, c in zip(row, column, strict=True)]
        self.along = self._along[0].unsqueeze(2) + self._along[1].unsqueeze(1)
        self.across = self._across[0].unsqueeze(2) + self._across[1].unsqueeze(1)
        self.inside = (self.along.abs() <= 1) & self._shown.unsqueeze(2)

    def look_from(self, taper: Tensor, spacing_mm: Spacing) -> Tensor:
        """Index of every pixel's source in the padded plane, int32 ``(B, H, W)``; ``taper`` is ``(B,)``."""
        frame = self._frame
        rows, columns = len(frame.rows_mm), len(frame.columns_mm)
        step_row, step_column = frame.step_mm.unsqueeze(2).unbind(1)
        # The way across grows from 1 at the upper end to 1 / taper at the lower: half of what it gains is
        # the same everywhere, the rest goes with the place along the axis.
        gain = 0.5 * (1 / taper - 1)
        aside = (self.along * self.across).mul_(gain.view(-1, 1, 1))

        def index(middle: Tensor, along: Tensor, across: Tensor, spacing: float, count: int) -> Tensor:
            # 1.5: the margin, and half a pixel so that cutting off decimals rounds.
            first, second = (
                (END_PLATE * way * along + side * across * (1 + gain.unsqueeze(1))) / spacing
                for way, side in zip(self._along, self._across, strict=True)
            )
            first = first + (middle / spacing + ((count - 1) / 2 + 1.5))
            place = torch.addcmul(
                first.unsqueeze(2) + second.unsqueeze(1), aside, (across / spacing).unsqueeze(2)
            )
            return place.clamp_(0, count + 1).int()

        row = index(frame.body_mm[:, :1], step_row, -step_column, spacing_mm[-2], rows)
        column = index(frame.body_mm[:, 1:], step_column, step_row, spacing_mm[-1], columns)
        return torch.add(column, row, alpha=columns + 2)

    def lens(self, params: SacrumParams, segment: int) -> Tensor:
        """Where the rudimentary disc at the lower end lies, bool ``(B, H, W)``."""
        bone = params.taper[:, segment]
        wide = (params.disc_width[:, segment] * bone).clamp(min=_LEAST_LENS)
        thick = (params.disc_thickness[:, segment] * DISC_HALF).clamp(min=_LEAST_LENS)
        offset = params.disc_place[:, segment] * (bone - wide).clamp(min=0)
        parts = []
        for (first, second), middle, reach in (
            (self._along, torch.ones_like(thick), thick),
            (self._across, offset, wide),
        ):
            reach, middle = reach.unsqueeze(1), middle.unsqueeze(1)
            parts.append((((first - middle) / reach).unsqueeze(2) + (second / reach).unsqueeze(1)).square_())
        return (parts[0].add_(parts[1]) < 1) & self._shown.unsqueeze(2)


@dataclass(frozen=True, kw_only=True, slots=True)
class FloorParams(Batch):
    """Floor of a batch: ``slope`` is its fall to the back, mm per mm; ``fat`` is 1 for fat and 0 for air."""

    below_mm: Tensor
    slope: Tensor
    fat: Tensor

    def touched(self) -> Tensor:
        """Which samples it changes."""
        return self.below_mm < NEVER_MM


@dataclass(frozen=True, kw_only=True, slots=True)
class FloorConfig(Feature[FloorParams]):
    """An end of the body, or of the range of the coil, below the spine."""

    probability: float = 0.15
    """Probability of a floor."""
    below_mm: Range = (10.0, 70.0)
    """From the lowest row that shows a vertebra or a disc down to the floor, mm."""
    tilt_deg: Range = (-12.0, 12.0)
    """Its tilt against the rows of the picture, downwards to the back, degrees."""
    fat_probability: float = 0.3
    """Of these pictures, share that shows fat below, as of the buttocks, instead of air."""

    bounds = within(tilt_deg=(-45.0, 45.0))
    along_spine = True
    shown = showcase(below_mm=(10.0, 10.0), fat_probability=0.0)

    def sample(self, random: SampleRandom) -> FloorParams:
        """Draw the floor of every sample."""
        on = random.chance("floor", self.probability)
        return FloorParams(
            below_mm=torch.where(on, random.uniform("floor_below", *self.below_mm), NEVER_MM),
            slope=torch.tan(torch.deg2rad(random.uniform("floor_tilt", *self.tilt_deg))),
            fat=random.chance("floor_fat", self.fat_probability).float(),
        )


def paint_floor(
    painted: Tensor, params: FloorParams | None, frame: SpineFrame, spacing_mm: Spacing
) -> Tensor:
    """Paint the floor over everything unlabelled."""
    if params is None:
        return painted
    end = (frame.foot_mm + params.below_mm).view(-1, 1, 1)
    depth = frame.rows_mm.unsqueeze(1) - params.slope.view(-1, 1, 1) * frame.columns_mm
    below = above(depth, end)
    if painted.dim() == 4:
        below = below.unsqueeze(1)
    tissue = per_sample(params.fat, painted).to(torch.uint8) * (FAT ^ AIR) ^ AIR
    return overpaint(painted, tissue, below)
