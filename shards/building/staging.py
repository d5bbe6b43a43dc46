"""Staging of sets that are being written: their owner, and the shards that are complete.

The folder ``unfinished`` of a set holds its owner, a digest of everything that determines the bytes, and a
note on each complete shard. A shard is on disk before its note, so every noted shard was whole.

What a killed run left may be damaged since. Notes carry their own digest, and are compared with the content
of their shards; what does not check out is written again.
"""

import os
import re
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from synthspine.gen.core.documents import MOST_BYTES, UnfitFile, parse_json
from synthspine.shards.building.workers import Workers
from synthspine.shards.format.manifest import (
    MANIFEST,
    MOST_SHARD_BYTES,
    Manifest,
    ShardEntry,
    has_manifest,
)
from synthspine.shards.format.provenance import digest_of
from synthspine.shards.format.sample import ShardError, to_json
from synthspine.shards.format.sealed import read_sealed, sealed
from synthspine.shards.format.tar import label_digests
from synthspine.shards.storage.atomic import TEMPORARY
from synthspine.shards.storage.cache import WrongContent, checked_content
from synthspine.shards.storage.place import Place

STAGING = "unfinished"
OWNER = f"{STAGING}/owner.json"
FIRST_SHARD = "shard-000000.tar"

_DIGITS = 64
"""Of a SHA-256."""
_NOTE = re.compile(r"shard-([0-9]{6})\.json")
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
        place.write(_note_name(self.entry.name), to_json(sealed(asdict(self))).encode())

    @staticmethod
    def read(place: Place, name: str) -> "StagedShard | None":
        """The note on the shard of that name; None if it does not check out."""
        try:
            fields = read_sealed(place.read(_note_name(name), MOST_BYTES))
            note = StagedShard(**fields | {"entry": ShardEntry(**fields["entry"])})
            fits = note.entry.name == name and 0 < note.entry.bytes <= MOST_SHARD_BYTES
            whole = fits and len("".join(note.label_digests)) == _DIGITS * note.entry.samples
        except (FileNotFoundError, UnfitFile, ValueError, KeyError, TypeError):
            return None
        return note if whole else None


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
    if os.path.lexists(folder.path) if folder.path else folder.names():
        # The owner first: another writer that misses a file then notices that it lost the place.
        with suppress(IsADirectoryError, NotADirectoryError):
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
            StagedShard(owner=owner, entry=entry, label_digests=label_digests(content)).save(place)

    with ThreadPoolExecutor(_READERS) as pool:
        list(pool.map(note, manifest.shards))
    place.remove(MANIFEST)


def _content(place: Place, entry: ShardEntry) -> bytes | None:
    """The bytes of a shard; None if the shard is missing or damaged."""
    try:
        return checked_content(place.read(entry.name, entry.bytes), entry.sha256, entry.bytes)
    except (FileNotFoundError, UnfitFile, WrongContent):
        return None


def owner_of(identity: dict[str, Any], made_with: dict[str, str]) -> str:
    """The owner of a staged set; a run with other versions or on another device does not continue it."""
    return digest_of([identity, made_with])


def start_set(place: Place, owner: str) -> dict[int, StagedShard | None]:
    """Notes on the shards that a killed run of the same set left; any other staged set is removed.

    Returns:
        The notes by the number of their shard; None for those that do not check out.
    """
    if (present := current_owner(place)) != owner:
        _refuse_complete(place)
        if present is None and place.size(OWNER) is not None:
            print(
                f"{place / OWNER}: of a killed run, and does not check out; the set is begun anew", flush=True
            )
        clear_set(place)
        place.write(OWNER, to_json({"owner": owner}).encode())
        return {}
    for name in place.names():
        if name.startswith(TEMPORARY):
            place.remove(name)
    numbers = [int(found[1]) for name in (place / STAGING).names() if (found := _NOTE.fullmatch(name))]
    with ThreadPoolExecutor(_LOOKUPS) as pool:
        notes = list(pool.map(lambda number: StagedShard.read(place, shard_name(number)), numbers))
    return {
        number: note if note is not None and note.owner == owner else None
        for number, note in zip(numbers, notes, strict=True)
    }


def still_whole(
    place: Place, notes: dict[int, StagedShard | None], counts: Sequence[int], workers: Workers
) -> dict[int, StagedShard]:
    """The notes whose shards are undamaged, judged by their content, or at a URL by their length.

    The workers share the work; the main one says in a line what is written again. ``counts`` is the number of
    samples of every shard.
    """

    def whole(number: int) -> bool:
        note = notes[number]
        if note is None or number >= len(counts) or note.entry.samples != counts[number]:
            return False
        if place.path is None:
            return place.size(note.entry.name) == note.entry.bytes
        try:
            content = _content(place, note.entry)
            return content is not None and label_digests(content) == note.label_digests
        except ShardError:
            return False

    mine = workers.share(sorted(notes))
    with ThreadPoolExecutor(_READERS if place.path else _LOOKUPS) as pool:
        good = list(pool.map(whole, mine))
    gathered = workers.gather([number for number, fine in zip(mine, good, strict=True) if fine])
    kept = {number for others in gathered for number in others}
    if lost := [shard_name(number) for number in sorted(notes) if number not in kept]:
        named = ", ".join(lost[:5]) + (", ..." if len(lost) > 5 else "")
        workers.log(f"{place}: notes on {named} of a killed run do not check out; written again")
    return {number: note for number, note in notes.items() if note is not None and number in kept}


def shard_name(number: int) -> str:
    """File name of a shard."""
    return f"shard-{number:06d}.tar"


def _note_name(shard: str) -> str:
    return f"{STAGING}/{Path(shard).stem}.json"


def current_owner(place: Place) -> str | None:
    """The owner of the staged set at a place; None if there is none, or the file does not check out."""
    try:
        return str(parse_json(place.read(OWNER, MOST_BYTES))["owner"])
    except (FileNotFoundError, NotADirectoryError, UnfitFile, ValueError, KeyError, TypeError):
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
