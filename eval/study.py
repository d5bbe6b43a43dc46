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

from eval.batches import SliceBatches, spread_over_patients
from eval.continuum import Look, ValidationMaps, between_t1_and_t2, by_physics
from eval.corrupt import BIAS_CORRELATION_MM, CORRUPTION_SEED, corrupt
from eval.degrade import degrade
from eval.findings import CONTINUUM, CONTRAST, IN_PLANE, PHYSICAL, SYNTHETIC, THROUGH_PLANE
from eval.options import CORRUPTION_STUDIES, EvaluationOptions
from eval.thick_slices import Neighbours, find_neighbours, inner_slices, thicken
from gen.anatomy import IGNORE

Load = Callable[[Tensor], tuple[Tensor, Tensor]]
Batch = tuple[Tensor, Tensor, list[str]]


@dataclass(frozen=True, kw_only=True, slots=True)
class Condition:
    """What a model is measured on.

    Attributes:
        study: an entry of ``eval.options.STUDIES``.
        place: the set: ``"t1"``, ``"t2"``, ``"t2_SPACE"`` or ``"synthetic"``.
        value: factor, level, alpha or number of the protocol; 1 (resolution) or 0 where nothing is changed.
        recipe: JSON-able; everything that the input depends on.
        indices: slices of the set.
        patients: patient of each.
        load: images, float32 ``(B, 1, H, W)``, and dense codes, uint8 ``(B, H, W)``, of slices, int64
            ``(B,)``.
    """

    study: str
    place: str
    value: float
    recipe: dict[str, Any]
    indices: list[int]
    patients: list[str]
    load: Load

    @property
    def volumes(self) -> bool:
        """Whether the slices of a patient are of one volume; every render is a picture of its own."""
        return self.place != SYNTHETIC

    def batches(self, size: int) -> Iterator[Batch]:
        """The slices ``(image, codes, patients)`` in order, ``size`` at once."""
        for start in range(0, len(self.indices), size):
            part = slice(start, start + size)
            indices = self.indices[part]
            image, codes = self.load(torch.tensor(indices))
            yield image, codes, self.patients[part]


def conditions(
    options: EvaluationOptions, sets: Mapping[str, SliceBatches], maps: ValidationMaps | None
) -> tuple[list[Condition], dict[str, str]]:
    """All conditions that were asked for, study by study, and why a study is not among them.

    Args:
        options: the studies and their levels.
        sets: the real slices by contrast, each with slices.
        maps: the label maps to render; None where there are none.
    """
    chosen: list[Condition] = []
    left_out: dict[str, str] = {}
    for study in options.chosen_studies:
        if study in (SYNTHETIC, CONTINUUM, PHYSICAL):
            found = _rendered(study, options, maps) if maps is not None else []
            reason = "there is no label map of a validation patient to render"
        else:
            found = [c for place, loaded in sets.items() for c in _real(study, place, loaded, options)]
            reason = "no slice has a stored neighbour on both sides"
        chosen += found
        if not found:
            left_out[study] = reason
    return chosen, left_out


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
        inner = spread_over_patients(loaded.patients, few, inner_slices(neighbours))
        return [
            make(
                factor,
                inner,
                {"through_plane": factor} if factor > 1 else None,
                partial(_thick, loaded, neighbours, factor),
            )
            for factor in options.factors
            if inner
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
        load=load,
    )


def _rendered(study: str, options: EvaluationOptions, maps: ValidationMaps) -> list[Condition]:
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
