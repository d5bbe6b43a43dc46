"""What a set holds, for people: facts of its manifest, and what its samples show."""

from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from synthspine.gen.config import config_hash
from synthspine.gen.core.anatomy import (
    CODES,
    IGNORE,
    MAX_RANK,
    STRUCTURES,
    disc_code,
    structure_of,
    vertebra_code,
)
from synthspine.gen.presets import PRESETS, preset
from synthspine.shards.checking.contact_sheet import write_contact_sheet
from synthspine.shards.checking.verify import find_sets
from synthspine.shards.format.manifest import FORMAT, VERSION, Manifest, has_manifest
from synthspine.shards.format.sample import Sample, ShardError, sample_key
from synthspine.shards.reading.open import ShardSet, open_set
from synthspine.shards.storage.opening import open_place
from synthspine.shards.storage.place import Place

DEFAULT_SHEETS = Path("results/shards")
PERCENTILES = (1, 25, 50, 75, 99)
NOT_ANNOTATED = "not annotated"

_ONE = int(np.array(1, np.float16).view(np.uint16))
_VALUES = np.arange(_ONE + 1, dtype=np.uint16).view(np.float16).astype(np.float64)
"""Every float16 in [0, 1]: their bits count upward."""


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Survey:
    """Samples of a set, and what was counted over the shards that they lie in.

    Attributes:
        place: where the set lies.
        manifest: what it holds.
        chosen: samples spread evenly over the set.
        seen: number of samples in the shards that were read.
        patients: samples seen of each patient.
        contrasts: samples seen of each contrast; of rendered samples "rendered".
        codes: pixels of every dense code, int64 ``(256,)``.
        values: pixels of every float16 value in [0, 1], int64 ``(15361,)``; None in sets without images.
    """

    place: Place
    manifest: Manifest
    chosen: list[Sample]
    seen: int
    patients: Counter[str]
    contrasts: Counter[str]
    codes: np.ndarray
    values: np.ndarray | None


def inspect_set(where: str | Path, output: Path | None = None, samples: int = 16) -> None:
    """Print what a set holds, and write a contact sheet of it; an empty set has none.

    Args:
        where: folder or URL of the set.
        output: where the PNG goes; by default ``results/shards``, under the name of the set.
        samples: tiles of the sheet, and the most shards that are read.

    Raises:
        ShardError: no set, or a broken one.
        OSError: it cannot be read, or the sheet cannot be written.
        ValueError: less than one sample, or a sheet that is not a PNG.
    """
    found = survey(where, samples)
    for name, text in facts(found):
        print(f"{name:<15} {text}")
    if found.chosen:
        manifest = found.manifest
        output = output or DEFAULT_SHEETS / f"{manifest.name}.png"
        title = f"{manifest.name}{' (phantom)' if manifest.phantom else ''}"
        of = f"{len(found.chosen)} of {manifest.samples} samples"
        print(f"{'sheet':<15} {write_contact_sheet(found.chosen, output, f'{title}: {of}')}")


def survey(where: str | Path | Place, samples: int = 16) -> Survey:
    """Read as many samples, spread evenly over the set, and count over the shards that hold them.

    Raises:
        ShardError: no set, or a broken one.
        OSError: it cannot be read.
        ValueError: less than one sample.
    """
    if samples < 1:
        raise ValueError(f"samples {samples} must be at least 1")
    place = open_place(where)
    if not has_manifest(place) and (
        sets := [found.name for found in find_sets(place) if found.name != place.name]
    ):
        raise ShardError(f"{place}: a folder of sets; choose one of them: {', '.join(sets)}")
    shards = open_set(place)
    manifest = shards.manifest
    count = min(samples, manifest.samples)
    # The middles of as many equal stretches: the ends of a volume show little.
    wanted = {sample_key((2 * i + 1) * manifest.samples // (2 * count)) for i in range(count)}
    chosen: list[Sample] = []
    seen = 0
    patients: Counter[str] = Counter()
    contrasts: Counter[str] = Counter()
    codes = np.zeros(CODES, dtype=np.int64)
    values = None
    for sample in _samples(shards, wanted):
        seen += 1
        patients[str(sample.record.get("patient"))] += 1
        contrasts[str(sample.record.get("contrast", "rendered"))] += 1
        codes += np.bincount(sample.label.ravel(), minlength=CODES)
        if sample.image is not None:
            bits = np.bincount(sample.image.view(np.uint16).ravel(), minlength=_ONE + 1)[: _ONE + 1]
            values = bits if values is None else values + bits
        if sample.key in wanted:
            # Copies: arrays that were read keep their whole shard in memory.
            image = None if sample.image is None else sample.image.copy()
            chosen.append(Sample(sample.key, image, sample.label.copy(), sample.record))
    return Survey(
        place=place,
        manifest=manifest,
        chosen=chosen,
        seen=seen,
        patients=patients,
        contrasts=contrasts,
        codes=codes,
        values=values,
    )


def facts(found: Survey) -> Iterator[tuple[str, str]]:
    """Name and text of everything that is told of a set."""
    manifest, identity = found.manifest, found.manifest.identity
    yield "set", f"{manifest.name}{', made from the phantom' if manifest.phantom else ''}"
    yield "place", str(found.place)
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
    for structure, code in (("vertebrae", vertebra_code), ("discs", disc_code)):
        ranks = [rank for rank in range(1, MAX_RANK + 1) if found.codes[code(rank)]]
        yield structure, f"rank {_runs(ranks)}" if ranks else "none"
    if found.values is not None:
        mean = float((found.values * _VALUES).sum() / found.values.sum())
        marks = zip(PERCENTILES, percentiles(found.values, PERCENTILES), strict=True)
        yield (
            "image values",
            f"mean {mean:.3f}; " + ", ".join(f"{p} % below {value:.3f}" for p, value in marks),
        )


def shares(codes: np.ndarray) -> dict[str, float]:
    """Share of the pixels of each structure, background and what is not annotated first and last.

    Args:
        codes: pixels of every dense code, ``(256,)``.
    """
    counts = dict.fromkeys(("background", *STRUCTURES, NOT_ANNOTATED), 0)
    for code, number in enumerate(codes.tolist()):
        counts[NOT_ANNOTATED if code == IGNORE else structure_of(code) or "background"] += number
    return {name: number / max(1, int(codes.sum())) for name, number in counts.items()}


def percentiles(values: np.ndarray, ranks: Iterable[float]) -> list[float]:
    """The values that these per cents of the pixels do not exceed.

    Args:
        values: pixels of every float16 value in [0, 1], ``(15361,)``.
        ranks: per cents, 0..100.
    """
    counted = np.cumsum(values)
    return [float(_VALUES[np.searchsorted(counted, rank / 100 * counted[-1])]) for rank in ranks]


def _samples(shards: ShardSet, wanted: set[str]) -> Iterator[Sample]:
    """All samples of the shards that hold one of these keys, one shard in memory at a time."""
    for shard in range(len(shards.manifest.shards)):
        if wanted.intersection(shards.keys(shard)):
            yield from shards.load(shard)


def _preset_name(identity: dict[str, Any]) -> str:
    spacing_mm = identity.get("grid", {}).get("spacing_mm", 1.0)
    for name in PRESETS:
        if config_hash(preset(name, spacing_mm=spacing_mm)) == identity["generator_hash"]:
            return f"preset {name}"
    return "no preset of this version"


def _runs(numbers: list[int]) -> str:
    """``1-6, 9``: increasing numbers, neighbours taken together."""
    runs: list[list[int]] = []
    for number in numbers:
        if runs and number == runs[-1][-1] + 1:
            runs[-1].append(number)
        else:
            runs.append([number])
    return ", ".join(f"{run[0]}-{run[-1]}" if len(run) > 1 else str(run[0]) for run in runs)
