"""Discs: a nucleus in the middle, a cleft across it, and degenerated discs that are dark and thin.

The health of a disc decides: the least healthy ones are degenerated and have hardly any nucleus.
"""

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional

from synthspine.gen.core.anatomy import CODES, MAX_RANK, STRUCTURES
from synthspine.gen.core.drawing import Drawing, Feature, showcase
from synthspine.gen.core.feature import Batch, Range, Spacing, within
from synthspine.gen.core.masks import (
    above,
    at_most,
    between,
    columns_of,
    greatest_near,
    per_code,
    per_sample,
    shifted_rows,
    with_columns,
)
from synthspine.gen.tissues.palette import DISCS, VERTEBRAE

MOST_LOST_MM = 2.0
"""Upper bound of the height a disc may lose at either side; sets how many shifts of the map are looked at."""
END_PLATE_MM = 3.0
"""Annotators leave up to this much background between a vertebra and its disc; it moves with the border."""
LEAST_MM = 3.0
"""What a degenerated disc keeps of its height, mm; where it is thinner, it loses nothing."""
ANNULUS_MM, TRANSITION_MM = 1.0, 2.5
"""The nucleus begins this deep inside a disc and is fully there so much deeper."""
CLEFT_MM = 2.0
"""Half the height of the intranuclear cleft."""
FULLY_RANDOM = 0
"""Number of the contrast's recipe that follows neither T1 nor T2."""
_MOST_ROWS = 7
"""Upper bound of the rows a border moves: two borders in the bits of 16."""


@dataclass(frozen=True, kw_only=True, slots=True)
class DiscParams(Batch):
    """Every disc of a batch, by rank 1..25."""

    core: Tensor | None  # added in the middle, share of full scale, ``(B, 25)``; None without a nucleus
    cleft: Tensor | None  # share of it that the cleft takes away, ``(B,)``; None if there is no cleft
    lost_mm: Tensor | None  # lost at the top and the bottom, ``(B, 2, 25)``; None if none is degenerated
    brightness: Tensor | None  # factor on the mean, ``(B, 25)``; None if none is degenerated


@dataclass(frozen=True, kw_only=True, slots=True)
class DiscConfig(Feature[DiscParams]):
    """Nucleus, cleft and degeneration of discs."""

    nucleus_probability: float = 1.0
    """Probability that discs have a nucleus that differs from their annulus."""
    nucleus_t1: float = 0.04
    """What the nucleus of a healthy disc has more than its annulus on T1, share of full scale."""
    nucleus_t2: float = 0.54
    """The same on T2; between the two, in between."""
    random_nucleus: Range = (-0.4, 0.4)
    """The same where the contrast is fully random, per disc."""
    health: Range = (0.0, 1.0)
    """Health of all discs of a spine; each disc has a share of it."""
    cleft_probability: float = 0.4
    """Probability of the intranuclear cleft, a darker line in the middle of every nucleus."""
    cleft: Range = (0.2, 0.9)
    """Share of the nucleus's brightness that is lost in the cleft."""
    degenerated_probability: float = 0.2
    """Probability that a disc is degenerated: thin and dark. The least healthy discs are."""
    lost_mm: Range = (0.0, 2.0)
    """Height that a degenerated disc loses to the vertebra above it, and again to the one below, mm."""
    darkness: Range = (0.0, 0.5)
    """Share of its mean brightness that a degenerated disc lacks."""

    bounds = within(
        "health",
        "cleft",
        "darkness",
        nucleus_t1=(-1.0, 1.0),
        nucleus_t2=(-1.0, 1.0),
        random_nucleus=(-1.0, 1.0),
        lost_mm=(0.0, MOST_LOST_MM),
    )
    near_borders = True
    shown = showcase(
        "middle_disc",
        cleft_probability=1.0,
        health=(1.0, 1.0),
        nucleus_t2=1.0,
        degenerated_probability=0.3,
        lost_mm=(2.0, 2.0),
        darkness=(0.5, 0.5),
    )

    def never(self) -> bool:
        """Whether the configuration only has plain discs."""
        return self.nucleus_probability == 0 and self.degenerated_probability == 0

    def sample(self, random: Drawing) -> DiscParams:
        """Draw the state of every disc; the contrast says how much a nucleus stands out."""
        own = random.uniform("disc_own_health", shape=(MAX_RANK,))
        core = cleft = lost_mm = brightness = None
        if self.nucleus_probability > 0:
            alpha, recipe = (random.value(f"contrast.{name}").unsqueeze(1) for name in ("alpha", "recipe"))
            health = random.uniform("disc_health", *self.health).unsqueeze(1) * own**2
            weighted = self.nucleus_t1 + (self.nucleus_t2 - self.nucleus_t1) * alpha
            free = random.uniform("disc_random_nucleus", *self.random_nucleus, shape=(MAX_RANK,))
            on = random.chance("disc_nucleus_on", self.nucleus_probability).unsqueeze(1)
            core = torch.where(recipe == FULLY_RANDOM, free, weighted) * health * on
            if self.cleft_probability > 0:
                split = random.chance("disc_cleft_on", self.cleft_probability)
                cleft = random.uniform("disc_cleft", *self.cleft) * split
        if self.degenerated_probability > 0:
            degenerated = own < self.degenerated_probability
            lost_mm = random.uniform("disc_lost", *self.lost_mm, shape=(2, MAX_RANK))
            lost_mm = lost_mm * degenerated.unsqueeze(1)
            # Below the lowest disc lies the sacrum, which no label names: nothing would take its loss.
            lost_mm[:, 1, 0] = 0
            brightness = 1 - random.uniform("disc_darkness", *self.darkness, shape=(MAX_RANK,)) * degenerated
        return DiscParams(core=core, cleft=cleft, lost_mm=lost_mm, brightness=brightness)


def thin_discs(codes: Tensor, params: DiscParams | None, spacing_mm: Spacing) -> Tensor:
    """Give the upper and lower margin of thin discs to the vertebrae next to them, in picture and target.

    The border of a vertebra, and the background between it and the disc, move into the disc by whole rows.
    Where no vertebra lies above or below, the disc gives way to background. Returns dense codes.
    """
    most = min(int(MOST_LOST_MM / spacing_mm[-2] + 0.5), _MOST_ROWS)
    if params is None or params.lost_mm is None or most == 0:
        return codes
    # One bit per number of rows that a border moves: one look-up serves both borders.
    bits = (1 << (params.lost_mm / spacing_mm[-2] + 0.5).int().clamp(max=most)) >> 1
    table = _by_code((bits[:, 0] | (bits[:, 1] << most)).to(torch.uint8 if most <= 4 else torch.int16))
    disc = between(codes, DISCS.start, DISCS.stop - 1)
    columns = columns_of(disc)
    whole, codes, disc = codes, codes[..., columns], disc[..., columns]
    discs = codes * disc
    reach = int(END_PLATE_MM / spacing_mm[-2] + 0.5)
    nearest = greatest_near(discs, reach)
    moves = per_code(table, nearest)
    least = max(int(LEAST_MM / spacing_mm[-2] + 0.5), 1)
    for first_bit, direction in ((0, 1), (most, -1)):
        wanted = [((moves >> (first_bit + rows)) & 1).to(torch.uint8) for rows in range(most)]
        # Only discs and background give way; what is left of a disc must be high enough.
        opening = disc * shifted_rows(disc, -direction * least, fill=0) + at_most(codes, 0)
        codes, gone = _move_border(codes, wanted, opening, direction)
        disc = disc * (1 - gone)
    return with_columns(whole, columns, codes)


def _move_border(
    codes: Tensor, wanted: list[Tensor], opening: Tensor, direction: int
) -> tuple[Tensor, Tensor]:
    """Move borders next to discs by 1, 2, ... rows where ``wanted`` says so, down for 1, up for -1.

    Returns the codes, and 1 where they come from another row.
    """
    most, rows = len(wanted), codes.shape[-2]
    # Only vertebrae and background move in. Codes are raised by 1: 0 means that none moves in.
    source = at_most(codes, VERTEBRAE.stop - 1) * (codes.clamp(max=CODES - 2) + 1)
    source = functional.pad(source, (0, 0, most, most))
    moved = torch.zeros_like(codes)
    for step, mask in enumerate(wanted, start=1):
        moved = moved + mask * source.narrow(-2, most - direction * step, rows)
    moved = moved * opening
    gone = moved.clamp(max=1)
    return codes * (1 - gone) + (moved - gone), gone


def darken_discs(mean: Tensor, params: DiscParams | None) -> Tensor:
    """Lower the means of degenerated discs; ``mean`` and result ``(B, PAINT_CODES)``."""
    if params is None or params.brightness is None:
        return mean
    around = (DISCS.start, mean.shape[1] - DISCS.stop)
    return mean * functional.pad(params.brightness, around, value=1.0)


def add_nucleus(
    image: Tensor, painted: Tensor, depth_mm: Tensor, params: DiscParams | None, spacing_mm: Spacing
) -> Tensor:
    """Brighten (or darken) the middle of every disc in ``image``, ``(B, *grid)``, less in its cleft."""
    if params is None or params.core is None:
        return image
    depth = depth_mm[:, STRUCTURES.index("disc")]
    columns = columns_of(above(depth, 0.0))
    whole, image, depth = image, image[..., columns], depth[..., columns]
    core = per_code(_by_code(params.core), painted[..., columns])
    inside = (depth * (1 / TRANSITION_MM)).add_(-ANNULUS_MM / TRANSITION_MM).clamp_(0, 1)
    if params.cleft is not None:
        _take_cleft(core, depth, per_sample(params.cleft, image), spacing_mm[-2])
    return with_columns(whole, columns, torch.addcmul(image, core, inside))


def _take_cleft(core: Tensor, depth: Tensor, share: Tensor, spacing_mm: float) -> None:
    """Reduce the core where the distance to the border is greatest along a column, in place.

    Half the second difference of a roof ``-|x|`` over a step ``k`` is ``k - |x|`` up to ``k``, then 0.
    """
    step = max(int(CLEFT_MM / spacing_mm + 0.5), 1)
    rows = depth.shape[-2] - 2 * step
    if rows < 1:
        return
    either = depth.narrow(-2, 0, rows) + depth.narrow(-2, 2 * step, rows)
    ridge = torch.sub(depth.narrow(-2, step, rows), either, alpha=0.5).clamp_(0, step * spacing_mm)
    core.narrow(-2, step, rows).mul_(ridge.mul_(share / -(step * spacing_mm)).add_(1))


def _by_code(values: Tensor) -> Tensor:
    """Values of the 25 discs as a table over all codes, 0 elsewhere, ``(B, 256)``."""
    return functional.pad(values, (DISCS.start, CODES - DISCS.stop))
