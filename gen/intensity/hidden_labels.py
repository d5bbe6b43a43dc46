"""Hidden labels: a structure is painted as background, but stays in the target, as in SynthSeg and lab2im."""

from dataclasses import dataclass, replace
from typing import TypeVar

import torch
from torch import Tensor

from synthspine.gen.core.anatomy import STRUCTURE_CODES, STRUCTURES
from synthspine.gen.core.counter_rng import SampleRandom
from synthspine.gen.core.drawing import Drawing, Feature
from synthspine.gen.core.feature import Batch
from synthspine.gen.core.masks import between, overpaint, per_sample

AnyBatch = TypeVar("AnyBatch", bound=Batch)


@dataclass(frozen=True, kw_only=True, slots=True)
class HiddenParams(Batch):
    """1 where each of ``STRUCTURES`` is hidden, else 0, ``(B, S)``."""

    hidden: Tensor

    def touched(self) -> Tensor:
        """Which samples it changes."""
        return self.hidden.any(1)


@dataclass(frozen=True, kw_only=True, slots=True)
class HiddenConfig(Feature[HiddenParams]):
    """Structures that the image does not show."""

    probability: float = 0.02
    """Probability, for each of vertebrae, discs and canal alone, that it is painted as background."""

    def sample(self, random: SampleRandom) -> HiddenParams:
        """Draw what is hidden."""
        names = (f"hidden_{structure}" for structure in STRUCTURES)
        hidden = [random.chance(name, self.probability) for name in names]
        return HiddenParams(hidden=torch.stack(hidden, dim=1).float())

    def settle(self, own: HiddenParams, drawing: Drawing) -> HiddenParams:
        """Hidden structures take away what the features say in ``hidden_with``."""
        for name, feature in drawing.features.items():
            if feature.hidden_with and (drawn := drawing.drawn[name]) is not None:
                drawing.drawn[name] = unless_hidden(drawn, own, *feature.hidden_with)
        return own


def hide(painted: Tensor, codes: Tensor, background: Tensor, params: HiddenParams | None) -> Tensor:
    """Paint hidden structures, with all that was painted into them, as ``background`` (painted codes)."""
    if params is None:
        return painted
    mask = torch.zeros_like(codes)
    for place, span in enumerate(STRUCTURE_CODES.values()):
        mask += per_sample(params.hidden[:, place].to(torch.uint8), codes) * between(codes, *span)
    return overpaint(painted, background, mask)


def unless_hidden(drawn: AnyBatch, params: HiddenParams, structure: str, *names: str) -> AnyBatch:
    """The parameters with their fields ``names``, ``(B,)``, set to 0 where the structure is hidden."""
    shown = 1 - params.hidden[:, STRUCTURES.index(structure)]
    return replace(drawn, **{name: getattr(drawn, name) * shown for name in names})
