"""The whole evaluation: from models and sets to measurements, overlays and the report."""

import shlex
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path

from synthspine.eval.metrics.structures import shared_structures
from synthspine.eval.metrics.table import METRICS, RATES
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
from synthspine.gen.config import flat
from synthspine.gen.core.device import pick_device
from synthspine.gen.core.schemes import LabelScheme
from synthspine.progress import progress_bar
from synthspine.shards.format.provenance import digest_of
from synthspine.shards.storage.auth import without_credentials

Log = Callable[[str], None]


def evaluate(options: EvaluationOptions, log: Log = print) -> list[Path]:
    """Measure the models on the sets of the chosen part of the split, and write measurements and report.

    ``log`` takes one line per message. Returned are the files that were written, those of the report last.

    Raises:
        EvaluationError: no model exists, or there is nothing to measure.
        StructureError: the models share no structure.
        MetricError: a metric gives no usable value.
        CheckpointError: a checkpoint is damaged, or has another number of classes than the options.
        ShardError, SpiderError: the sets cannot be built or read.
        OSError: something cannot be written.
    """
    began = time.monotonic()
    device = pick_device(options.shards.device)
    candidates, missing = load_candidates(options, device, log)
    structures = shared_structures({candidate.name: candidate.model.scheme for candidate in candidates})
    refined = any(candidate.model.scheme.is_refined for candidate in candidates)
    sets, maps, left_out = open_sets(options, device, log, refined=refined)
    opened: dict[str, SliceBatches | MapsToRender] = {**sets, **({} if maps is None else {SYNTHETIC: maps})}
    for candidate in candidates:
        for loaded in opened.values():
            candidate.check_set(loaded.patients, loaded.spacing_mm)
    chosen = conditions(options, sets, maps)
    for study, reason in chosen.left_out.items():
        log(f"study {study} is left out: {reason}")
    for study, values in chosen.dropped.items():
        log(f"study {study} is not measured at {values}")
    if not chosen.conditions:
        raise EvaluationError(f"nothing to measure: {'; '.join(chosen.left_out.values())}")
    cache = Cache(options.output_dir / "cache", fresh=options.fresh)
    spacing_mm = next(iter(opened.values())).spacing_mm
    measurements, cached = _measure(
        candidates, structures, chosen.conditions, cache, options, spacing_mm, log
    )
    used = {condition.place for condition in chosen.conditions}
    outcome = Outcome(
        command=without_credentials(shlex.join([*sys.argv[0].split(" "), *sys.argv[1:]])),
        options={name: _as_text(value) for name, value in flat(asdict(options)).items()},
        versions=versions(),
        made=datetime.now(UTC).isoformat(timespec="seconds"),
        overlays=draw_cases(candidates, chosen.conditions, sets, cache, options, structures),
        seconds=round(time.monotonic() - began, 1),
        cached=cached,
        part=options.part,
        compare=options.model == "compare",
        models={candidate.name: candidate.facts for candidate in candidates},
        missing=dict(missing),
        left_out=left_out | chosen.left_out,
        dropped=chosen.dropped,
        sets={place: _facts(loaded) for place, loaded in opened.items() if place in used},
        structures=structures.to_dict()["structures"],
        metrics={key: metric.written() for key, metric in METRICS.items()},
        rates={key: rate.written() for key, rate in RATES.items()},
        physical={f"{number}.0": name for number, name in enumerate(PROTOCOLS)},
        measurements=measurements,
    ).to_json()
    written = [write_outcome(outcome, options.output_dir), *write_report(outcome, options.output_dir)]
    if options.refresh_analysis is not None:
        for line in refresh(options.refresh_analysis, outcome):
            log(line)
    return written


def _measure(
    candidates: Sequence[Candidate],
    structures: LabelScheme,
    chosen: Sequence[Condition],
    cache: Cache,
    options: EvaluationOptions,
    spacing_mm: float,
    log: Log,
) -> tuple[list[Measurement], int]:
    """Every model under every condition, each input once; and the number of inputs in the cache."""
    device = pick_device(options.shards.device)
    jobs = [(candidate, condition) for candidate in candidates for condition in chosen]
    # The identity of each input; equal inputs of two studies have the same.
    keys = [
        {
            "what": "measurement",
            "part": options.part,
            "checkpoint": candidate.facts.sha256,
            "input": condition.recipe,
            "structures": structures.to_dict(),
            "metrics": [*METRICS, *RATES],
            # The last bits of convolutions differ between CPU and GPU.
            "device": device.type,
        }
        for candidate, condition in jobs
    ]
    names = [digest_of(key) for key in keys]
    found = {name: cache.find(key) for name, key in zip(names, keys, strict=True)}
    known = {name: value for name, value in found.items() if value is not None}
    cached = len(known)
    if cached:
        log(f"{cached} of {len(found)} measurements come from the cache; --fresh makes them again")
    waiting = {name: place for place, name in enumerate(names) if name not in known}
    slices = sum(len(jobs[place][1].indices) for place in waiting.values())
    with progress_bar(total=slices, desc="evaluate", unit="slice", disable=not slices) as bar:
        for name, place in waiting.items():
            candidate, condition = jobs[place]
            bar.set_postfix_str(
                f"{candidate.name} {set_name(condition.place)} {condition.study}", refresh=False
            )
            batches = condition.batches(options.batch_size)
            known[name] = measure(
                candidate.model,
                batches,
                device,
                spacing_mm=spacing_mm,
                structures=structures,
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


def _as_text(value: object) -> str:
    text = ", ".join(map(str, value)) if isinstance(value, tuple) else str(value)
    return str(without_credentials(text))
