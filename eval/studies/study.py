"""The studies: which inputs the models are measured on, each as a set of slices and a change of them.

A condition says what the network sees and what it is scored against; equal ``recipe`` means equal input, so
that what several studies share (the unchanged slices) is measured once.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from torch import Tensor

from synthspine.eval.results.findings import (
    CONTINUUM,
    CONTRAST,
    IN_PLANE,
    PHYSICAL,
    SYNTHETIC,
    THROUGH_PLANE,
    set_name,
)
from synthspine.eval.studies.batches import SliceBatches, spread_over_patients
from synthspine.eval.studies.continuum import Look, MapsToRender, between_t1_and_t2, by_physics
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
from synthspine.gen.core.anatomy import IGNORE

Load = Callable[[Tensor], tuple[Tensor, Tensor]]
Batch = tuple[Tensor, Tensor, list[str], list[str]]


@dataclass(frozen=True, kw_only=True, slots=True)
class Condition:
    """What a model is measured on.

    Attributes:
        study: an entry of ``eval.studies.options.STUDIES``.
        place: the set: ``"t1"``, ``"t2"``, ``"t2_SPACE"`` or ``"synthetic"``.
        value: factor, level, alpha or number of the protocol; 1 (resolution) or 0 where nothing is changed.
        recipe: JSON-able; everything that the input depends on.
        indices: slices of the set.
        patients: patient of each.
        volumes: the volume that each is a slice of: its series; a render is a volume of its own.
        load: images, float32 ``(B, 1, H, W)``, and dense codes, uint8 ``(B, H, W)``, of slices, int64
            ``(B,)``.
    """

    study: str
    place: str
    value: float
    recipe: dict[str, Any]
    indices: list[int]
    patients: list[str]
    volumes: list[str]
    load: Load

    def batches(self, size: int) -> Iterator[Batch]:
        """The slices ``(image, codes, patients, volumes)`` in order, ``size`` at once."""
        for start in range(0, len(self.indices), size):
            part = slice(start, start + size)
            indices = self.indices[part]
            image, codes = self.load(torch.tensor(indices))
            yield image, codes, self.patients[part], self.volumes[part]


@dataclass(frozen=True, kw_only=True, slots=True)
class Chosen:
    """What is measured, and what of that which was asked for is not.

    Attributes:
        conditions: study by study.
        left_out: study to the reason why nothing of it can be measured.
        dropped: study to the values that cannot be measured on some set, and why.
    """

    conditions: list[Condition]
    left_out: dict[str, str]
    dropped: dict[str, str]


def conditions(
    options: EvaluationOptions, sets: Mapping[str, SliceBatches], maps: MapsToRender | None
) -> Chosen:
    """All conditions that were asked for.

    Args:
        options: the studies and their levels.
        sets: the real slices by contrast, each with slices.
        maps: the label maps to render; None where there are none.
    """
    chosen: list[Condition] = []
    left_out: dict[str, str] = {}
    dropped: dict[str, str] = {}
    for study in options.chosen_studies:
        if study in (SYNTHETIC, CONTINUUM, PHYSICAL):
            found = _rendered(study, options, maps) if maps is not None else []
            reason = f"there is no label map of a {options.part} patient to render"
        else:
            found = [c for place, loaded in sets.items() for c in _real(study, place, loaded, options)]
            reason = "no slice has stored neighbours enough on both sides"
        chosen += found
        if not found:
            left_out[study] = reason
        elif study == THROUGH_PLANE and (missing := _too_thick(found, options.factors)):
            dropped[study] = missing
    return Chosen(conditions=chosen, left_out=left_out, dropped=dropped)


def _too_thick(found: Sequence[Condition], factors: Sequence[float]) -> str:
    """The factors that sets have no slice for, and why, in a line; empty where there are none."""
    measured: dict[str, set[float]] = {}
    for condition in found:
        measured.setdefault(condition.place, set()).add(condition.value)
    parts = []
    for place, values in measured.items():
        lacking = [factor for factor in factors if factor > max(values)]
        if lacking:
            parts.append(
                f"{', '.join(f'{factor:g}x' for factor in lacking)} on {set_name(place)}, where no slice has "
                f"{reach_of(lacking[0])} stored slices on both sides"
            )
    return "; ".join(parts)


def _real(study: str, place: str, loaded: SliceBatches, options: EvaluationOptions) -> list[Condition]:
    """Conditions of a study on one set of real slices."""
    many, few = options.per_patient
    everything = spread_over_patients(loaded.patients, many)
    some = spread_over_patients(loaded.patients, few)
    make = partial(_on_real, study, place, loaded)
    if study == CONTRAST:
        return [make(0.0, everything, None, loaded.at)]
    if study == IN_PLANE:
        return [
            make(
                factor,
                everything,
                {"in_plane": factor} if factor > 1 else None,
                partial(_degraded, loaded, factor),
            )
            for factor in options.factors
        ]
    if study == THROUGH_PLANE:
        neighbours = find_neighbours(loaded.records)
        common, factors = common_slices(neighbours, options.every_factor)
        inner = spread_over_patients(loaded.patients, few, common)
        return [
            make(
                factor,
                inner,
                {"through_plane": factor} if factor > 1 else None,
                partial(_thick, loaded, neighbours, factor),
            )
            for factor in options.ends(factors)
        ]
    kind = CORRUPTION_STUDIES[study]
    how = {"kind": kind, "seed": CORRUPTION_SEED, "bias_mm": BIAS_CORRELATION_MM}
    return [
        make(
            level,
            some,
            {**how, "level": level} if level > 0 else None,
            partial(_corrupted, loaded, kind, level),
        )
        for level in options.corruption_levels(kind)
    ]


def _on_real(
    study: str,
    place: str,
    loaded: SliceBatches,
    value: float,
    indices: list[int],
    change: dict[str, Any] | None,
    load: Load,
) -> Condition:
    identity = {"set": loaded.identity_hash, "labels": loaded.label_digest}
    return Condition(
        study=study,
        place=place,
        value=value,
        recipe={**identity, "slices": indices, "change": change},
        indices=indices,
        patients=_of(loaded.patients, indices),
        volumes=[str(loaded.records[index]["source"]) for index in indices],
        load=load,
    )


def _rendered(study: str, options: EvaluationOptions, maps: MapsToRender) -> list[Condition]:
    """Conditions of a study on rendered maps."""
    looks = {
        SYNTHETIC: lambda: [Look(0.0, maps.config)],
        CONTINUUM: lambda: between_t1_and_t2(maps.config, options.steps),
        PHYSICAL: lambda: by_physics(maps.config),
    }[study]()
    indices = spread_over_patients(maps.patients, options.per_patient[1])
    return [
        Condition(
            study=study,
            place=SYNTHETIC,
            value=look.value,
            recipe={"set": maps.identity_hash, "slices": indices, "render": look.to_json()},
            indices=indices,
            patients=_of(maps.patients, indices),
            volumes=[f"render {index}" for index in indices],
            load=partial(maps.rendered, config=look.config),
        )
        for look in looks
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


def _of(patients: Sequence[str], indices: Sequence[int]) -> list[str]:
    return [patients[index] for index in indices]
