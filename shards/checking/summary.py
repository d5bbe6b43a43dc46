"""Summary of a set: the entries of its manifest, statistics of its samples, and a contact sheet."""

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from synthspine.gen.config import config_hash
from synthspine.gen.core import anatomy
from synthspine.gen.core.anatomy import CODES, IGNORE, MAX_RANK, SACRUM, STRUCTURES
from synthspine.gen.presets import PRESETS, preset
from synthspine.shards.checking.contact_sheet import write_contact_sheet
from synthspine.shards.checking.verify import find_sets
from synthspine.shards.format.manifest import FORMAT, VERSION, has_manifest
from synthspine.shards.format.sample import Sample, ShardError, sample_key
from synthspine.shards.reading.open import ShardSet, open_set
from synthspine.shards.storage.opening import open_place
from synthspine.shards.storage.place import Place

DEFAULT_SHEETS = Path("results/shards")
NOT_ANNOTATED = "not annotated"


@dataclass(kw_only=True, slots=True, eq=False)
class Survey:
    """Samples of a set, and statistics of the shards that hold them.

    Attributes:
        shards: the set.
        chosen: samples spread evenly over the set.
        seen: number of samples in the shards that were read.
        patients: number of samples by patient.
        contrasts: number of samples by contrast, which is "rendered" for rendered samples.
        codes: number of pixels by dense code, int64 ``(256,)``.
        values: number, sum and sum of squares of the pixels of images, float64 ``(3,)``.
    """

    shards: ShardSet
    chosen: list[Sample] = field(default_factory=list)
    seen: int = 0
    patients: Counter[str] = field(default_factory=Counter)
    contrasts: Counter[str] = field(default_factory=Counter)
    codes: np.ndarray = field(default_factory=lambda: np.zeros(CODES, dtype=np.int64))
    values: np.ndarray = field(default_factory=lambda: np.zeros(3))

    def add(self, sample: Sample) -> None:
        """Include a sample in the statistics."""
        self.seen += 1
        self.patients[str(sample.record.get("patient"))] += 1
        self.contrasts[str(sample.record.get("contrast", "rendered") or "unknown")] += 1
        self.codes += np.bincount(sample.label.ravel(), minlength=CODES)
        if sample.image is not None:
            image = sample.image.astype(np.float64)
            self.values += image.size, image.sum(), np.square(image).sum()


def inspect_set(where: str | Path, output: Path | None = None, samples: int = 16) -> None:
    """Print a summary of a set, and write a contact sheet of some samples unless the set is empty.

    The PNG goes to ``results/shards`` by default, under the name of the set. Only the shards that hold the
    samples are read. Raises the errors of :func:`survey` and
    :func:`shards.checking.contact_sheet.write_sheet`.
    """
    found = survey(where, samples)
    for name, text in facts(found):
        print(f"{name:<15} {text}")
    if found.chosen:
        manifest = found.shards.manifest
        output = output or DEFAULT_SHEETS / f"{manifest.name}.png"
        title = f"{manifest.name}{' (phantom)' if manifest.phantom else ''}"
        number = f"{len(found.chosen)} of {manifest.samples} samples"
        print(f"{'sheet':<15} {write_contact_sheet(found.chosen, output, f'{title}: {number}')}")


def survey(where: str | Path | Place, samples: int = 16) -> Survey:
    """Read that many samples, spread evenly over the set, and the statistics of the shards that hold them.

    Raises:
        ShardError: no set, or a damaged one.
        OSError: it cannot be read.
        ValueError: less than one sample.
    """
    if samples < 1:
        raise ValueError(f"samples {samples} must be at least 1")
    place = open_place(where)
    sets = [] if has_manifest(place) else find_sets(place)
    if names := [found.name for found in sets if found.name != place.name]:
        raise ShardError(f"{place}: a folder of sets; choose one of them: {', '.join(names)}")
    shards = open_set(place)
    count = min(samples, len(shards))
    # The centres of equal parts, because the outer slices of a volume show little.
    wanted = {sample_key((2 * i + 1) * len(shards) // (2 * count)) for i in range(count)}
    found = Survey(shards=shards)
    for number in range(len(shards.manifest.shards)):
        if wanted.isdisjoint(shards.keys(number)):
            continue
        for sample in shards.load(number):
            found.add(sample)
            if sample.key in wanted:
                # Copies, because views would keep the whole shard in memory.
                image = None if sample.image is None else sample.image.copy()
                found.chosen.append(Sample(sample.key, image, sample.label.copy(), sample.record))
    return found


def facts(found: Survey) -> Iterator[tuple[str, str]]:
    """Name and text of every line of the summary."""
    manifest, identity = found.shards.manifest, found.shards.manifest.identity
    yield "set", f"{manifest.name}{', made from the phantom' if manifest.phantom else ''}"
    yield "place", str(found.shards.place)
    yield "format", f"{FORMAT}, version {VERSION}"
    shards = f"{manifest.samples} in {len(manifest.shards)} shards of {identity['samples_per_shard']}"
    yield "samples", f"{shards}, {manifest.size}"
    if grid := identity.get("grid"):
        yield "grid", f"{grid['shape'][0]} x {grid['shape'][1]} pixels of {grid['spacing_mm']:g} mm"
    if "seed" in identity:
        yield "seed", str(identity["seed"])
    if "generator_hash" in identity:
        yield "generator", f"{_preset_name(identity)}, {identity['generator_hash']}"
    if "label_bank" in identity:
        yield "label bank", identity["label_bank"]
    if not manifest.on_demand:
        yield "label digest", manifest.label_digest
    yield "made with", ", ".join(f"{name} {text}" for name, text in sorted(manifest.made_with.items()))
    for entry in manifest.left_out:
        yield "left out", f"{entry['source']}: {entry['reason']}"
    if not found.seen:
        return
    part = f"{found.seen} of {manifest.samples} samples, in shards spread evenly over the set"
    yield "counted over", "all samples" if found.seen == manifest.samples else part
    yield "patients", str(len(found.patients))
    yield "contrasts", ", ".join(f"{name} {number}" for name, number in sorted(found.contrasts.items()))
    yield "pixels", ", ".join(f"{name} {share:.1%}" for name, share in shares(found.codes).items())
    for structure, code in (("vertebrae", anatomy.vertebra_code), ("discs", anatomy.disc_code)):
        ranks = [str(rank) for rank in range(1, MAX_RANK + 1) if found.codes[code(rank)]]
        yield structure, f"rank {', '.join(ranks)}" if ranks else "none"
    if found.values[0]:
        mean, mean_square = found.values[1:] / found.values[0]
        deviation = max(0.0, mean_square - mean**2) ** 0.5
        yield "image values", f"mean {mean:.3f}, standard deviation {deviation:.3f}"


def shares(codes: np.ndarray) -> dict[str, float]:
    """Share of the pixels of each structure, of the background, and of what is not annotated.

    ``codes`` is the number of pixels by dense code, ``(256,)``. The sacrum is named only where it is
    annotated.
    """
    named = {IGNORE: NOT_ANNOTATED} | ({SACRUM: "sacrum"} if codes[SACRUM] else {})
    counts = dict.fromkeys(("background", *STRUCTURES, *reversed(named.values())), 0)
    for code, number in enumerate(codes.tolist()):
        counts[named.get(code) or anatomy.structure_of(code) or "background"] += number
    return {name: number / max(1, int(codes.sum())) for name, number in counts.items()}


def _preset_name(identity: dict[str, Any]) -> str:
    spacing_mm = identity.get("grid", {}).get("spacing_mm", 1.0)
    for name in PRESETS:
        if config_hash(preset(name, spacing_mm=spacing_mm)) == identity["generator_hash"]:
            return f"preset {name}"
    return "no preset of this version"
