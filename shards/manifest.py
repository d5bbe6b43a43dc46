"""The manifest of a set: what it holds, what it was made from, and a checksum of every shard.

It is written last: a folder without ``manifest.json`` is an unfinished set.
"""

import hashlib
import json
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from shards.atomic import write_text
from shards.sample import ShardError

SCHEMA = 1
MANIFEST = "manifest.json"


@dataclass(frozen=True, kw_only=True, slots=True)
class ShardEntry:
    """One shard file."""

    name: str
    samples: int
    bytes: int
    sha256: str


@dataclass(frozen=True, kw_only=True, slots=True)
class Manifest:
    """What a set holds.

    Attributes:
        schema: version of this format.
        name: the set, an entry of ``shards.sets.SETS``.
        samples: number of samples of all shards together.
        phantom: made from the phantom, so figures measured on it are smoke figures.
        identity: everything that determines the samples: sources, grid, seed, generator configuration.
        label_digest: SHA-256 over shape and bytes of all labels in order (:func:`label_digest`).
        left_out: series that were asked for and could not be read, each ``{"source", "reason"}``.
        shards: the files in order; all but the last hold equally many samples.
    """

    schema: int
    name: str
    samples: int
    phantom: bool
    identity: dict[str, Any]
    label_digest: str
    left_out: list[dict[str, str]]
    shards: tuple[ShardEntry, ...]

    @property
    def identity_hash(self) -> str:
        """SHA-256 of the identity."""
        return digest_of(self.identity)


def save_manifest(folder: Path, manifest: Manifest) -> None:
    """Write ``folder/manifest.json`` atomically."""
    write_text(folder / MANIFEST, json.dumps(asdict(manifest), indent=1, sort_keys=True) + "\n")


def load_manifest(folder: Path) -> Manifest:
    """Read ``folder/manifest.json``.

    Raises:
        ShardError: missing, not JSON, or of another schema.
    """
    path = Path(folder) / MANIFEST
    try:
        fields = json.loads(path.read_text(encoding="utf-8"))
        if not isinstance(fields, dict) or fields.get("schema") != SCHEMA:
            raise ShardError(f"{path}: not a manifest of schema {SCHEMA}; make the set again")
        entries = tuple(ShardEntry(**entry) for entry in fields.pop("shards"))
        return Manifest(shards=entries, **fields)
    except FileNotFoundError:
        raise ShardError(f"{folder}: no complete set here ({MANIFEST} is missing); run make shards") from None
    except (json.JSONDecodeError, UnicodeDecodeError, KeyError, TypeError) as error:
        raise ShardError(f"{path}: broken manifest ({error})") from None


def digest_of(value: Any) -> str:
    """SHA-256 of a JSON-able value, whatever the order of its keys."""
    return hashlib.sha256(json.dumps(value, sort_keys=True).encode()).hexdigest()


def label_digest(labels: Iterable[np.ndarray]) -> str:
    """SHA-256 over the shape and bytes of uint8 label maps ``(H, W)`` in order."""
    digest = hashlib.sha256()
    for label in labels:
        digest.update(repr(label.shape).encode())
        digest.update(np.ascontiguousarray(label).tobytes())
    return digest.hexdigest()


def identity_difference(wanted: Mapping[str, Any], found: Mapping[str, Any]) -> str | None:
    """Names of the entries in which two identities differ, None if they are equal."""
    names = sorted(name for name in wanted.keys() | found.keys() if wanted.get(name) != found.get(name))
    return ", ".join(names) or None
