"""The sets of the measured patients: real slices by contrast, maps to render, of one part of the split."""

from collections.abc import Callable

import torch

from synthspine.eval.results.outcome import CONTINUA, SYNTHETIC, TEST, VALIDATION, set_name
from synthspine.eval.studies.batches import SliceBatches
from synthspine.eval.studies.continuum import MapsToRender
from synthspine.eval.studies.models import EvaluationError
from synthspine.eval.studies.options import EvaluationOptions
from synthspine.shards.building.sets import (
    LABELS_TEST,
    LABELS_VAL,
    TEST_IMAGES,
    VALIDATION_IMAGES,
    ensure_sets,
)
from synthspine.shards.format.manifest import has_manifest, load_manifest
from synthspine.shards.readers.folder import has_layout

REQUIRED = ("t1", "t2")
"""Contrasts whose sets are made where they are missing; the others are measured if they can be had."""
RENDERED = (SYNTHETIC, *CONTINUA)
"""Studies on rendered maps."""
PARTS = {VALIDATION: (VALIDATION_IMAGES, LABELS_VAL), TEST: (TEST_IMAGES, LABELS_TEST)}
"""Sets of images by contrast, and set of label maps, by part of the split."""

Sets = dict[str, SliceBatches]


def open_sets(
    options: EvaluationOptions, device: torch.device, say: Callable[[str], None]
) -> tuple[Sets, MapsToRender | None, dict[str, str]]:
    """The sets that the chosen studies need; those that are missing are built first.

    Returns:
        Real slices by contrast, each with slices; the maps to render, None if no study needs them or there
        are none; the contrasts and maps that are not there, and why.

    Raises:
        EvaluationError: there is no slice at all, though a study needs some.
        ShardError, SpiderError: the sets cannot be built or read.
    """
    images, labels = PARTS[options.part]
    rendered = [study in RENDERED for study in options.chosen_studies]
    wanted = images if not all(rendered) else {}
    wanted = wanted | ({SYNTHETIC: labels} if any(rendered) else {})
    names = {place: name for place, name in wanted.items() if place in REQUIRED or _can_be_had(name, options)}
    folders = ensure_sets(names.values(), options.shards)
    sets: Sets = {}
    maps: MapsToRender | None = None
    left_out: dict[str, str] = {}
    for place, name in wanted.items():
        opened: SliceBatches | MapsToRender | None = None
        if place not in names:
            left_out[place] = f"{options.shards.place / name} is not there"
        elif place == SYNTHETIC:
            opened = maps = MapsToRender(folders[name], options.shards.generator(), device)
        else:
            opened = sets[place] = SliceBatches(folders[name], options.batch_size, device)
        if opened is not None and not opened.slices:
            left_out[place] = f"{opened.place} holds no slices"
    for place, reason in left_out.items():
        say(f"{set_name(place)} is left out: {reason}")
    sets = {place: loaded for place, loaded in sets.items() if loaded.slices}
    if not sets and not all(rendered):
        raise EvaluationError(
            f"{options.shards.data_dir}: no image of a {options.part} patient in {options.shards.split_file}"
        )
    return sets, maps if maps is not None and maps.slices else None, left_out


def _can_be_had(name: str, options: EvaluationOptions) -> bool:
    """Whether a set is there or can be made.

    Where the sets came from elsewhere, without the data, the phantom must not step in for one that lacks.
    """
    shards = options.shards
    sources = (shards.data_dir, shards.labels_dir)
    if has_manifest(shards.place / name) or shards.use_dummy_data:
        return True
    if any(path is not None and has_layout(path) for path in sources):
        return True
    there = [shards.place / PARTS[options.part][0][place] for place in REQUIRED]
    return all(load_manifest(place).phantom for place in there if has_manifest(place))
