"""The whole evaluation: models and sets in; measurements, overlays and the report out."""

import shlex
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import fields
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import torch
from tqdm import tqdm

from synthspine.eval.metrics.overlap import AGGREGATION, DISTANCE_AGGREGATION
from synthspine.eval.report.analysis_tables import refresh
from synthspine.eval.report.pictures import draw_cases
from synthspine.eval.report.report import write_report
from synthspine.eval.results.cache import Cache, versions
from synthspine.eval.results.measurement import Measurement
from synthspine.eval.results.outcome import SYNTHETIC, Outcome, SetFacts, set_name, write_outcome
from synthspine.eval.studies.batches import SliceBatches
from synthspine.eval.studies.continuum import PROTOCOLS, MapsToRender
from synthspine.eval.studies.measure import measure
from synthspine.eval.studies.measured_sets import open_sets
from synthspine.eval.studies.models import Candidate, EvaluationError, load_candidates
from synthspine.eval.studies.options import EvaluationOptions
from synthspine.eval.studies.study import Condition, conditions
from synthspine.gen.core.device import pick_device
from synthspine.shards.format.provenance import digest_of

Say = Callable[[str], None]


def evaluate(options: EvaluationOptions, say: Say = print) -> list[Path]:
    """Measure the models that are there, on the sets of the chosen part of the split; write everything.

    Args:
        options: which models, on what, where to.
        say: takes one line for every thing that is worth telling.

    Returns:
        The files that were written, those of the report last.

    Raises:
        EvaluationError: none of the models is there, or there is nothing to measure them on.
        CheckpointError: a checkpoint is damaged, or has another number of classes than was asked for.
        ShardError, SpiderError: the sets cannot be built or read.
        OSError: something cannot be written.
    """
    began = time.monotonic()
    device = pick_device(options.shards.device)
    candidates, missing = load_candidates(options, device, say)
    sets, maps, left_out = open_sets(options, device, say)
    measured: list[SliceBatches | MapsToRender] = list(sets.values())
    measured += [] if maps is None else [maps]
    for candidate in candidates:
        for loaded in measured:
            candidate.refuse_patients(loaded.patients)
            candidate.refuse_spacing(loaded.spacing_mm)
    wanted = conditions(options, sets, maps)
    chosen = wanted.conditions
    for study, reason in wanted.left_out.items():
        say(f"study {study} is left out: {reason}")
    for study, what in wanted.dropped.items():
        say(f"study {study} is not measured at {what}")
    if not chosen:
        raise EvaluationError(f"nothing to measure: {'; '.join(wanted.left_out.values())}")
    cache = Cache(options.output_dir / "cache", fresh=options.fresh)
    measurements, cached = _measure(candidates, chosen, cache, options, device, measured[0].spacing_mm, say)
    overlays = draw_cases(
        candidates,
        chosen,
        sets,
        cache,
        options.output_dir,
        count=options.overlays,
        batch_size=options.batch_size,
    )
    used = {condition.place for condition in chosen}
    facts = {place: _facts(loaded) for place, loaded in sets.items() if place in used}
    if maps is not None and SYNTHETIC in used:
        facts[SYNTHETIC] = _facts(maps)
    outcome = Outcome(
        command=shlex.join(sys.argv),
        options={name: _text(value) for name, value in _chosen(options).items()},
        versions=versions(),
        made=datetime.now(UTC).isoformat(timespec="seconds"),
        seconds=round(time.monotonic() - began, 1),
        cached=cached,
        part=options.part,
        compare=options.model == "compare",
        models={candidate.name: candidate.facts for candidate in candidates},
        missing=dict(missing),
        left_out=left_out | wanted.left_out,
        dropped=wanted.dropped,
        sets=facts,
        physical={f"{number}.0": name for number, name in enumerate(PROTOCOLS)},
        aggregation=f"{AGGREGATION}; {DISTANCE_AGGREGATION}",
        measurements=measurements,
        overlays=overlays,
    )
    told = outcome.to_json()
    written = [write_outcome(told, options.output_dir), *write_report(told, options.output_dir)]
    if options.refresh_analysis is not None:
        for line in refresh(options.refresh_analysis, told):
            say(line)
    return written


def _measure(
    candidates: Sequence[Candidate],
    chosen: Sequence[Condition],
    cache: Cache,
    options: EvaluationOptions,
    device: torch.device,
    spacing_mm: float,
    say: Say,
) -> tuple[list[Measurement], int]:
    """Every model under every condition, each input once; and how many of them the cache knew."""
    jobs = [(candidate, condition) for candidate in candidates for condition in chosen]
    keys = [_key(candidate, condition, options.part, device) for candidate, condition in jobs]
    names = [digest_of(key) for key in keys]
    known: dict[str, Any] = {}
    for key, name in zip(keys, names, strict=True):
        if name not in known and (value := cache.find(key)) is not None:
            known[name] = value
    cached = len(known)
    if cached:
        say(f"{cached} of {len(set(names))} measurements come from the cache; --fresh makes them again")
    waiting = {name: place for place, name in enumerate(names) if name not in known}
    slices = sum(len(jobs[place][1].indices) for place in waiting.values())
    with tqdm(total=slices, desc="evaluate", unit="slice", file=sys.stderr, disable=not slices) as bar:
        for name, place in waiting.items():
            candidate, condition = jobs[place]
            bar.set_postfix_str(f"{candidate.name} {set_name(condition.place)} {condition.study}")
            known[name] = measure(
                candidate.model,
                condition.batches(options.batch_size),
                device,
                spacing_mm=spacing_mm,
                progress=bar.update,
            )
            cache.keep(keys[place], known[name])
    measurements = [
        Measurement(
            study=condition.study,
            model=candidate.name,
            set=condition.place,
            value=condition.value,
            patients=known[name],
        )
        for (candidate, condition), name in zip(jobs, names, strict=True)
    ]
    return measurements, cached


def _key(candidate: Candidate, condition: Condition, part: str, device: torch.device) -> dict[str, Any]:
    """The identity of a measurement, to which the cache adds code and versions.

    Equal inputs of two studies have the same key.
    """
    return {
        "what": "measurement",
        "part": part,
        "checkpoint": candidate.facts.sha256,
        "input": condition.recipe,
        # The last bits of convolutions differ between the two.
        "device": device.type,
    }


def _facts(loaded: SliceBatches | MapsToRender) -> SetFacts:
    return SetFacts(
        folder=str(loaded.place),
        identity_hash=loaded.identity_hash,
        label_digest=loaded.label_digest,
        patients=len(set(loaded.patients)),
        slices=loaded.slices,
        phantom=loaded.phantom,
        spacing_mm=loaded.spacing_mm,
        generator_hash=loaded.generator_hash if isinstance(loaded, MapsToRender) else None,
    )


def _chosen(options: Any) -> dict[str, Any]:
    """Options by name, those of groups with the group's name before a dot."""
    values: dict[str, Any] = {}
    for each in fields(options):
        value = getattr(options, each.name)
        if hasattr(value, "__dataclass_fields__"):
            values |= {f"{each.name}.{name}": entry for name, entry in _chosen(value).items()}
        else:
            values[each.name] = value
    return values


def _text(value: Any) -> str:
    return ", ".join(map(str, value)) if isinstance(value, tuple) else str(value)
