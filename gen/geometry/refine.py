"""Refined codes: what targets tell apart beyond the annotation of a label map.

Posterior elements (arches and spinous processes) are the part of a vertebra beside and behind the canal. The
sacrum is known where it is annotated or where the generator painted it. Elsewhere a label map without sacrum
holds background for it, so background below the lowest disc may be sacrum (``PERHAPS_SACRUM``), which a
label scheme with a sacrum leaves out of loss and metrics.
"""

import torch
from torch import Tensor

from synthspine.gen.core.anatomy import (
    BACKGROUND,
    DISC_OFFSET,
    MAX_RANK,
    PERHAPS_SACRUM,
    POSTERIOR_OFFSET,
    SACRUM,
)
from synthspine.gen.core.feature import Spacing
from synthspine.gen.core.masks import above, at_most, has_code, overpaint
from synthspine.gen.geometry.spine_frame import BEFORE_CANAL_MM, SpineFrame, find_spine

_CHUNK = 2**22
"""Pixels that :func:`refine_maps` refines at once."""


def refine(
    codes: Tensor,
    spacing_mm: Spacing,
    *,
    frame: SpineFrame | None = None,
    painted_sacrum: Tensor | None = None,
) -> Tensor:
    """Refined codes of label maps, or of what they became in a picture.

    Args:
        codes: dense codes of label maps, uint8, shape ``(B, *grid)``.
        spacing_mm: grid spacing per axis, mm.
        frame: where the spine lies in ``codes``; found where None.
        painted_sacrum: 1 where the picture shows a sacrum that the generator painted, else 0, uint8, the
            shape of ``codes``. None for other pictures, where only the annotation is known.

    Returns:
        uint8, shape and device of ``codes``: vertebrae from ``BEFORE_CANAL_MM`` in front of the canal's
        middle on have the codes of posterior elements. Background is the sacrum where it is painted. Without
        ``painted_sacrum`` it may be sacrum in samples that show no annotated sacrum: below the middle of the
        lowest disc (at right angles to the way there from the lowest body), below the last row of the spine
        where the lowest vertebra or disc is missing, and everywhere in samples without vertebra and disc.
        In slices that do not show the canal its course is estimated from the vertebrae, so the border between
        body and posterior elements is uncertain there.
    """
    frame = frame or find_spine(codes, spacing_mm)
    # One less than background is 255, so vertebrae alone are small.
    vertebra = at_most(codes - 1, MAX_RANK - 1)
    behind = vertebra * above(frame.behind_mm, -BEFORE_CANAL_MM)
    refined = torch.add(codes, behind, alpha=POSTERIOR_OFFSET)
    background = has_code(codes, BACKGROUND)
    if painted_sacrum is not None:
        return overpaint(refined, SACRUM, background * painted_sacrum)
    return overpaint(refined, PERHAPS_SACRUM, background * _perhaps_sacrum(codes, frame))


def refine_maps(maps: Tensor, spacing_mm: Spacing) -> Tensor:
    """:func:`refine` of many label maps of the shape ``(N, *grid)``, some at a time to save memory."""
    if not len(maps):
        return maps
    size = max(1, _CHUNK // maps[0].numel())
    return torch.cat([refine(part, spacing_mm) for part in maps.split(size)])


def _perhaps_sacrum(codes: Tensor, frame: SpineFrame) -> Tensor:
    """1 where an annotator may have left out a sacrum, else 0: uint8, the shape of ``codes``."""
    step = frame.step_mm.unsqueeze(2)
    rows, columns = frame.rows_mm - frame.body_mm[:, :1], frame.columns_mm - frame.body_mm[:, 1:]
    along = (rows * step[:, 0]).unsqueeze(2) + (columns * step[:, 1]).unsqueeze(1)
    lowest = along > step.square().sum(1, keepdim=True)
    foot = (frame.rows_mm > frame.foot_mm.unsqueeze(1)).unsqueeze(2).expand_as(lowest)
    below = torch.where(frame.has_lowest.view(-1, 1, 1), lowest, foot)
    flat = codes.flatten(1)
    bones = (flat > BACKGROUND) & (flat <= DISC_OFFSET + MAX_RANK)
    below = below | ~bones.any(1).view(-1, 1, 1)
    annotated = (flat == SACRUM).any(1)
    unknown = (below & ~annotated.view(-1, 1, 1)).to(torch.uint8)
    return unknown.view(len(codes), *[1] * (codes.dim() - 3), *codes.shape[-2:])
