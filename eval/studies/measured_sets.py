"""The sets of one part of the split: real slices by contrast, and label maps to render."""

from collections.abc import Callable

import torch

from synthspine.eval.results.outcome import CONTINUA, SYNTHETIC, TEST, VALIDATION, set_name
from synthspine.eval.studies.batches import SliceBatches
from synthspine.eval.studies.continuum import MapsToRender
from synthspine.eval.studies.models import EvaluationError
from synthspine.eval.studies.options import EvaluationOptions
from synthspine.shards.building.names import LABELS_TEST, LABELS_VAL, TEST_IMAGES, VALIDATION_IMAGES
from synthspine.shards.building.sets import ensure_sets
from synthspine.shards.format.manifest import has_manifest, load_manifest
from synthspine.shards.readers.layouts import fitting

REQUIRED = ("t1", "t2")
"""Contrasts whose sets are built where they are missing; the others are measured where they are available."""
RENDERED = (SYNTHETIC, *CONTINUA)
"""Studies on rendered maps."""
PARTS = {VALIDATION: (VALIDATION_IMAGES, LABELS_VAL), TEST: (TEST_IMAGES, LABELS_TEST)}
"""Sets of images by contrast, and the set of label maps, by part of the split."""


def open_sets(
    options: EvaluationOptions, device: torch.device, log: Callable[[str], None], *, refined: bool = False
) -> tuple[dict[str, SliceBatches], MapsToRender | None, dict[str, str]]:
    """The sets of the chosen studies, with refined codes on request; missing ones are built first.

    Returns:
        Real slices by contrast, each with slices; the maps to render, None if no study needs them or there
        are none; the missing contrasts and maps with the reason.

    Raises:
        EvaluationError: a study needs slices, and there are none.
        ShardError, SpiderError: the sets cannot be built or read.
    """
    images, labels = PARTS[options.part]
    rendered = [study in RENDERED for study in options.chosen_studies]
    wanted = ({} if all(rendered) else images) | ({SYNTHETIC: labels} if any(rendered) else {})
    names = {
        place: name for place, name in wanted.items() if place in REQUIRED or _is_available(name, options)
    }
    missing = {place: name for place, name in wanted.items() if place not in names}
    left_out = {place: f"{options.shards.place / name} is not there" for place, name in missing.items()}
    folders = ensure_sets(names.values(), options.shards)
    sets, maps = {}, None
    for place, name in names.items():
        opened: SliceBatches | MapsToRender
        if place == SYNTHETIC:
            opened = maps = MapsToRender(folders[name], options.shards.generator(), device, refined=refined)
        else:
            opened = sets[place] = SliceBatches(folders[name], options.batch_size, device, refined=refined)
        if not opened.slices:
            left_out[place] = f"{opened.place} holds no slices"
    for place, reason in left_out.items():
        log(f"{set_name(place)} is left out: {reason}")
    sets = {place: loaded for place, loaded in sets.items() if loaded.slices}
    if not sets and not all(rendered):
        raise EvaluationError(
            f"{options.shards.data_dir}: no image of a {options.part} patient in {options.shards.split_file}"
        )
    return sets, maps if maps is not None and maps.slices else None, left_out


def _is_available(name: str, options: EvaluationOptions) -> bool:
    """Whether a set exists or can be built.

    The phantom must not replace a missing set where the other sets hold real data from elsewhere.
    """
    shards = options.shards
    sources = (shards.data_dir, shards.labels_dir)
    if has_manifest(shards.place / name) or shards.use_dummy_data:
        return True
    if any(path is not None and fitting(path) for path in sources):
        return True
    there = [shards.place / PARTS[options.part][0][place] for place in REQUIRED]
    return all(load_manifest(place).phantom for place in there if has_manifest(place))
