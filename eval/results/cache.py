"""Cache of measurements and pictures: one small file each, named by the digest of its key.

A key holds the digest of the checkpoint, the identity of the set, the slices and the change of the input. The
cache adds the code and the versions of the software to every key. An entry that is unreadable, damaged or of
another key is ignored.
"""

import json
from importlib import metadata
from pathlib import Path
from typing import Any

from synthspine.shards.format.provenance import code_state, digest_of, made_with
from synthspine.shards.storage.atomic import write_text

SOFTWARE = ("torch", "numpy", "scipy")
"""Packages that numbers may depend on."""


class Cache:
    """Values by key in a folder; a fresh one finds nothing, and replaces all entries."""

    def __init__(self, folder: Path, *, fresh: bool = False) -> None:
        self._folder = folder
        self._fresh = fresh
        self._made_by = {"code": code_state(), "versions": versions()}

    def find(self, key: dict[str, Any]) -> Any | None:
        """The value of a key; None where there is no valid entry."""
        if self._fresh:
            return None
        try:
            entry = json.loads(self._file(key).read_text(encoding="utf-8"))
            whole = entry["key"] == key | self._made_by and entry["sha256"] == digest_of(entry["value"])
            return entry["value"] if whole else None
        except (OSError, ValueError, KeyError, TypeError):
            return None

    def keep(self, key: dict[str, Any], value: Any) -> None:
        """Write a value, whole or not at all; it is JSON-able, not None and without nan."""
        entry = {"key": key | self._made_by, "sha256": digest_of(value), "value": value}
        write_text(self._file(key), json.dumps(entry, allow_nan=False) + "\n")

    def _file(self, key: dict[str, Any]) -> Path:
        return self._folder / f"{digest_of(key | self._made_by)[:40]}.json"


def versions() -> dict[str, str]:
    """Versions of the software that numbers may depend on, and the kind of machine."""
    return made_with() | {name: metadata.version(name) for name in SOFTWARE}
