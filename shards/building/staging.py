"""Staging of sets that are being written: their owner, and the shards that are complete.

The folder ``unfinished`` of a set holds its owner, a digest of everything that determines the bytes, and a
note on each complete shard. A shard is on disk before its note, so every noted shard was whole.
"""

import json
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from synthspine.shards.building.workers import Workers
from synthspine.shards.format.manifest import MANIFEST, Manifest, ShardEntry, has_manifest
from synthspine.shards.format.provenance import digest_of
from synthspine.shards.format.sample import DIGESTS, LABEL, ShardError, to_json
from synthspine.shards.format.tar import unpack
from synthspine.shards.storage.atomic import TEMPORARY
from synthspine.shards.storage.cache import WrongContent, checked_content
from synthspine.shards.storage.place import Place

STAGING = "unfinished"
OWNER = f"{STAGING}/owner.json"
FIRST_SHARD = "shard-000000.tar"

_LOOKUPS = 16
"""Concurrent look-ups of small files, which take long at a URL."""
_READERS = 2
"""Shards that are read and hashed concurrently."""


@dataclass(frozen=True, kw_only=True, slots=True)
class StagedShard:
    """The note on a complete shard, with the owner for which it was written."""

    owner: str
    entry: ShardEntry
    label_digests: list[str]

    def save(self, place: Place) -> None:
        """Write the note to the staging folder of a set."""
        place.write(f"{STAGING}/{Path(self.entry.name).stem}.json", to_json(asdict(self)).encode())

    @staticmethod
    def from_json(content: bytes) -> "StagedShard | None":
        """The note; None if it is malformed: its shard is then written again."""
        try:
            fields = json.loads(content)
            return StagedShard(**fields | {"entry": ShardEntry(**fields["entry"])})
        except (ValueError, KeyError, TypeError):
            return None


def clear_set(place: Place) -> None:
    """Remove a set's files, the manifest first, so that a half-removed set does not look complete."""
    place.remove(MANIFEST)
    # Before the shards, so that another writer that misses one of them notices that it lost the place.
    clear_staging(place)
    for name in place.names():
        if (name.startswith("shard-") and name.endswith(".tar")) or name.startswith(TEMPORARY):
            place.remove(name)


def clear_staging(place: Place) -> None:
    """Remove the staging folder of a set, if there is one."""
    folder = place / STAGING
    if folder.path.exists() if folder.path else folder.names():
        # The owner first: another writer that misses a file then notices that it lost the place.
        place.remove(OWNER)
        folder.remove_tree()


def missing_shards(place: Place, manifest: Manifest) -> list[str]:
    """Names of the shards of a complete set that are missing or of another length."""
    with ThreadPoolExecutor(_LOOKUPS) as pool:
        sizes = list(pool.map(place.size, [entry.name for entry in manifest.shards]))
    return [entry.name for entry, size in zip(manifest.shards, sizes, strict=True) if size != entry.bytes]


def reopen(place: Place, manifest: Manifest, made_with: dict[str, str]) -> None:
    """Turn a complete set into a staged one, so that building it writes the damaged shards again.

    If it was made with other versions or on another device, all shards are written again.
    """
    if manifest.made_with != made_with:
        clear_set(place)
        return
    owner = owner_of(manifest.identity, made_with)
    place.write(OWNER, to_json({"owner": owner}).encode())

    def note(entry: ShardEntry) -> None:
        if (content := _content(place, entry)) is not None:
            digests = [sample.record[DIGESTS][LABEL] for sample in unpack(content)]
            StagedShard(owner=owner, entry=entry, label_digests=digests).save(place)

    with ThreadPoolExecutor(_READERS) as pool:
        list(pool.map(note, manifest.shards))
    place.remove(MANIFEST)


def _content(place: Place, entry: ShardEntry) -> bytes | None:
    """The bytes of a shard; None if the shard is missing or damaged."""
    try:
        return checked_content(place.read(entry.name), entry.sha256, entry.bytes)
    except (FileNotFoundError, WrongContent):
        return None


def owner_of(identity: dict[str, Any], made_with: dict[str, str]) -> str:
    """The owner of a staged set; a run with other versions or on another device does not continue it."""
    return digest_of([identity, made_with])


def start_set(place: Place, owner: str) -> dict[int, StagedShard]:
    """Notes on the shards that a killed run of the same set left; any other staged set is removed."""
    if current_owner(place) != owner:
        _refuse_complete(place)
        clear_set(place)
        place.write(OWNER, to_json({"owner": owner}).encode())
        return {}
    for name in place.names():
        if name.startswith(TEMPORARY):
            place.remove(name)
    folder = place / STAGING
    names = [name for name in folder.names() if name.startswith("shard-")]
    with ThreadPoolExecutor(_LOOKUPS) as pool:
        notes = list(pool.map(lambda name: StagedShard.from_json(folder.read(name)), names))
    return {
        int(name.removeprefix("shard-").removesuffix(".json")): note
        for name, note in zip(names, notes, strict=True)
        if note is not None and note.owner == owner
    }


def still_whole(place: Place, notes: dict[int, StagedShard], workers: Workers) -> dict[int, StagedShard]:
    """The notes whose shards are undamaged, judged by their content, or at a URL by their length."""

    def whole(number: int) -> bool:
        entry = notes[number].entry
        if place.path is None:
            return place.size(entry.name) == entry.bytes
        return _content(place, entry) is not None

    mine = workers.share(sorted(notes))
    with ThreadPoolExecutor(_READERS if place.path else _LOOKUPS) as pool:
        kept = [number for number, good in zip(mine, pool.map(whole, mine), strict=True) if good]
    return {number: notes[number] for others in workers.gather(kept) for number in others}


def current_owner(place: Place) -> str | None:
    """The owner of the staged set at a place; None if there is none."""
    try:
        return json.loads(place.read(OWNER))["owner"]
    except (FileNotFoundError, ValueError, KeyError, TypeError):
        return None


def check_owner(place: Place, owner: str) -> None:
    """Raise ShardError if another writer has taken over the place: its files must not be mixed with ours."""
    if current_owner(place) != owner:
        _refuse_complete(place)
        raise ShardError(
            f"{place}: another writer has begun another set here; give each its own place, and run again"
        )


def _refuse_complete(place: Place) -> None:
    if has_manifest(place):
        raise ShardError(f"{place}: another process has finished a set here; run again to use it")
