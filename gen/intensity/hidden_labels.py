"""Hidden labels: a structure is painted as background, yet asked for.

Practice of SynthSeg and lab2im: a network that sees a structure vanish now and then learns where it lies
from what surrounds it, and does not lean on one structure to find another. The target is not changed: the
picture shows background where the label says vertebra, disc or canal.
"""

from dataclasses import dataclass, replace

import torch
from torch import Tensor

from synthspine.gen.core.anatomy import CANAL, STRUCTURES
from synthspine.gen.core.counter_rng import SampleRandom
from synthspine.gen.core.feature import Batch, check
from synthspine.gen.core.masks import between, has_code, overpaint, per_sample
from synthspine.gen.intensity.cortex import CortexParams
from synthspine.gen.intensity.posterior_arch import ArchParams
from synthspine.gen.tissues.canal import EpiduralFatParams, FatPadsParams
from synthspine.gen.tissues.palette import DISCS, VERTEBRAE


@dataclass(frozen=True, kw_only=True, slots=True)
class HiddenConfig:
    """Structures that the picture does not show."""

    probability: float = 0.02
    """Probability, for each of vertebrae, discs and canal alone, that it is painted as background."""

    def __post_init__(self) -> None:
        check(self)


@dataclass(frozen=True, kw_only=True, slots=True)
class HiddenParams(Batch):
    """Which structures are hidden.

    Attributes:
        hidden: 1 where vertebrae, discs, canal (``STRUCTURES``) are not shown, else 0, ``(B, 3)``.
    """

    hidden: Tensor


def draw_hidden(config: HiddenConfig, random: SampleRandom) -> HiddenParams | None:
    """Draw what is hidden; None if nothing ever is."""
    if config.probability == 0:
        return None
    names = (f"hidden_{structure}" for structure in STRUCTURES)
    hidden = [random.chance(name, config.probability) for name in names]
    return HiddenParams(hidden=torch.stack(hidden, dim=1).float())


def hide(painted: Tensor, codes: Tensor, background: Tensor, params: HiddenParams | None) -> Tensor:
    """Paint hidden structures as background, with all that was painted into them.

    Args:
        painted: painted codes, uint8, shape ``(B, *grid)``.
        codes: dense codes, the same shape.
        background: painted codes of a background that knows no structure, the same shape.
        params: which structures are hidden; None for none.

    Returns:
        Painted codes, uint8, shape ``(B, *grid)``.
    """
    if params is None:
        return painted
    vertebra, disc, canal = (per_sample(hidden.to(torch.uint8), codes) for hidden in params.hidden.unbind(1))
    mask = (
        vertebra * between(codes, VERTEBRAE.start, VERTEBRAE.stop - 1)
        + disc * between(codes, DISCS.start, DISCS.stop - 1)
        + canal * has_code(codes, CANAL)
    )
    return overpaint(painted, background, mask)


def without_fat(fat: EpiduralFatParams | None, params: HiddenParams | None) -> EpiduralFatParams | None:
    """The epidural fat, without that around a hidden canal."""
    if fat is None or params is None:
        return fat
    return replace(fat, share=fat.share * (1 - params.hidden[:, STRUCTURES.index("canal")]))


def without_pads(pads: FatPadsParams | None, params: HiddenParams | None) -> FatPadsParams | None:
    """The fat pads, without those behind a hidden canal."""
    if pads is None or params is None:
        return pads
    return replace(pads, thickness_mm=pads.thickness_mm * (1 - params.hidden[:, STRUCTURES.index("canal")]))


def without_arches(arches: ArchParams | None, params: HiddenParams | None) -> ArchParams | None:
    """How arches are mixed, not at all where vertebrae are hidden: no soft spot may betray them."""
    if arches is None or params is None:
        return arches
    shown = 1 - params.hidden[:, STRUCTURES.index("vertebra")]
    return replace(arches, blur_mm=arches.blur_mm * shown, through=arches.through * shown)


def without_lines(cortex: CortexParams | None, params: HiddenParams | None) -> CortexParams | None:
    """The lines on borders, without those around hidden structures: no line may betray what is hidden.

    End plates belong to vertebrae.
    """
    if cortex is None or params is None:
        return cortex
    shown = 1 - params.hidden
    plates = cortex.end_plates
    if plates is not None:
        plates = replace(plates, strength=plates.strength * shown[:, STRUCTURES.index("vertebra")])
    return replace(cortex, strength=cortex.strength * shown, end_plates=plates)
