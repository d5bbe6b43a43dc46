"""The studies: the inputs that models are measured on, each a set of slices and a change of them.

Conditions with an equal ``recipe`` have an equal input; the evaluation measures it once for all of them.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from torch import Tensor

from synthspine.eval.results.outcome import (
    CONTINUUM,
    CONTRAST,
    IN_PLANE,
    PHYSICAL,
    SYNTHETIC,
    THROUGH_PLANE,
    set_name,
)
from synthspine.eval.studies.batches import Batch, SliceBatches, spread_over_patients
from synthspine.eval.studies.continuum import RENDER_SEED, MapsToRender, between_t1_and_t2, by_physics
from synthspine.eval.studies.corrupt import BIAS_CORRELATION_MM, CORRUPTION_SEED, corrupt
from synthspine.eval.studies.degrade import (
    Neighbours,
    common_slices,
    degrade,
    find_neighbours,
    reach_of,
    thicken,
)
from synthspine.eval.studies.options import CORRUPTION_STUDIES, EvaluationOptions
from synthspine.gen.config import config_hash
from synthspine.gen.core.anatomy import IGNORE

Load = Callable[[Tensor], tuple[Tensor, Tensor]]
"""Images, float32 ``(B, 1, H, W)``, and dense codes, uint8 ``(B, H, W)``, of slices, int64 ``(B,)``."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Condition:
    """An input of the models."""

    study: str  # an entry of eval.studies.options.STUDIES
    place: str  # the set: "t1", "t2", "t2_SPACE" or "synthetic"
    value: float  # factor, level, alpha or number of the protocol; 1 (resolution) or 0 without a change
    recipe: dict[str, Any]  # JSON-able; everything that the input depends on
    indices: list[int]  # slices of the set
    patients: list[str]  # of each slice
    volumes: list[str]  # of each slice: its series; a render is a volume of its own
    load: Load

    def batches(self, size: int) -> Iterator[Batch]:
        """The slices in order, ``size`` at once."""
        for start in range(0, len(self.indices), size):
            part = slice(start, start + size)
            image, codes = self.load(torch.tensor(self.indices[part]))
            yield image, codes, self.patients[part], self.volumes[part]


@dataclass(frozen=True, kw_only=True, slots=True)
class Chosen:
    """The conditions of the chosen studies, and what cannot be measured."""

    conditions: list[Condition]  # study by study
    left_out: dict[str, str]  # study without any condition to the reason
    dropped: dict[str, str]  # study to the values that cannot be measured on some set, and why


def conditions(
    options: EvaluationOptions, sets: Mapping[str, SliceBatches], maps: MapsToRender | None
) -> Chosen:
    """All conditions of the chosen studies.

    ``sets`` holds the real slices by contrast, none empty; ``maps`` is None without label maps to render.
    """
    chosen = Chosen(conditions=[], left_out={}, dropped={})
    for study in options.chosen_studies:
        if study in (SYNTHETIC, CONTINUUM, PHYSICAL):
            found = _rendered(study, options, maps) if maps is not None else []
            reason = f"there is no label map of a {options.part} patient to render"
        else:
            found = [c for place, loaded in sets.items() for c in _real(study, place, loaded, options)]
            reason = "no slice has enough stored neighbours on both sides"
        chosen.conditions.extend(found)
        if not found:
            chosen.left_out[study] = reason
        elif study == THROUGH_PLANE and (missing := _too_thick(found, options.factors)):
            chosen.dropped[study] = missing
    return chosen


def _too_thick(found: Sequence[Condition], factors: Sequence[float]) -> str:
    """The factors without a slice on a set, and why, in one line; empty where there are none."""
    parts = []
    for place in dict.fromkeys(condition.place for condition in found):
        most = max(condition.value for condition in found if condition.place == place)
        beyond = [factor for factor in factors if factor > most]
        if beyond:
            parts.append(
                f"{', '.join(f'{factor:g}x' for factor in beyond)} on {set_name(place)}, where no slice has "
                f"{reach_of(beyond[0])} stored slices on both sides"
            )
    return "; ".join(parts)


def _real(study: str, place: str, loaded: SliceBatches, options: EvaluationOptions) -> list[Condition]:
    """Conditions of a study on one set of real slices."""
    many, few = options.per_patient
    indices = spread_over_patients(loaded.patients, many if study in (CONTRAST, IN_PLANE) else few)
    changes: list[tuple[float, dict[str, Any], Load]]
    if study == CONTRAST:
        changes = [(0.0, {}, loaded.at)]
    elif study == IN_PLANE:
        changes = [(f, {"in_plane": f}, partial(_degraded, loaded, f)) for f in options.factors]
    elif study == THROUGH_PLANE:
        neighbours = find_neighbours(loaded.records)
        common, factors = common_slices(neighbours, options.every_factor)
        indices = spread_over_patients(loaded.patients, few, common)
        thick = partial(_thick, loaded, neighbours)
        changes = [(f, {"through_plane": f}, partial(thick, f)) for f in options.ends(factors)]
    else:
        kind = CORRUPTION_STUDIES[study]
        how = {"kind": kind, "seed": CORRUPTION_SEED, "bias_mm": BIAS_CORRELATION_MM}
        levels = options.corruption_levels(kind)
        corrupted = partial(_corrupted, loaded, kind)
        changes = [(level, {**how, "level": level}, partial(corrupted, level)) for level in levels]
    identity = {"set": loaded.identity_hash, "labels": loaded.label_digest, "slices": indices}
    unchanged = 1.0 if study in (IN_PLANE, THROUGH_PLANE) else 0.0
    return [
        Condition(
            study=study,
            place=place,
            value=value,
            recipe={**identity, "change": None if value == unchanged else change},
            indices=indices,
            patients=[loaded.patients[index] for index in indices],
            volumes=[str(loaded.records[index]["source"]) for index in indices],
            load=load,
        )
        for value, change, load in changes
    ]


def _rendered(study: str, options: EvaluationOptions, maps: MapsToRender) -> list[Condition]:
    """Conditions of a study on rendered maps."""
    configs = {
        SYNTHETIC: lambda: {0.0: maps.config},
        CONTINUUM: lambda: between_t1_and_t2(maps.config, options.steps),
        PHYSICAL: lambda: by_physics(maps.config),
    }[study]()
    indices = spread_over_patients(maps.patients, options.per_patient[1])
    return [
        Condition(
            study=study,
            place=SYNTHETIC,
            value=value,
            recipe={
                "set": maps.identity_hash,
                "slices": indices,
                "render": {"generator": config_hash(config), "seed": RENDER_SEED},
            },
            indices=indices,
            patients=[maps.patients[index] for index in indices],
            volumes=[f"render {index}" for index in indices],
            load=partial(maps.rendered, config=config),
        )
        for value, config in configs.items()
    ]


def _degraded(loaded: SliceBatches, factor: float, indices: Tensor) -> tuple[Tensor, Tensor]:
    image, codes = loaded.at(indices)
    return degrade(image, factor), codes


def _thick(
    loaded: SliceBatches, neighbours: Neighbours, factor: float, indices: Tensor
) -> tuple[Tensor, Tensor]:
    _, codes = loaded.at(indices)
    return thicken(loaded.images, neighbours, factor, indices.tolist())[:, None], codes


def _corrupted(loaded: SliceBatches, kind: str, level: float, indices: Tensor) -> tuple[Tensor, Tensor]:
    image, codes = loaded.at(indices)
    # The grid is larger than the field of view; no scanner has noise or ghosts beyond it.
    inside = (codes != IGNORE)[:, None]
    return torch.where(inside, corrupt(image, kind, level, indices, loaded.spacing_mm), image), codes
