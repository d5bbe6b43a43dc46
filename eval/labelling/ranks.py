"""Ranks of vertebrae and discs in a segmentation, counted from the lowest upward.

Rules of ``assign_ranks``, on the whole volume (docs/evaluation.md has the measurements behind the numbers):

1. *Neighbourhood.* Levels are looked for near the main canal alone (``eval.labelling.core``); *position* is
   measured along that canal from its lower end upward, behind the discs where the canal is missing.
2. *Levels.* Disc regions in front of the canal are grouped by position: a gap of 10 mm or more starts the
   next disc. Each group is a level; the lowest has rank 1.
3. *Missed discs.* The usual distance of levels is the median (33 mm for fewer than two levels). A gap of 1.4
   expected distances or more (the mean of its two neighbours, at least the usual one) gets the missing
   levels, each at the position with the least vertebra. Above the highest level one is added for .1 of a
   vertebra: the uppermost is often cut off. Below the lowest one
   - a known sacrum is the end: levels are added down to it, and discs within it are none. A piece of a
     vertebra above it, between .1 and .6 of one, is a part of the sacrum, so background;
   - where the scan ends within the next vertebra, it is one if half of what is shown is vertebra;
   - otherwise one is added where there is a whole vertebra for it (.6 of the vertebra between two levels) and
     the canal continues for a usual distance. What lies below the lowest level is sacrum, so background.
4. *Bodies.* Regions in front of the canal that lie upon each other in neighbouring slices are one body, with
   one rank; those longer than 1.25 distances are cut at the levels. Between neighbouring bodies lies one
   level, and none through the middle of a body.
5. *Posterior elements* have the rank of the body that they hang on in their slice, else of their position:
   they lie lower than their bodies, by .28 of a distance (in full from 20 mm behind the centre line).
6. *Discs* take the rank of the nearest level as whole regions.
7. *Beside the neighbourhood* regions get the rank of what they lie upon, slice by slice
   (``eval.labelling.spread``); what lies upon nothing is background.

Ranks are *relative*, to the lowest vertebra in view, where the scan ends less than 15 mm below the lowest
level or a model that tells the sacrum finds none.

The count knows the roles of ``eval.labelling.roles`` alone. Where a scheme has

- no canal, the position is measured along a line behind the discs (a vertical one without discs), and nothing
  limits the levels that are added below the lowest disc;
- no discs, the lowest level lies at the lower end of the vertebrae in front of the canal, the others above it
  at the usual distance;
- no vertebrae, the levels are the discs that were found, and no missed disc is added at the ends.

``order_ranks`` combines the count with the ranks of a model that has its own. A network sees too little of a
slice to count far; the count has neither gaps nor repetitions, but is off by one where its lowest level is
wrong. The order is therefore counted, and most of the model's voxels decide where the count starts.
``rank_codes`` does both for the dense codes of any label scheme.
"""

from dataclasses import dataclass

import numpy as np

from synthspine.eval.labelling.bodies import (
    find_bodies,
    keep_whole,
    levels_between,
    rank_arches,
    rank_bodies,
)
from synthspine.eval.labelling.core import BODY_DEPTH_MM, Core, Spacing3, find_core
from synthspine.eval.labelling.levels import (
    LEAST_BELOW_MM,
    LEVEL_GAP_MM,
    USUAL_DISTANCE_MM,
    Profile,
    found_levels,
    with_missed_levels,
)
from synthspine.eval.labelling.regions import regions_of
from synthspine.eval.labelling.roles import (
    DISC,
    VERTEBRA,
    ranked_classes,
    ranks_of,
    roles_of,
)
from synthspine.eval.labelling.settings import RankSource
from synthspine.eval.labelling.spread import spread
from synthspine.gen.core.anatomy import (
    BACKGROUND,
    CANAL,
    CODES,
    DISC_OFFSET,
    MAX_RANK,
    POSTERIOR_OFFSET,
    SACRUM,
    disc_code,
)
from synthspine.gen.core.schemes import LabelScheme

HALF_DISC_MM = 4.0
ARCH_DROP = 0.28
ARCH_DEPTH_MM = 20.0
LOWEST_START, HIGHEST_START = -1, 4
"""Range of the shift of a count: down by one (sacrum), up by levels below the field of view."""


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Ranked:
    """Ranks of a segmentation.

    Attributes:
        codes: dense codes, uint8 ``(Z, H, W)``.
        relative: whether the lowest rank is that of the lowest vertebra in view, because no sacrum is.
    """

    codes: np.ndarray
    relative: bool


def rank_codes(
    codes: np.ndarray,
    scheme: LabelScheme,
    spacing_mm: Spacing3,
    source: RankSource = "auto",
    view: np.ndarray | None = None,
) -> Ranked:
    """Dense codes of a segmentation with the rank of every vertebra and disc.

    Args:
        codes: the codes that stand for the predicted classes (``LabelScheme.decode``), uint8 ``(Z, H, W)``,
            rows superior to inferior, columns anterior to posterior.
        scheme: label scheme of the classes.
        spacing_mm: spacing along ``Z``, ``H`` and ``W``.
        source: ``"count"``: counted; ``"auto"``: counted, from the start with which most ranks of the model
            agree; ``"model"``: as ``"auto"``, but classes of one rank keep theirs. Only classes of one rank
            tell the rank of the model.
        view: what the scan shows, bool, the same shape; all by default.

    Returns:
        Codes of the same shape. Posterior elements have 130 + the rank of their vertebra; codes without role,
        such as the sacrum, stay.
    """
    told = ranked_classes(scheme)[codes]
    roles = roles_of(codes)
    if source == "model" and not ((ranks_of(codes) > 0) & ~told).any():
        return Ranked(codes=codes, relative=False)
    counted = assign_ranks(
        roles, spacing_mm, sacrum=codes == SACRUM if scheme.has_sacrum else None, view=view
    )
    ranked = counted.codes
    if source != "count":
        ranked = order_ranks(ranked, np.where(told, codes, BACKGROUND))
    posterior = (roles == VERTEBRA) & (codes > POSTERIOR_OFFSET) & (ranked != BACKGROUND)
    ranked[posterior] += POSTERIOR_OFFSET
    kept = (roles == BACKGROUND) & (ranked == BACKGROUND)
    if source == "model":
        kept |= told
    relative = counted.relative and not told.any()
    return Ranked(codes=np.where(kept, codes, ranked), relative=bool(relative))


def assign_ranks(
    roles: np.ndarray,
    spacing_mm: Spacing3,
    *,
    sacrum: np.ndarray | None = None,
    view: np.ndarray | None = None,
) -> Ranked:
    """Rank a segmentation into roles, by the rules of this module.

    Args:
        roles: background 0, vertebra 1, disc 2, canal 3; uint8 ``(Z, H, W)``, rows superior to inferior,
            columns anterior to posterior; one slice is a volume too.
        spacing_mm: spacing along ``Z``, ``H`` and ``W``.
        sacrum: the sacrum, of a model that tells it, bool, the same shape.
        view: what the scan shows, bool, the same shape; all by default.
    """
    core = find_core(roles, spacing_mm)
    ground = core.sacrum_top_mm(sacrum, spacing_mm) if sacrum is not None else None
    if sacrum is not None and ground is not None:
        # What the model takes for sacrum above that is vertebra.
        roles = np.where(sacrum & (core.along_mm > ground), VERTEBRA, roles)
        core = find_core(roles, spacing_mm)
    discs = regions_of((core.roles == DISC) & core.front, core.along_mm)
    levels = found_levels(discs, spacing_mm[1] * spacing_mm[2])
    lower_end = core.lower_end_mm(np.ones(roles.shape, dtype=bool) if view is None else view, spacing_mm)
    if ground is not None:
        levels = levels[levels > ground - LEVEL_GAP_MM]
    distance = float(np.median(np.diff(levels))) if len(levels) > 1 else USUAL_DISTANCE_MM
    profile = Profile(core.positions_mm(VERTEBRA))
    levels = with_missed_levels(
        levels, distance, profile, canal_end=core.canal_end_mm, view_end=lower_end, sacrum_end=ground
    )
    vertebra = core.roles == VERTEBRA
    bodies = find_bodies(regions_of(vertebra & core.front, core.along_mm), levels, distance, roles.shape)
    if discs:
        levels = levels_between(levels, bodies, distance)

    codes = np.full(roles.shape, BACKGROUND, dtype=np.uint8)
    codes[core.canal] = CANAL
    middles = (levels[1:] + levels[:-1]) / 2
    for region in discs:
        rank = int(np.searchsorted(middles, region.centre_mm)) + 1
        if len(levels) and region.centre_mm > levels[0] - distance / 2:
            codes[region.where] = disc_code(min(rank, MAX_RANK))
    rank_bodies(codes, bodies, levels)
    lowered = core.along_mm + distance * ARCH_DROP * np.clip(core.behind_mm / ARCH_DEPTH_MM, 0, 1)
    rank_arches(codes, regions_of(vertebra & ~core.front, lowered), levels, distance)
    spread(codes, roles, core.sideways_mm, core.front, _expected_discs(core, levels), spacing_mm)
    if core.canal.any() or discs:
        keep_whole(codes, core.front)
    hidden = bool(len(levels)) and levels[0] - lower_end < LEAST_BELOW_MM
    return Ranked(codes=codes, relative=hidden if sacrum is None else ground is None)


def _expected_discs(core: Core, levels: np.ndarray) -> np.ndarray:
    """Codes of the discs where they lie by the levels, uint8 ``(H, W)``."""
    codes = np.full(core.along_mm.shape, BACKGROUND, dtype=np.uint8)
    inside = (core.behind_mm < -BODY_DEPTH_MM[0]) & (core.behind_mm > -BODY_DEPTH_MM[1])
    for rank, level in enumerate(levels[:MAX_RANK], start=1):
        codes[inside & (abs(core.along_mm - level) <= HALF_DISC_MM)] = disc_code(rank)
    return codes


def order_ranks(counted: np.ndarray, modelled: np.ndarray) -> np.ndarray:
    """Counted ranks, all shifted by the number with which most voxels agree with the model.

    Both are dense codes, uint8, of one shape; ranks below 1 become background.
    """
    own, other = ranks_of(counted), ranks_of(modelled)
    ranked = (own > 0) & (other > 0)
    starts = range(LOWEST_START, HIGHEST_START + 1)
    shifts = other[ranked].astype(np.int16) - own[ranked]
    votes = {start: np.count_nonzero(shifts == start) for start in starts}
    # Ties keep the count as it is.
    shift = max(starts, key=lambda start: (votes[start], -abs(start)))
    table = np.arange(CODES, dtype=np.uint8)
    ranks = np.arange(1, MAX_RANK + 1)
    moved = np.minimum(ranks + shift, MAX_RANK)
    table[ranks] = np.where(moved > 0, moved, BACKGROUND)
    table[DISC_OFFSET + ranks] = np.where(moved > 0, DISC_OFFSET + moved, BACKGROUND)
    return table[counted]
