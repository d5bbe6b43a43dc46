"""The manifest of a set: its content, its sources, and a checksum of every shard.

It is written last: a place without ``manifest.json`` is an unfinished set. docs/shards.md describes the
format, ``schemas/manifest.json`` is its JSON schema. The manifest of a set that a service renders on demand
(docs/service.md) holds counts and keys; length and checksum come with each shard.

A manifest carries its own digest. Its counts are bounded, and checked before anything is made from them.
"""

import functools
import hashlib
import json
import re
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

import jsonschema

from synthspine.gen.core.documents import MOST_BYTES, parse_json
from synthspine.shards.format.provenance import digest_of
from synthspine.shards.format.sample import KEY_DIGITS, ShardError
from synthspine.shards.format.sealed import SEAL, sealed, unsealed
from synthspine.shards.storage.place import Place

FORMAT, VERSION = "synthspine-shards", 2
MANIFEST = "manifest.json"
MOST_SHARDS = 100_000
MOST_PER_SHARD = 1 << 16
MOST_SHARD_BYTES = 1 << 32
MOST_SAMPLES = 10**KEY_DIGITS
"""Bounds of a set: shards, samples of a shard, bytes of a shard, samples."""

_PIXEL_BYTES, _RECORD_BYTES = 3, 1 << 17
"""Of a sample: float16 and uint8 in every pixel; at most, of its record and the headers of its files."""
_LEAST_BYTES = 4 * 512
"""Of a sample: header and content of two files."""
_MANY = 1024
"""Samples of a shard from which on they have to fit into its bytes: for fewer nothing large is made."""
_STORED, _DEMANDED = frozenset(("name", "samples", "bytes", "sha256")), frozenset(("name", "samples", "key"))
_NAME, _DIGEST = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*\.tar"), re.compile(r"[0-9a-f]{64}")
_SCHEMAS = Path(__file__).with_name("schemas")


@dataclass(frozen=True, kw_only=True, slots=True)
class ShardEntry:
    """One shard file.

    Attributes:
        name: file name.
        samples: number of samples.
        bytes: length of the file; 0 if it is rendered on demand.
        sha256: SHA-256 of the file, hexadecimal; empty if it is rendered on demand.
        key: digest of everything that determines its bytes, if it is rendered on demand; else empty.
    """

    name: str
    samples: int
    bytes: int = 0
    sha256: str = ""
    key: str = ""


@dataclass(frozen=True, kw_only=True, slots=True)
class Manifest:
    """Content and origin of a set.

    Attributes:
        name: the set, an entry of ``shards.building.sets.SETS``.
        samples: number of samples of all shards together.
        phantom: whether it was made from the phantom.
        identity: everything that determines the samples: sources, grid, seed, generator configuration,
            digest of the label bank.
        made_with: versions and device, on which the last bits of rendered images depend.
        label_digest: digest of all labels (:func:`label_digest`); empty if rendered on demand.
        left_out: series that could not be read, each ``{"source", "reason"}``.
        shards: the files in order; all but the last hold equally many samples.
        on_demand: whether a service renders the shards on request.
        is_sealed: whether it was read with its own digest; those of earlier releases have none.
    """

    name: str
    samples: int
    phantom: bool
    identity: dict[str, Any]
    made_with: dict[str, str]
    label_digest: str = ""
    left_out: list[dict[str, str]]
    shards: tuple[ShardEntry, ...]
    on_demand: bool = False
    is_sealed: bool = True

    @property
    def size(self) -> str:
        """Size of the set as text."""
        if self.on_demand:
            return "rendered on demand"
        return f"{sum(entry.bytes for entry in self.shards) / 1e6:.1f} MB"

    def most_bytes(self, samples: int) -> int:
        """Bytes that a shard of that many samples can hold on the grid of the set, with some to spare."""
        if (grid := self.identity.get("grid")) is None:
            return MOST_SHARD_BYTES
        return min(MOST_SHARD_BYTES, (samples + 1) * most_sample_bytes(grid["shape"]))

    @property
    def identity_hash(self) -> str:
        """SHA-256 of the identity."""
        return digest_of(self.identity)


def most_sample_bytes(shape: Sequence[int]) -> int:
    """Bytes of a shard that a sample of that many rows and columns takes at most."""
    rows, columns = shape
    return _PIXEL_BYTES * rows * columns + _RECORD_BYTES


def manifest_json(manifest: Manifest) -> dict[str, Any]:
    """A manifest as it is stored, without its digest."""
    # Converted through text, as a manifest that was read: tuples become lists.
    fields: dict[str, Any] = json.loads(json.dumps(asdict(manifest)))
    left_out = ("bytes", "sha256") if manifest.on_demand else ("key",)
    fields["shards"] = [
        {name: entry[name] for name in entry if name not in left_out} for entry in fields["shards"]
    ]
    del fields["label_digest" if manifest.on_demand else "on_demand"], fields["is_sealed"]
    return {"format": FORMAT, "version": VERSION, **fields}


def save_manifest(place: Place, manifest: Manifest) -> None:
    """Write ``manifest.json``, which makes the set complete."""
    place.write(MANIFEST, manifest_text(manifest).encode())


def manifest_text(manifest: Manifest) -> str:
    """A manifest as text, with its digest; equal manifests give equal text."""
    return json.dumps(sealed(manifest_json(manifest)), indent=1, sort_keys=True) + "\n"


def has_manifest(place: Place) -> bool:
    """Whether the place holds a complete set."""
    return place.size(MANIFEST) is not None


def load_manifest(place: Place) -> Manifest:
    """Read ``manifest.json``.

    Raises:
        ShardError: missing, not a manifest, of another version, out of bounds, in conflict with its schema or
            itself, or changed after it was written.
        OSError: it cannot be read, is no regular file, or is too large.
    """
    where = place / MANIFEST
    try:
        content = place.read(MANIFEST, MOST_BYTES)
    except FileNotFoundError:
        raise ShardError(f"{place}: no complete set here ({MANIFEST} is missing); run make shards") from None
    try:
        fields = parse_json(content)
    except ValueError as error:
        raise ShardError(f"{where}: broken manifest ({error})") from None
    if not isinstance(fields, dict):
        raise ShardError(f"{where}: not a manifest; an object is expected")
    version = fields.get("version", fields.get("schema"))
    if fields.get("format", FORMAT) != FORMAT or type(version) is not int or version != VERSION:
        found = f"{fields.get('format', 'an unnamed format')}, version {version}"
        known = f"{FORMAT}, version {VERSION}"
        hint = "make the set again, or read it with the release that wrote it"
        raise ShardError(f"{where}: {found}; this reader knows {known}; {hint}")
    try:
        return _checked(fields)
    except ValueError as error:
        raise ShardError(f"{where}: broken manifest ({error})") from None


def _checked(fields: dict[str, Any]) -> Manifest:
    """The manifest of parsed JSON; raises a ValueError that says what is wrong."""
    shards = fields.get("shards")
    reduced, number = fields, 0
    if isinstance(shards, list):
        if len(shards) > MOST_SHARDS:
            raise ValueError(f"{len(shards)} shards, at most {MOST_SHARDS} are read")
        # The schema takes half a minute for that many entries: it is asked about the first wrong one alone.
        known = _DEMANDED if "on_demand" in fields else _STORED
        number = next((n for n, entry in enumerate(shards) if not _is_sound(entry, known)), len(shards))
        reduced = fields | {"shards": shards[number : number + 1]}
    if wrong := schema_error(reduced, "manifest"):
        raise ValueError(wrong.replace("shards/0", f"shards/{number}", 1))
    entries = tuple(ShardEntry(**entry) for entry in fields["shards"])
    inner = {name: value for name, value in fields.items() if name not in ("format", "version", SEAL)}
    manifest = Manifest(**inner | {"shards": entries}, is_sealed=SEAL in fields)
    if wrong := _contradiction(manifest):
        raise ValueError(wrong)
    if manifest.is_sealed:
        unsealed(fields)
    return manifest


def _is_sound(entry: Any, known: frozenset[str]) -> bool:
    """Whether the schema allows the entry of a shard; never true if it does not."""
    if type(entry) is not dict or entry.keys() != known or type(entry["name"]) is not str:
        return False
    digests = [entry[name] for name in ("sha256", "key") if name in known]
    counts = [(entry["samples"], MOST_PER_SHARD), (entry.get("bytes", 1), MOST_SHARD_BYTES)]
    return (
        _NAME.fullmatch(entry["name"]) is not None
        and all(type(digest) is str and _DIGEST.fullmatch(digest) for digest in digests)
        and all(type(count) is int and 0 < count <= most for count, most in counts)
    )


def _contradiction(manifest: Manifest) -> str | None:
    """What the counts of a manifest say against each other; None if they agree."""
    entries, identity = manifest.shards, manifest.identity
    if sum(entry.samples for entry in entries) != manifest.samples:
        return f"its shards do not hold {manifest.samples} samples"
    if len({entry.name for entry in entries}) != len(entries):
        return "a shard is named twice"
    per_shard = identity["samples_per_shard"]
    for number, entry in enumerate(entries, start=1):
        if entry.samples > per_shard or (entry.samples < per_shard and number < len(entries)):
            return f"{entry.name} holds {entry.samples} samples, and a shard of this set {per_shard}"
        if entry.bytes and entry.samples > max(_MANY, entry.bytes // _LEAST_BYTES):
            return f"{entry.name} holds {entry.samples} samples in {entry.bytes} bytes"
    # Without label maps nothing is rendered.
    rendered = identity.get("synthetic_samples", manifest.samples)
    if manifest.samples not in (0, rendered):
        return f"it holds {manifest.samples} samples, and the set {rendered}"
    return None


def label_digest(digests: Iterable[str]) -> str:
    """SHA-256 over the hexadecimal SHA-256 of each ``label.npy`` in order, whatever the shards."""
    whole = hashlib.sha256()
    for digest in digests:
        whole.update(digest.encode())
    return whole.hexdigest()


def schema_error(value: Any, schema: Literal["manifest", "record"]) -> str | None:
    """The most relevant error of parsed JSON under a schema, in one line; None if it is valid."""
    error = jsonschema.exceptions.best_match(_validator(schema).iter_errors(value))
    if error is None:
        return None
    where = "/".join(str(part) for part in error.absolute_path)
    text = error.message if len(error.message) <= 200 else f"{error.message[:200]}..."
    return f"{where}: {text}" if where else text


@functools.cache
def _validator(schema: str) -> Any:
    rules = json.loads((_SCHEMAS / f"{schema}.json").read_text(encoding="utf-8"))
    known = jsonschema.validators.validator_for(rules)
    # JSON schema takes 2.0 for a whole number.
    whole = known.TYPE_CHECKER.redefine("integer", lambda _, value: type(value) is int)
    return jsonschema.validators.extend(known, type_checker=whole)(rules)
