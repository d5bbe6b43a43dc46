"""Hidden labels: a structure is painted as background, but stays in the target, as in SynthSeg and lab2im."""

from dataclasses import dataclass, replace
from typing import TypeVar

import torch
from torch import Tensor

from synthspine.gen.core.anatomy import STRUCTURE_CODES, STRUCTURES
from synthspine.gen.core.counter_rng import SampleRandom
from synthspine.gen.core.feature import Batch, Config
from synthspine.gen.core.masks import between, overpaint, per_sample
from synthspine.gen.intensity.cortex import CortexParams

Feature = TypeVar("Feature", bound=Batch)


@dataclass(frozen=True, kw_only=True, slots=True)
class HiddenConfig(Config):
    """Structures that the image does not show."""

    probability: float = 0.02
    """Probability, for each of vertebrae, discs and canal alone, that it is painted as background."""


@dataclass(frozen=True, kw_only=True, slots=True)
class HiddenParams(Batch):
    """1 where each of ``STRUCTURES`` is hidden, else 0, ``(B, 3)``."""

    hidden: Tensor


def draw_hidden(config: HiddenConfig, random: SampleRandom) -> HiddenParams | None:
    """Draw what is hidden; None if nothing ever is."""
    if config.probability == 0:
        return None
    names = (f"hidden_{structure}" for structure in STRUCTURES)
    hidden = [random.chance(name, config.probability) for name in names]
    return HiddenParams(hidden=torch.stack(hidden, dim=1).float())


def hide(painted: Tensor, codes: Tensor, background: Tensor, params: HiddenParams | None) -> Tensor:
    """Paint hidden structures, with all that was painted into them, as ``background`` (painted codes)."""
    if params is None:
        return painted
    mask = torch.zeros_like(codes)
    for place, span in enumerate(STRUCTURE_CODES.values()):
        mask += per_sample(params.hidden[:, place].to(torch.uint8), codes) * between(codes, *span)
    return overpaint(painted, background, mask)


def unless_hidden(
    feature: Feature | None, params: HiddenParams | None, structure: str, *names: str
) -> Feature | None:
    """The feature with its fields ``names``, ``(B,)``, set to 0 where its structure is hidden."""
    if feature is None or params is None:
        return feature
    shown = 1 - params.hidden[:, STRUCTURES.index(structure)]
    return replace(feature, **{name: getattr(feature, name) * shown for name in names})


def without_lines(cortex: CortexParams | None, params: HiddenParams | None) -> CortexParams | None:
    """The lines on borders, without those around hidden structures; end plates belong to vertebrae."""
    if cortex is None or params is None:
        return cortex
    plates = unless_hidden(cortex.end_plates, params, "vertebra", "strength")
    return replace(cortex, strength=cortex.strength * (1 - params.hidden), end_plates=plates)
