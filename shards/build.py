"""Building one set: parts, shards, and last of all the manifest.

While a set is being made, its folder ``unfinished`` holds whose it is and what is known of each shard that
is there. A shard is on the disk before it is noted, so what is noted is whole, whenever the writer dies.
"""

import json
from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from typing import Any, Protocol

from tqdm import tqdm

from shards.manifest import MANIFEST, Manifest, ShardEntry, digest_of, label_digest, save_manifest
from shards.places import Place
from shards.sample import Sample, ShardError, to_json
from shards.workers import Workers
from shards.write import Background, write_shard

UNFINISHED = "unfinished"
_OWNER = f"{UNFINISHED}/owner.json"


class SampleSource(Protocol):
    """Where the samples of a set come from."""

    def identity(self) -> dict[str, Any]:
        """Everything that determines the samples."""
        ...

    def made_with(self) -> dict[str, str]:
        """Versions and device, on which the last bits may depend."""
        ...

    @property
    def left_out(self) -> Sequence[dict[str, str]]:
        """Series that could not be read, known after :meth:`prepare`."""
        ...

    def prepare(self, parts: Place, workers: Workers, title: str) -> None:
        """Do what has to be done before samples can be asked for; every worker calls it."""

    def __len__(self) -> int:
        """Number of samples, known after :meth:`prepare`."""
        ...

    def begin(self, start: int, stop: int) -> Callable[[], Iterable[Sample]]:
        """Begin with samples ``start`` to ``stop`` (excluded), on the device if there is one to use.

        Returns:
            What gives the samples; called once, in another thread.
        """
        ...


@dataclass(frozen=True, kw_only=True, slots=True)
class _Note:
    """What is known of a shard that is written, and for which set: writers elsewhere may disagree."""

    owner: str
    entry: ShardEntry
    label_digests: list[str]

    def to_json(self) -> str:
        return to_json(asdict(self))

    @staticmethod
    def from_json(content: bytes) -> "_Note | None":
        """The note; None if it is none that this release wrote: its shard is then written again."""
        try:
            fields = json.loads(content)
            entry = ShardEntry(**fields["entry"])
            return _Note(owner=fields["owner"], entry=entry, label_digests=list(fields["label_digests"]))
        except (ValueError, KeyError, TypeError):
            return None


def build_set(
    place: Place,
    source: SampleSource,
    identity: dict[str, Any],
    *,
    phantom: bool,
    samples_per_shard: int,
    workers: Workers,
) -> None:
    """Write a set, or go on with one that a killed run left; every worker calls it.

    The bytes depend on the source alone, not on the number of workers or on interruptions.

    Args:
        place: where the set goes; its name is the set's name.
        source: the samples.
        identity: everything that determines them.
        phantom: whether they come from the phantom.
        samples_per_shard: samples in all shards but the last.
        workers: who shares the work.

    Raises:
        ShardError: another writer has begun another set in this place.
        OSError: something cannot be written.
    """
    if len({digest_of(made) for made in workers.gather(source.made_with())}) > 1:
        raise ShardError(
            f"{place}: the processes run on different devices or versions; the bytes would differ"
        )
    # A killed run of other versions or on another device is not gone on with.
    owner = digest_of([identity, source.made_with()])
    notes = workers.from_first(lambda: _start(place, owner))
    source.prepare(place / UNFINISHED / "parts", workers, f"{place.name}: reading")
    starts = range(0, len(source), samples_per_shard)
    if notes:
        workers.say(f"{place}: going on, {len(notes)} of {len(starts)} shards are there")
    mine = workers.share([number for number in range(len(starts)) if number not in notes])
    written: dict[int, _Note] = {}
    with Background() as background:
        for number in tqdm(
            mine, desc=f"{place.name}: writing", unit="shard", disable=workers.rank != 0 or not mine
        ):
            start = starts[number]
            samples = source.begin(start, min(start + samples_per_shard, len(source)))
            background.add(partial(_write, place, owner, number, samples, written))
    for others in workers.gather(written):
        notes |= others
    if workers.rank == 0:
        _finish(place, owner, source, identity, phantom, [notes[n] for n in range(len(starts))])
    workers.barrier()


def clear_set(place: Place) -> None:
    """Remove a set's files, the manifest first, so that a half-removed set never looks complete."""
    place.remove(MANIFEST)
    for name in place.names():
        if (name.startswith("shard-") and name.endswith(".tar")) or name.startswith(".tmp-"):
            place.remove(name)
    clear_unfinished(place)


def clear_unfinished(place: Place) -> None:
    """Remove what is kept of a set while it is being made."""
    (place / UNFINISHED).remove_tree()


def _start(place: Place, owner: str) -> dict[int, _Note]:
    """Notes on the shards that a killed run of the same set left; anything else is removed."""
    notes: dict[int, _Note] = {}
    if _owner(place) == owner:
        folder = place / UNFINISHED
        for name in folder.names():
            if name.startswith("shard-"):
                note = _Note.from_json(folder.read(name))
                if note is None or note.owner != owner:
                    continue
                if place.size(note.entry.name) == note.entry.bytes:
                    notes[int(name.removeprefix("shard-").removesuffix(".json"))] = note
        for name in place.names():
            if name.startswith(".tmp-"):
                place.remove(name)
    else:
        clear_set(place)
        place.write(_OWNER, to_json({"owner": owner}).encode())
    return notes


def _write(
    place: Place,
    owner: str,
    number: int,
    samples: Callable[[], Iterable[Sample]],
    written: dict[int, _Note],
) -> None:
    name = f"shard-{number:06d}"
    _check_owner(place, owner)
    try:
        packed = write_shard(place, f"{name}.tar", samples())
        entry = ShardEntry(
            name=f"{name}.tar", samples=len(packed.label_digests), bytes=packed.bytes, sha256=packed.sha256
        )
        note = _Note(owner=owner, entry=entry, label_digests=list(packed.label_digests))
        place.write(f"{UNFINISHED}/{name}.json", note.to_json().encode())
    except OSError:
        # Another writer clears the place, our temporary files with it: that is what has to be told.
        _check_owner(place, owner)
        raise
    written[number] = note


def _finish(
    place: Place,
    owner: str,
    source: SampleSource,
    identity: dict[str, Any],
    phantom: bool,
    notes: list[_Note],
) -> None:
    _check_owner(place, owner)
    for note in notes:
        if place.size(note.entry.name) != note.entry.bytes:
            raise ShardError(f"{place / note.entry.name}: is not what was written; another writer is at work")
    manifest = Manifest(
        name=place.name,
        samples=len(source),
        phantom=phantom,
        identity=identity,
        made_with=source.made_with(),
        label_digest=label_digest(digest for note in notes for digest in note.label_digests),
        left_out=list(source.left_out),
        shards=tuple(note.entry for note in notes),
    )
    save_manifest(place, manifest)
    clear_unfinished(place)


def _owner(place: Place) -> str | None:
    try:
        return json.loads(place.read(_OWNER))["owner"]
    except (FileNotFoundError, ValueError, KeyError, TypeError):
        return None


def _check_owner(place: Place, owner: str) -> None:
    """Stop where somebody else has begun anew: their files must not be mixed with ours."""
    if _owner(place) != owner:
        raise ShardError(
            f"{place}: another writer has begun another set here; give each its own place, and run again"
        )
