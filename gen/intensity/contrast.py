"""Contrast: one mean intensity for every painted tissue, drawn by one of three recipes.

* *random*: uniform over the scale, whatever the tissue; instances of a structure share their mean.
* *measured*: about the means that real T1- and T2-weighted images have, or between the two.
* *physical*: the signal equation of a spin echo (``gen.intensity.physical_contrast``).

Random numbers belong to painted codes, so a tissue that is missing in a map changes no other tissue.
"""

from dataclasses import dataclass, field, replace
from functools import cache
from typing import NamedTuple

import torch
from torch import Tensor

from synthspine.gen.core.anatomy import CANAL
from synthspine.gen.core.counter_rng import SampleRandom
from synthspine.gen.core.drawing import AlwaysDrawn, Drawing, showcase
from synthspine.gen.core.feature import Batch, Config, Range, within
from synthspine.gen.core.masks import per_code
from synthspine.gen.intensity.physical_contrast import PhysicalConfig, PhysicalParams, draw_physical
from synthspine.gen.tissues import palette
from synthspine.gen.tissues.canal import CanalConfig, mingle
from synthspine.gen.tissues.discs import FULLY_RANDOM, DiscConfig, darken_discs
from synthspine.gen.tissues.palette import DISCS, PAINT_CODES, SACRAL_DISC, SACRUM, VERTEBRAE, codes_of

RECIPES = ("random", "measured", "physical")
"""Names of the recipes by their number in :class:`ContrastParams`."""
assert RECIPES[FULLY_RANDOM] == "random"

_DISC_JITTER = 1.5
"""Discs of one spine differ more than its vertebrae: each degenerates on its own."""


@dataclass(frozen=True, kw_only=True, slots=True)
class ContrastParams(Batch):
    """Intensity of every painted code."""

    mean: Tensor  # share of full scale, 0..1, ``(B, P)``
    recipe: Tensor  # number of the recipe in ``RECIPES``, ``(B,)``
    alpha: Tensor  # between T1 (0) and T2 (1), ``(B,)``, of the measured means or the physical protocol
    jitter: Tensor  # standard deviation of the difference between vertebrae, ``(B,)``
    physical: PhysicalParams | None  # protocol of the samples whose ``recipe`` is 2; None if never


@dataclass(frozen=True, kw_only=True, slots=True)
class ContrastConfig(AlwaysDrawn[ContrastParams]):
    """Mean intensity of every tissue: a mixture of recipes."""

    random_weight: float = 0.25
    """Weight of the fully random recipe in the mixture."""
    measured_weight: float = 0.6
    """Weight of the recipe about measured T1 and T2 means."""
    physical_weight: float = 0.15
    """Weight of the recipe by spin-echo physics."""
    random_mean: Range = (0.0, 1.0)
    """Mean of a tissue in the random recipe, share of full scale."""
    dark_air_probability: float = 0.8
    """Random recipe: probability that air is dark instead of any grey."""
    dark_air: float = 0.05
    """Factor on the mean of dark air; the void of an implant always has it."""
    alpha: Range = (0.0, 1.0)
    """Measured recipe: position between T1 (0) and T2 (1)."""
    end_probability: float = 0.7
    """Probability that the position is one of the two ends of its range instead of between them."""
    spread: float = 1.0
    """Factor on the measured spread of tissue means about the T1/T2 means."""
    instance_jitter: Range = (0.0, 0.06)
    """Standard deviation of the difference between vertebrae; between discs it is 1.5 times as large."""
    sacrum_alike_probability: float = 0.85
    """Probability that sacrum and marrow share the mean of the vertebrae, sacral discs that of the discs, and
    fluid that of the canal."""
    physical: PhysicalConfig = field(default_factory=PhysicalConfig)
    """Protocols and relaxation of the physical recipe."""

    bounds = within("random_mean", "dark_air", "instance_jitter", spread=(0.0, 10.0))
    shown = showcase(alpha=(0.0, 0.0))

    def __post_init__(self) -> None:
        Config.__post_init__(self)
        weights = self.weights
        if min(weights) < 0 or sum(weights) == 0:
            names = ", ".join(f"{name}_weight {value}" for name, value in zip(RECIPES, weights, strict=True))
            raise ValueError(f"ContrastConfig: {names}; weights are 0 or more, and not all of them 0")
        if self.alpha[0] < 0 or self.alpha[1] > 1:
            raise ValueError(
                f"ContrastConfig.alpha is {self.alpha}; 0 is T1, 1 is T2, and extrapolation beyond is refused"
            )

    @property
    def weights(self) -> tuple[float, float, float]:
        """Weights of the recipes, in the order of ``RECIPES``."""
        return self.random_weight, self.measured_weight, self.physical_weight

    def sample(self, random: SampleRandom) -> ContrastParams:
        """Draw the mean intensity of every tissue."""
        tables = code_tables(random.keys.device)
        first, second, third = self.weights
        total = first + second + third
        unit = random.uniform("contrast_recipe")
        # Greater, not equal: the number may be 1.0 and is never 0.0, so a weight of 0 is never chosen.
        recipe = (unit > first / total).float() + (unit > (first + second) / total).float()
        at_end = random.chance("contrast_alpha_end", self.end_probability)
        end = torch.where(random.chance("contrast_alpha_which", 0.5), self.alpha[1], self.alpha[0])
        alpha = torch.where(at_end, end, random.uniform("contrast_alpha", *self.alpha))
        number = recipe.unsqueeze(1)
        physical = None
        # A recipe without weight is not drawn: it would cost time and decide nothing.
        mean = torch.zeros(len(recipe), PAINT_CODES, device=recipe.device)
        if self.random_weight > 0:
            mean = random.uniform("contrast_random", *self.random_mean, shape=(PAINT_CODES,))[
                :, tables.shared
            ]
            dark = random.chance("contrast_dark_air", self.dark_air_probability).unsqueeze(1) & tables.air
            mean = torch.where(dark, self.dark_air * mean, mean)
        if self.measured_weight > 0:
            deviation = random.normal("contrast_measured", (PAINT_CODES,))[:, tables.shared]
            centre = torch.lerp(tables.t1, tables.t2, alpha.unsqueeze(1))
            spread = torch.lerp(tables.t1_spread, tables.t2_spread, alpha.unsqueeze(1))
            mean = torch.where(number == 1, centre + self.spread * spread * deviation, mean)
        if self.physical_weight > 0:
            place = random.uniform("contrast_blend", shape=(PAINT_CODES,))[:, tables.shared]
            signal, weighting, physical = draw_physical(self.physical, random, place)
            mean = torch.where(number == 2, signal, mean)
            alpha = torch.where(recipe == 2, weighting, alpha)
        # The sacrum is bone of the same body: a network must not tell it from vertebrae by its grey value.
        alike = random.chance("contrast_sacrum_alike", self.sacrum_alike_probability).unsqueeze(1)
        mean = torch.where(alike, mean[:, tables.alike], mean)
        jitter = random.uniform("contrast_jitter", *self.instance_jitter)
        each = random.normal("contrast_instance", (PAINT_CODES,)) * tables.jitter
        lit = torch.where(tables.void, self.dark_air, tables.lit)
        mean = (mean + jitter.unsqueeze(1) * each) * lit
        return ContrastParams(
            mean=mean.clamp(0, 1), recipe=recipe, alpha=alpha, jitter=jitter, physical=physical
        )

    def settle(self, own: ContrastParams, drawing: Drawing) -> ContrastParams:
        """Degenerated discs are darker; cord, roots and fluid may look alike."""
        mean = darken_discs(own.mean, drawing[DiscConfig])
        return replace(own, mean=mingle(mean, drawing[CanalConfig]))


class CodeTables(NamedTuple):
    """Constants of the painted codes on a device, each ``(P,)``."""

    shared: Tensor  # the code whose random numbers a code uses: the first of its tissue
    t1: Tensor
    t1_spread: Tensor
    t2: Tensor
    t2_spread: Tensor
    jitter: Tensor  # factor on the jitter of instances, 0 for single tissues
    air: Tensor  # whether it is air in the body or around it
    void: Tensor  # whether it is the void of an implant
    marrow: Tensor  # whether it is bone marrow
    lit: Tensor  # 0 outside of the field of view, else 1
    alike: Tensor  # vertebra for sacrum and marrow, disc for sacral discs, canal for fluid, else the code


@cache
def code_tables(device: torch.device) -> CodeTables:
    """Constants of the painted codes."""
    shared, alike = list(range(PAINT_CODES)), list(range(PAINT_CODES))
    weightings = [[0.0] * PAINT_CODES for _ in range(4)]
    for tissue in palette.TISSUES.values():
        for code in codes_of(tissue):
            # Regions share a distribution, not a value.
            shared[code] = code if tissue.codes == palette.REGIONS else codes_of(tissue)[0]
            for table, value in zip(weightings, (*tissue.t1, *tissue.t2), strict=True):
                table[code] = value
    jitter = torch.zeros(PAINT_CODES)
    jitter[VERTEBRAE] = jitter[SACRUM] = jitter[SACRAL_DISC] = jitter[palette.MARROW] = 1.0
    jitter[DISCS] = _DISC_JITTER
    air, void, marrow = torch.zeros(3, PAINT_CODES, dtype=torch.bool)
    air[palette.AIR] = air[palette.BOWEL_GAS] = void[palette.IMPLANT] = True
    marrow[VERTEBRAE] = marrow[SACRUM] = marrow[palette.MARROW] = True
    marrow[palette.MODIC] = marrow[palette.HAEMANGIOMA] = True
    lit = torch.ones(PAINT_CODES)
    lit[palette.OUTSIDE] = 0.0
    alike[SACRUM], alike[SACRAL_DISC] = VERTEBRAE.start, DISCS.start
    alike[palette.MARROW], alike[palette.FLUID] = VERTEBRAE.start, CANAL
    codes = (jitter, air, void, marrow, lit, torch.tensor(alike))
    tables = (torch.tensor(shared), *torch.tensor(weightings), *codes)
    return CodeTables(*(table.to(device) for table in tables))


def colour(painted: Tensor, params: ContrastParams) -> Tensor:
    """Give every pixel the mean of its painted code; differentiable with respect to ``params.mean``."""
    return per_code(params.mean, painted)


def measured_contrast(alpha: float, base: ContrastConfig | None = None) -> ContrastConfig:
    """The measured recipe alone, at position ``alpha`` between T1 (0) and T2 (1); all else is as in ``base``.

    Raises:
        TypeError: a position that is no number.
        ValueError: a position outside 0..1.
    """
    base = base or ContrastConfig()
    return replace(base, random_weight=0.0, measured_weight=1.0, physical_weight=0.0, alpha=(alpha, alpha))
