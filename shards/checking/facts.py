"""What a manifest says about its set, worked out again from its samples and the label maps beside it."""

import hashlib
import json
from collections.abc import Iterator, Mapping
from typing import Any

from synthspine.gen.core.documents import parse_json
from synthspine.shards.building.names import BANK
from synthspine.shards.building.sets import contrast_of
from synthspine.shards.building.staging import shard_name
from synthspine.shards.format.manifest import Manifest, load_manifest
from synthspine.shards.format.sample import DIGESTS, RECORD, ShardError, stored_digests
from synthspine.shards.readers.phantom import FIRST_PATIENT
from synthspine.shards.storage.place import LocalPlace, Place

_TOLERANCE = 1e-3


def manifest_problems(manifest: Manifest) -> Iterator[str]:
    """Entries of a manifest that contradict each other, a line each."""
    identity = manifest.identity
    name, of = manifest.name, identity["set"]
    if name != of and contrast_of(name) != "" and contrast_of(of) != "":
        yield f"name is {name}, and its identity that of {of}"
    for number, entry in enumerate(manifest.shards):
        if entry.name != shard_name(number):
            yield f"shard {number} is called {entry.name} instead of {shard_name(number)}"
    if isinstance(generator := identity.get("generator"), str):
        digest = hashlib.sha256(generator.encode()).hexdigest()
        if digest != identity.get("generator_hash", digest):
            yield "generator_hash is not that of the generator"
        grid = identity.get("grid")
        try:
            spacing_mm = parse_json(generator)["spacing_mm"]
        except (ValueError, KeyError, TypeError):
            yield "generator is not a configuration"
        else:
            if grid is not None and spacing_mm != grid["spacing_mm"]:
                yield f"the grid's spacing is {grid['spacing_mm']} mm, the generator's {spacing_mm}"
    if known := _sources(identity):
        strange = sorted({entry["source"] for entry in manifest.left_out} - known)
        yield from (f"left_out names {source}, which is not a source of the set" for source in strange)


def bank_problems(place: Place, manifest: Manifest) -> Iterator[str]:
    """Differences of a rendered set in a folder from the set of label maps beside it, a line each."""
    if manifest.identity.get("label_bank") is None or place.path is None:
        return
    beside = place.path.absolute().parent / BANK
    try:
        bank = load_manifest(LocalPlace(beside))
    except (ShardError, OSError):
        return
    if bank.label_digest != manifest.identity["label_bank"]:
        yield f"label_bank is not the label_digest of {beside}"
    elif bank.phantom != manifest.phantom:
        yield f"phantom is {json.dumps(manifest.phantom)}, and {json.dumps(bank.phantom)} in {beside}"


class RecordCheck:
    """Compares the records of a set with its manifest, one after the other, in the order of the samples."""

    def __init__(self, manifest: Manifest) -> None:
        identity = manifest.identity
        self._phantom = manifest.phantom
        self._sources = _sources(identity)
        self._left_out = {entry["source"] for entry in manifest.left_out}
        self._contrast = contrast_of(manifest.name)
        self._spacing_mm = identity.get("grid", {}).get("spacing_mm")
        self._step_mm = identity.get("slice_step_mm")
        self._last = ("", -1)

    def problems(self, record: Mapping[str, Any], files: Mapping[str, memoryview]) -> Iterator[str]:
        """The problems of a record that follows its schema, and of its digests of the sample's files."""
        stored = stored_digests(files)
        for name in sorted(stored.keys() | record[DIGESTS].keys()):
            if stored.get(name) != record[DIGESTS].get(name):
                yield f"{name}: the record holds another SHA-256"
        source, patient, index = record["source"], record["patient"], record["slice"]
        if self._phantom and not (patient.isdecimal() and int(patient) >= FIRST_PATIENT):
            yield f"patient {patient} is not one of the phantom, from which the set is said to be made"
        if "params" in record:
            yield from self._of_rendered(record["params"])
            return
        if self._sources and source not in self._sources:
            yield f"source {source} is not a source of the set"
        if source in self._left_out:
            yield f"source {source} is said to be left out"
        if self._contrast and record["contrast"] != self._contrast:
            yield f"contrast is {record['contrast']}, in a set of {self._contrast}"
        if index >= record["slices"]:
            yield f"slice is {index} of {record['slices']}"
        if source == self._last[0]:
            distance_mm = (index - self._last[1]) * record["spacing_mm"][0]
            if distance_mm <= 0 or distance_mm < (self._step_mm or 0) - _TOLERANCE:
                yield f"slice is {distance_mm:g} mm from the one before, at least {self._step_mm} are said"
        self._last = source, index

    def _of_rendered(self, params: Mapping[str, Any]) -> Iterator[str]:
        found = params["spacing_mm"]
        each = found if isinstance(found, list) else [found]
        if self._spacing_mm is not None and not all(
            isinstance(value, int | float) and abs(value / self._spacing_mm - 1) < _TOLERANCE
            for value in each
        ):
            yield f"{RECORD}: spacing is {found} mm, the grid's {self._spacing_mm}"


def _sources(identity: Mapping[str, Any]) -> set[str]:
    """Names of the series that a set is made from; none if its identity does not hold them."""
    sources = identity.get("sources")
    listed = sources if isinstance(sources, list) else []
    return {
        entry["source"]
        for entry in listed
        if isinstance(entry, dict) and isinstance(entry.get("source"), str)
    }
