"""Sacrum: unlabelled repeats of the lowest vertebra and its disc below it, each turned further backwards.

It is what a network takes most easily for a vertebra, and what tells the lowest vertebra from the next.
Above the uppermost vertebra nothing of the kind is painted: in 38 of 38 real slices of SPIDER (2024) the
uppermost labelled vertebra is cut by the border of the picture, so all vertebrae in view are labelled.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional

from gen.anatomy import disc_code, vertebra_code
from gen.brush import has_code, overpaint
from gen.counter_rng import SampleRandom
from gen.palette import SACRAL_DISC, SACRUM
from gen.record import Batch
from gen.settings import Range, check, check_within
from gen.spine_frame import SpineFrame

SEGMENTS = 3
"""Most segments: those of the sacrum below are too small to be taken for a vertebra."""
_LEAST_SCALE = 0.1
_DISC_STARTS = 0.7
"""Where the disc begins, as a share of the way from the middle of a vertebral body to that of the disc."""


@dataclass(frozen=True, kw_only=True, slots=True)
class SacrumConfig:
    """Unlabelled repeats of the lowest vertebra and disc below it, 1 to 3 of them."""

    probability: float = 0.85
    """Probability of a sacrum."""
    turn_deg: Range = (5.0, 28.0)
    """Turn of every segment against the one above, backwards, degrees."""
    shrink: Range = (0.70, 0.95)
    """Size of every segment against the one above."""
    disc_thickness: Range = (0.15, 0.6)
    """Thickness of sacral discs, against a disc that shrinks as the bone does."""

    def __post_init__(self) -> None:
        check(self)
        check_within(self, turn_deg=(-60.0, 60.0), shrink=(0.5, 1.5), disc_thickness=(0.1, 1.0))


@dataclass(frozen=True, kw_only=True, slots=True)
class SacrumParams(Batch):
    """Sacrum of a batch.

    Attributes:
        turn_deg: turn from one segment to the next, backwards, degrees, ``(B, 3)``.
        scale: size of the segments against the lowest vertebra, ``(B, 3)``, 0 for none.
        disc_thickness: thickness of their discs, against discs of that size, ``(B,)``.
    """

    turn_deg: Tensor
    scale: Tensor
    disc_thickness: Tensor


def draw_sacrum(config: SacrumConfig, random: SampleRandom) -> SacrumParams | None:
    """Draw the sacrum of every sample; None if the configuration never has one."""
    if config.probability == 0:
        return None
    on = random.chance("sacrum", config.probability).unsqueeze(1)
    last = random.integer("sacrum_segments", SEGMENTS).unsqueeze(1)
    segments = torch.arange(SEGMENTS, device=last.device) <= last
    scale = random.uniform("sacrum_shrink", *config.shrink, shape=(SEGMENTS,)).cumprod(1)
    return SacrumParams(
        turn_deg=random.uniform("sacrum_turn", *config.turn_deg, shape=(SEGMENTS,)),
        scale=scale * (on & segments),
        disc_thickness=random.uniform("sacrum_disc", *config.disc_thickness),
    )


def paint_sacrum(
    painted: Tensor,
    params: SacrumParams | None,
    codes: Tensor,
    frame: SpineFrame,
    spacing_mm: Sequence[float],
) -> Tensor:
    """Paint the sacrum over background, layers and bowel.

    A segment is one look-up of the lowest vertebra and its disc, moved together.

    Args:
        painted: painted codes, uint8 ``(B, *grid)``.
        params: what was drawn; None leaves ``painted`` as it is.
        codes: dense codes, uint8 ``(B, *grid)``; a volume's slices all move alike.
        frame: where the spine lies in them.
        spacing_mm: grid spacing per axis, mm.

    Returns:
        Painted codes, uint8 ``(B, *grid)``.
    """
    if params is None:
        return painted
    bone = has_code(codes, vertebra_code(1)) * SACRUM + has_code(codes, disc_code(1)) * SACRAL_DISC
    # Whatever lies outside the grid is looked up in a margin of nothing.
    source = functional.pad(bone.reshape(len(codes), -1, *codes.shape[-2:]), (1, 1, 1, 1)).flatten(2)
    angle = torch.zeros_like(params.disc_thickness)
    middle = frame.body_mm + frame.step_mm
    found = torch.zeros_like(bone)
    for turn_deg, scale in zip(params.turn_deg.unbind(1), params.scale.unbind(1), strict=True):
        angle = angle + torch.deg2rad(turn_deg)
        scale = scale * frame.has_lowest
        step = turn(frame.step_mm, angle) * scale.clamp(min=_LEAST_SCALE).unsqueeze(1)
        index = _look_from(frame, params, middle + step, angle, scale, spacing_mm)
        part = source.gather(2, index.flatten(1).unsqueeze(1).expand(-1, source.shape[1], -1))
        found = torch.maximum(found, part.reshape(codes.shape))
        middle = middle + 2 * step
    return overpaint(painted, found, found.clamp(max=1))


def turn(vector: Tensor, angle: Tensor) -> Tensor:
    """Rotate (row, column) vectors from down towards back; vectors ``(B, 2)``, radians ``(B,)``."""
    cosine, sine = torch.cos(angle), torch.sin(angle)
    row, column = vector.unbind(1)
    return torch.stack((row * cosine - column * sine, row * sine + column * cosine), dim=1)


def _look_from(
    frame: SpineFrame, params: SacrumParams, middle_mm: Tensor, angle: Tensor, scale: Tensor,
    spacing_mm: Sequence[float],
) -> Tensor:  # fmt: skip
    """Index of every pixel's source in the padded plane, int64 ``(B, H, W)``.

    Args:
        frame: where the lowest vertebra lies.
        params: what was drawn.
        middle_mm: where the middle of its body goes, ``(B, 2)``.
        angle: its turn, radians, ``(B,)``.
        scale: its size, ``(B,)``, 0 to look nowhere.
        spacing_mm: grid spacing per axis, mm.
    """
    rows, columns = len(frame.rows_mm), len(frame.columns_mm)
    shown = (scale > 0).unsqueeze(1)
    size = scale.clamp(min=_LEAST_SCALE).unsqueeze(1)
    cosine, sine = (torch.cos(angle).unsqueeze(1) / size, torch.sin(angle).unsqueeze(1) / size)
    down = frame.rows_mm - middle_mm[:, :1]
    back = frame.columns_mm - middle_mm[:, 1:]
    # From the middle of the body, mm: one part for the rows, one for the columns.
    row = (down * cosine, back * sine)
    column = (-down * sine, back * cosine)
    along, aside = frame.step_mm.unsqueeze(2).unbind(1)
    length = (along.square() + aside.square()).clamp(min=1e-6)
    thinner = torch.where(shown, (1 / params.disc_thickness - 1).unsqueeze(1), 0.0)
    # Beyond the end plate the source runs faster along the axis: the disc gets thinner.
    way = [((r * along + c * aside) / length) * thinner for r, c in zip(row, column, strict=True)]
    beyond = ((way[0] - _DISC_STARTS * thinner).unsqueeze(2) + way[1].unsqueeze(1)).clamp_(min=0)

    def index(
        parts: tuple[Tensor, Tensor], step: Tensor, middle: Tensor, spacing: float, count: int
    ) -> Tensor:
        # 1.5: the margin, and half a pixel so that cutting off decimals rounds.
        first = (parts[0] + middle) / spacing + ((count - 1) / 2 + 1.5)
        first = torch.where(shown, first, 0.0)
        second = torch.where(shown, parts[1] / spacing, 0.0)
        place = torch.addcmul(first.unsqueeze(2) + second.unsqueeze(1), beyond, (step / spacing).unsqueeze(2))
        return place.clamp_(0, count + 1).int()

    row_index = index(row, along, frame.body_mm[:, :1], spacing_mm[-2], rows)
    column_index = index(column, aside, frame.body_mm[:, 1:], spacing_mm[-1], columns)
    return torch.add(column_index, row_index, alpha=columns + 2).long()
