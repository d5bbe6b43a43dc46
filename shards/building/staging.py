"""Sets that are being made: whose they are, and which of their shards are there.

A set's folder ``unfinished`` holds its owner, a digest of all that determines the bytes, and a note on each
shard. A shard is on the disk before it is noted, so what is noted was whole, whenever the writer died.
"""

import json
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from typing import Any

from synthspine.shards.building.workers import Workers
from synthspine.shards.format.manifest import MANIFEST, Manifest, ShardEntry, has_manifest
from synthspine.shards.format.provenance import digest_of
from synthspine.shards.format.sample import DIGESTS, LABEL, ShardError, to_json
from synthspine.shards.format.tar import unpack
from synthspine.shards.storage.atomic import TEMPORARY
from synthspine.shards.storage.cache import WrongContent, checked_content
from synthspine.shards.storage.place import Place

UNFINISHED = "unfinished"
OWNER = f"{UNFINISHED}/owner.json"
FIRST_SHARD = "shard-000000.tar"

_LOOKS = 16
"""Small files that are looked at at a time: at a URL each takes a while."""
_READERS = 2
"""Shards that are read and hashed at a time."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Note:
    """What is known of a shard that is written, and for which set: writers elsewhere may disagree."""

    owner: str
    entry: ShardEntry
    label_digests: list[str]

    def to_json(self) -> str:
        """As it is stored."""
        return to_json(asdict(self))

    @staticmethod
    def from_json(content: bytes) -> "Note | None":
        """The note; None if it is none that this release wrote: its shard is then written again."""
        try:
            fields = json.loads(content)
            entry = ShardEntry(**fields["entry"])
            return Note(owner=fields["owner"], entry=entry, label_digests=list(fields["label_digests"]))
        except (ValueError, KeyError, TypeError):
            return None


def clear_set(place: Place) -> None:
    """Remove a set's files, the manifest first, so that a half-removed set never looks complete."""
    place.remove(MANIFEST)
    # The owner goes before the files, so that a writer who misses one of his sees whose place it is now.
    clear_unfinished(place)
    for name in place.names():
        if (name.startswith("shard-") and name.endswith(".tar")) or name.startswith(TEMPORARY):
            place.remove(name)


def clear_unfinished(place: Place) -> None:
    """Remove what is kept of a set while it is being made, if there is any."""
    folder = place / UNFINISHED
    if folder.path.exists() if folder.path else folder.names():
        # The owner first: who misses a file of his from here on sees that the place is not his any more.
        place.remove(OWNER)
        folder.remove_tree()


def lacking(place: Place, manifest: Manifest) -> list[str]:
    """Names of the shards of a complete set that are missing or of another length."""
    with ThreadPoolExecutor(_LOOKS) as pool:
        sizes = list(pool.map(place.size, [entry.name for entry in manifest.shards]))
    return [entry.name for entry, size in zip(manifest.shards, sizes, strict=True) if size != entry.bytes]


def reopen(place: Place, manifest: Manifest, made_with: dict[str, str]) -> None:
    """Make a complete set an unfinished one: building it again writes the shards that are not whole.

    If it was made with other versions or on another device, all are written again.
    """
    if manifest.made_with != made_with:
        clear_set(place)
        return
    owner = owner_of(manifest.identity, made_with)
    place.write(OWNER, to_json({"owner": owner}).encode())
    with ThreadPoolExecutor(_READERS) as pool:
        for note in pool.map(lambda entry: _note_of(place, owner, entry), manifest.shards):
            if note is not None:
                name = note.entry.name.removesuffix(".tar")
                place.write(f"{UNFINISHED}/{name}.json", note.to_json().encode())
    place.remove(MANIFEST)


def _note_of(place: Place, owner: str, entry: ShardEntry) -> Note | None:
    """The note on a shard; None if it is missing or not what was written."""
    try:
        content = checked_content(place.read(entry.name), entry.sha256, entry.bytes)
    except (FileNotFoundError, WrongContent):
        return None
    digests = [sample.record[DIGESTS][LABEL] for sample in unpack(content)]
    return Note(owner=owner, entry=entry, label_digests=digests)


def owner_of(identity: dict[str, Any], made_with: dict[str, str]) -> str:
    """Whose an unfinished set is. A killed run of other versions or on another device is not gone on with."""
    return digest_of([identity, made_with])


def start_set(place: Place, owner: str) -> dict[int, Note]:
    """Notes on the shards that a killed run of the same set left; anything else is removed."""
    if _owner(place) != owner:
        if has_manifest(place):
            raise ShardError(f"{place}: another process has finished a set here; run again to use it")
        clear_set(place)
        place.write(OWNER, to_json({"owner": owner}).encode())
        return {}
    for name in place.names():
        if name.startswith(TEMPORARY):
            place.remove(name)
    folder = place / UNFINISHED
    names = [name for name in folder.names() if name.startswith("shard-")]
    with ThreadPoolExecutor(_LOOKS) as pool:
        notes = list(pool.map(lambda name: Note.from_json(folder.read(name)), names))
    return {
        int(name.removeprefix("shard-").removesuffix(".json")): note
        for name, note in zip(names, notes, strict=True)
        if note is not None and note.owner == owner
    }


def still_whole(place: Place, notes: dict[int, Note], workers: Workers) -> dict[int, Note]:
    """Notes on the shards that are what was written: by their content, at a URL by their length."""

    def whole(number: int) -> bool:
        entry = notes[number].entry
        if place.path is None:
            return place.size(entry.name) == entry.bytes
        try:
            return bool(checked_content(place.read(entry.name), entry.sha256, entry.bytes))
        except (FileNotFoundError, WrongContent):
            return False

    mine = workers.share(sorted(notes))
    with ThreadPoolExecutor(_READERS if place.path else _LOOKS) as pool:
        kept = [number for number, good in zip(mine, pool.map(whole, mine), strict=True) if good]
    return {number: notes[number] for others in workers.gather(kept) for number in others}


def _owner(place: Place) -> str | None:
    try:
        return json.loads(place.read(OWNER))["owner"]
    except (FileNotFoundError, ValueError, KeyError, TypeError):
        return None


def is_owner(place: Place, owner: str) -> bool:
    """Whether the unfinished set there is that of this owner."""
    return _owner(place) == owner


def check_owner(place: Place, owner: str) -> None:
    """Stop where somebody else has begun anew: their files must not be mixed with ours."""
    if _owner(place) == owner:
        return
    if has_manifest(place):
        raise ShardError(f"{place}: another process has finished a set here; run again to use it")
    raise ShardError(
        f"{place}: another writer has begun another set here; give each its own place, and run again"
    )
