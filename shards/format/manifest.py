"""The manifest of a set: what it holds, what it was made from, and a checksum of every shard.

It is written last: a place without ``manifest.json`` is an unfinished set. docs/shards.md describes the
format, ``shards/schemas/manifest.json`` is its JSON schema. A set that a service renders on demand
(docs/service.md) has a manifest of counts and keys; length and checksum come with each shard.
"""

import hashlib
import json
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from typing import Any

from synthspine.shards.format.provenance import digest_of
from synthspine.shards.format.sample import ShardError
from synthspine.shards.format.schema import problem
from synthspine.shards.storage.place import Place

FORMAT, VERSION = "synthspine-shards", 2
MANIFEST = "manifest.json"


@dataclass(frozen=True, kw_only=True, slots=True)
class ShardEntry:
    """One shard file.

    Attributes:
        name: file name.
        samples: number of samples.
        bytes: length of the file; 0 if it is rendered on demand.
        sha256: SHA-256 of the file, hexadecimal; empty if it is rendered on demand.
        key: digest of all that determines its bytes, hexadecimal, if it is rendered on demand; else empty.
    """

    name: str
    samples: int
    bytes: int = 0
    sha256: str = ""
    key: str = ""


@dataclass(frozen=True, kw_only=True, slots=True)
class Manifest:
    """What a set holds.

    Attributes:
        name: the set, an entry of ``shards.building.sets.SETS``.
        samples: number of samples of all shards together.
        phantom: made from the phantom, so figures measured on it are smoke figures.
        identity: everything that determines the samples: sources, grid, seed, generator configuration,
            digest of the label bank.
        made_with: versions and device that made them: what the last bits of rendered images depend on.
        label_digest: SHA-256 of all labels in order (:func:`label_digest`); empty if they are rendered on
            demand.
        left_out: series that were asked for and could not be read, each ``{"source", "reason"}``.
        shards: the files in order; all but the last hold equally many samples.
        on_demand: whether a service renders the shards when they are asked for.
    """

    name: str
    samples: int
    phantom: bool
    identity: dict[str, Any]
    made_with: dict[str, str]
    label_digest: str
    left_out: list[dict[str, str]]
    shards: tuple[ShardEntry, ...]
    on_demand: bool = False

    @property
    def size(self) -> str:
        """How much it is, in words."""
        if self.on_demand:
            return "rendered on demand"
        return f"{sum(entry.bytes for entry in self.shards) / 1e6:.1f} MB"

    @property
    def identity_hash(self) -> str:
        """SHA-256 of the identity."""
        return digest_of(self.identity)


def manifest_json(manifest: Manifest) -> dict[str, Any]:
    """A manifest as it is stored."""
    # Through text, because what it is compared with later comes from text: tuples become lists.
    fields: dict[str, Any] = json.loads(json.dumps(asdict(manifest)))
    left_out = ("bytes", "sha256") if manifest.on_demand else ("key",)
    fields["shards"] = [
        {name: entry[name] for name in entry if name not in left_out} for entry in fields["shards"]
    ]
    del fields["label_digest" if manifest.on_demand else "on_demand"]
    return {"format": FORMAT, "version": VERSION, **fields}


def save_manifest(place: Place, manifest: Manifest) -> None:
    """Write ``manifest.json``: from now on the set is complete."""
    place.write(MANIFEST, manifest_text(manifest).encode())


def manifest_text(manifest: Manifest) -> str:
    """A manifest as text; equal manifests give equal text."""
    return json.dumps(manifest_json(manifest), indent=1, sort_keys=True) + "\n"


def has_manifest(place: Place) -> bool:
    """Whether a complete set lies there."""
    return place.size(MANIFEST) is not None


def load_manifest(place: Place) -> Manifest:
    """Read ``manifest.json``.

    Raises:
        ShardError: missing, not a manifest, of a version that this reader does not know, or at odds with
            its schema or itself; the text says what.
        OSError: it cannot be read.
    """
    where = place / MANIFEST
    try:
        content = place.read(MANIFEST)
    except FileNotFoundError:
        raise ShardError(f"{place}: no complete set here ({MANIFEST} is missing); run make shards") from None
    try:
        fields = json.loads(content)
    except ValueError as error:
        raise ShardError(f"{where}: broken manifest ({error})") from None
    if not isinstance(fields, dict):
        raise ShardError(f"{where}: not a manifest; an object is expected")
    version = fields.get("version", fields.get("schema"))
    if fields.get("format", FORMAT) != FORMAT or version != VERSION:
        found = f"{fields.get('format', 'an unnamed format')}, version {version}"
        raise ShardError(
            f"{where}: {found}; this reader knows {FORMAT}, version {VERSION}; make the set again, or read "
            "it with the release that wrote it"
        )
    if wrong := problem(fields, "manifest"):
        raise ShardError(f"{where}: broken manifest ({wrong})")
    entries = tuple(ShardEntry(**entry) for entry in fields["shards"])
    names = ("name", "samples", "phantom", "identity", "made_with", "left_out")
    manifest = Manifest(
        shards=entries,
        label_digest=fields.get("label_digest", ""),
        on_demand=fields.get("on_demand", False),
        **{name: fields[name] for name in names},
    )
    if sum(entry.samples for entry in entries) != manifest.samples:
        raise ShardError(f"{where}: broken manifest (its shards do not hold {manifest.samples} samples)")
    if len({entry.name for entry in entries}) != len(entries):
        raise ShardError(f"{where}: broken manifest (a shard is named twice)")
    return manifest


def label_digest(digests: Iterable[str]) -> str:
    """Digest of a row of label maps: SHA-256 over the hexadecimal SHA-256 of each ``label.npy`` in order.

    It does not depend on how the row is cut into shards.
    """
    whole = hashlib.sha256()
    for digest in digests:
        whole.update(digest.encode())
    return whole.hexdigest()
