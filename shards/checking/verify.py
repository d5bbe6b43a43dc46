"""Checking whole sets: every byte against the manifest, every sample against the format.

Reading a set stops at the first damaged shard; this reports all of them.
"""

import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from synthspine.gen.core.anatomy import CODES, VALID_CODES
from synthspine.progress import progress_bar
from synthspine.shards.building.names import SETS
from synthspine.shards.building.staging import FIRST_SHARD, OWNER, STAGING
from synthspine.shards.checking.facts import RecordCheck, bank_problems, manifest_problems
from synthspine.shards.format.manifest import MANIFEST, Manifest, label_digest, load_manifest, schema_error
from synthspine.shards.format.sample import IMAGE, LABEL, RECORD, Sample, ShardError, decode, named_samples
from synthspine.shards.format.tar import label_digests, sample_files
from synthspine.shards.reading.open import ShardSet
from synthspine.shards.storage.atomic import TEMPORARY
from synthspine.shards.storage.opening import open_place
from synthspine.shards.storage.place import Place

_VALID = np.isin(np.arange(CODES), VALID_CODES)


def verify_places(places: Iterable[str | Path]) -> None:
    """Check sets, or folders of sets, and print all problems and one line per set.

    Raises:
        ShardError: a place holds no set, or there are problems.
        OSError: a place cannot be read.
    """
    sets = [found for place in places for found in find_sets(place)]
    counts = []
    for place in sets:
        start = time.perf_counter()
        problems = verify_set(place, progress=True, log=print)
        for line in problems:
            print(line)
        print(_verdict(place, problems, time.perf_counter() - start), flush=True)
        counts.append(len(problems))
    if sum(counts):
        bad = sum(count > 0 for count in counts)
        raise ShardError(f"{counted(sum(counts), 'problem')} in {bad} of {counted(len(sets), 'set')}")


def find_sets(where: str | Path | Place) -> list[Place]:
    """The set of a place, or all sets in the folder; at a URL those with a name of ``SETS``.

    Raises:
        ShardError: there is none.
        OSError: the place cannot be read.
        ValueError: a URL that cannot be used.
    """
    place = open_place(where)
    if place.path is not None and not place.path.is_dir():
        raise ShardError(f"{place}: no such folder")
    if _has_traces(place):
        return [place]
    # A URL may not be listable.
    names = sorted(path.name for path in place.path.iterdir() if path.is_dir()) if place.path else SETS
    sets = [place / name for name in names if _has_traces(place / name)]
    if not sets:
        raise ShardError(f"{place}: neither a set ({MANIFEST} is missing) nor a folder of sets")
    return sets


def verify_set(
    where: str | Path | Place, *, progress: bool = False, log: Callable[[str], object] | None = None
) -> list[str]:
    """All problems of a set, a line each that names the place; damage does not raise.

    ``log`` is called with a line for every check that cannot be made. Raises ValueError for a URL that cannot
    be used.
    """
    place = open_place(where)
    try:
        manifest = load_manifest(place)
    except ShardError as error:
        return [str(error), *_strays(place, None, log)]
    except OSError as error:
        return [str(error)]
    if not manifest.is_sealed and log is not None:
        hint = "as those of earlier releases; synthspine shards --rebuild adds it"
        log(f"{place / MANIFEST}: has no SHA-256 of its own, {hint}")
    check = _SetCheck(ShardSet(place, manifest))
    said = [*manifest_problems(manifest), *bank_problems(place, manifest)]
    problems = [f"{place / MANIFEST}: {line}" for line in said]
    numbers = range(len(manifest.shards))
    for number in progress_bar(
        numbers, desc=place.name, unit="shard", leave=False, disable=None if progress else True
    ):
        problems += check.shard(number)
    known = not manifest.on_demand and len(check.labels) == manifest.samples
    if known and label_digest(check.labels) != manifest.label_digest:
        problems.append(f"{place / MANIFEST}: label_digest is not that of the labels in the shards")
    return [*problems, *_strays(place, manifest, log)]


class _SetCheck:
    """Checks the shards of a set one after the other.

    Attributes:
        labels: SHA-256 of the labels of all undamaged shards so far.
    """

    def __init__(self, shards: ShardSet) -> None:
        self.labels: list[str] = []
        self._shards = shards
        self._identity = identity = shards.manifest.identity
        grid, images = identity.get("grid"), identity.get("images")
        self._shape: tuple[int, ...] | None = None if grid is None else tuple(grid["shape"])
        self._images = images if isinstance(images, bool) else None
        self._records = RecordCheck(shards.manifest)

    def shard(self, number: int) -> Iterator[str]:
        """The problems of a shard, a line each that names it."""
        where = self._shards.place / self._shards.manifest.shards[number].name
        try:
            content = self._shards.content(number)
            files = list(sample_files(content))
            samples = [decode(key, each) for key, each in files]
            records = [sample.record for sample in samples]
        except (ShardError, OSError) as error:
            text = str(error)
            yield text if text.startswith(str(where)) else f"{where}: {text}"
            return
        keys = self._shards.keys(number)
        if [sample.key for sample in samples] != keys:
            found = ", ".join(sample.key for sample in samples[:3])
            count = counted(len(samples), "sample")
            yield f"{where}: holds {count} ({found}, ...) instead of {named_samples(keys)}"
            return
        self.labels += label_digests(content)
        for sample, record, (key, each) in zip(samples, records, files, strict=True):
            yield from (f"{where}: sample {key}: {line}" for line in self._problems(sample, record, each))

    def _problems(
        self, sample: Sample, record: dict[str, Any], files: Mapping[str, memoryview]
    ) -> Iterator[str]:
        """The problems of a sample in an undamaged shard."""
        if wrong := schema_error(record, "record"):
            yield f"{RECORD}: {wrong}"
        else:
            yield from self._records.problems(record, files)
        if "label_bank" in self._identity and record.get("index") != int(sample.key):
            yield f"{RECORD}: index is {record.get('index')}"
        if "seed" in self._identity and record.get("seed") != self._identity["seed"]:
            yield f"{RECORD}: seed is {record.get('seed')}, the set's {self._identity['seed']}"
        label, image = sample.label, sample.image
        self._shape = self._shape or label.shape
        self._images = self._images if self._images is not None else image is not None
        if label.shape != self._shape:
            yield f"{LABEL}: shape {label.shape} instead of {self._shape}"
        if not _VALID[label].all():
            codes = ", ".join(str(code) for code in np.unique(label[~_VALID[label]])[:8])
            yield f"{LABEL}: codes without a meaning ({codes})"
        if (image is not None) != self._images:
            yield f"{IMAGE}: {'missing' if self._images else 'there'}, unlike in the others"
        elif image is not None and image.shape != label.shape:
            yield f"{IMAGE}: shape {image.shape}, the label's {label.shape}"
        if image is not None and not ((image >= 0) & (image <= 1)).all():
            yield f"{IMAGE}: values that are not in [0, 1]"


def _strays(place: Place, manifest: Manifest | None, log: Callable[[str], object] | None) -> Iterator[str]:
    """Files and folders that do not belong to the set."""
    own = {MANIFEST} if manifest is None else {MANIFEST, *(entry.name for entry in manifest.shards)}
    try:
        names = place.names()
        if place.path is None:
            folders = [STAGING] if (place / STAGING).names() else []
        else:
            folders = [path.name for path in place.path.iterdir() if path.is_dir()]
    except OSError:
        names, folders = [], []
    if manifest is not None and not names and log is not None:
        log(f"{place}: cannot be listed, so files that do not belong to it are not found")
    for name in sorted(names) + sorted(folders):
        if name.startswith(TEMPORARY):
            yield f"{place / name}: left by a run that was killed; it can be removed"
        elif name == STAGING:
            yield f"{place / name}: left by a run that did not finish"
        elif manifest is not None and name not in own:
            yield f"{place / name}: does not belong to the set"


def _verdict(place: Place, problems: list[str], seconds: float) -> str:
    if problems:
        return f"BAD {place}: {counted(len(problems), 'problem')}"
    manifest = load_manifest(place)
    held = f"{counted(manifest.samples, 'sample')} in {counted(len(manifest.shards), 'shard')}"
    return f"ok {place}: {held}, {manifest.size}, {seconds:.2f} s"


def counted(number: int, what: str) -> str:
    """``1 sample``, ``2 samples``."""
    return f"{number} {what}{'s' * (number != 1)}"


def _has_traces(place: Place) -> bool:
    """Whether the place holds a set, or a part of one."""
    return any(place.size(name) is not None for name in (MANIFEST, FIRST_SHARD, OWNER))
