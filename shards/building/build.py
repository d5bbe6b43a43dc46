"""Building one set: parts, then shards, and finally the manifest."""

from collections import deque
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any, Protocol

from synthspine.progress import progress_bar
from synthspine.shards.building import staging
from synthspine.shards.building.staging import StagedShard, check_owner
from synthspine.shards.building.workers import Workers
from synthspine.shards.format.manifest import (
    MOST_SAMPLES,
    MOST_SHARDS,
    Manifest,
    ShardEntry,
    label_digest,
    save_manifest,
)
from synthspine.shards.format.provenance import digest_of
from synthspine.shards.format.sample import Sample, ShardError
from synthspine.shards.format.tar import write_shard
from synthspine.shards.storage.place import Place

WRITERS = 2
"""Threads that pack and write: one packs while the other waits for the disk."""


class SampleSource(Protocol):
    """The source of the samples of a set."""

    def identity(self) -> dict[str, Any]:
        """Everything that determines the samples."""

    def made_with(self) -> dict[str, str]:
        """Versions and device, on which the last bits of images depend."""

    @property
    def left_out(self) -> Sequence[dict[str, str]]:
        """Series that could not be read, known after :meth:`prepare`."""

    def prepare(self, parts: Place, workers: Workers, title: str) -> None:
        """Prepare for :meth:`begin`, with intermediate files in ``parts``; every worker calls it."""

    def __len__(self) -> int:
        """Number of samples, known after :meth:`prepare`."""

    def begin(self, start: int, stop: int) -> Callable[[], Iterable[Sample]]:
        """Start to make samples ``start`` to ``stop`` (excluded), asynchronously if on a GPU.

        The returned function gives the samples; it is called once, in another thread.
        """


def build_set(
    place: Place,
    source: SampleSource,
    identity: dict[str, Any],
    *,
    phantom: bool,
    samples_per_shard: int,
    workers: Workers,
) -> None:
    """Write a set, or continue one that a killed run left; every worker calls it.

    The bytes depend on the source alone, which the identity determines, not on the number of workers or on
    interruptions. The name of the place is the set's name.

    Raises:
        ShardError: another writer has begun another set in this place, or there are too many samples.
        OSError: a file cannot be written.
    """
    if len({digest_of(made) for made in workers.gather(source.made_with())}) > 1:
        found = "the processes run on different devices or versions"
        raise ShardError(f"{place}: {found}; the bytes would differ")
    owner = staging.owner_of(identity, source.made_with())
    left = workers.from_main(lambda: staging.start_set(place, owner))
    if staging.current_owner(place) != owner:
        found = f"process {workers.rank} does not find the files of the first process"
        raise ShardError(f"{place}: {found}; all processes need the same folder or URL")
    source.prepare(place / staging.STAGING / "parts", workers, f"{place.name}: reading")
    starts = range(0, len(source), samples_per_shard)
    if len(starts) > MOST_SHARDS:
        found = f"{len(source)} samples in shards of {samples_per_shard} are more than {MOST_SHARDS} shards"
        raise ShardError(f"{place}: {found}; choose a larger samples_per_shard")
    if len(source) > MOST_SAMPLES:
        raise ShardError(f"{place}: {len(source)} samples; a set holds at most {MOST_SAMPLES}")
    counts = [min(samples_per_shard, len(source) - start) for start in starts]
    notes = staging.still_whole(place, left, counts, workers)
    if notes:
        workers.log(f"{place}: continuing, {len(notes)} of {len(starts)} shards are complete")
    mine = workers.share([number for number in range(len(starts)) if number not in notes])
    written: dict[int, StagedShard] = {}
    silent = not workers.is_main or not mine
    jobs: deque[Future[None]] = deque()
    with ThreadPoolExecutor(WRITERS, thread_name_prefix="write") as pool:
        for number in progress_bar(mine, desc=f"{place.name}: writing", unit="shard", disable=silent):
            while len(jobs) >= 2 * WRITERS or (jobs and jobs[0].done()):
                jobs.popleft().result()
            start = starts[number]
            samples = source.begin(start, start + counts[number])
            jobs.append(pool.submit(_write, place, owner, number, samples, written))
    for job in jobs:
        job.result()
    for others in workers.gather(written):
        notes |= others
    if workers.is_main:
        _finish(place, owner, source, identity, phantom, [notes[n] for n in range(len(starts))])
    workers.barrier()


def _write(
    place: Place,
    owner: str,
    number: int,
    samples: Callable[[], Iterable[Sample]],
    written: dict[int, StagedShard],
) -> None:
    name = staging.shard_name(number)
    check_owner(place, owner)
    try:
        packed = write_shard(place, name, samples())
        labels, size = list(packed.label_digests), len(packed.content)
        entry = ShardEntry(name=name, samples=len(labels), bytes=size, sha256=packed.sha256)
        note = StagedShard(owner=owner, entry=entry, label_digests=labels)
        note.save(place)
    except OSError:
        # Another writer may have cleared the place, including our temporary files: report that instead.
        check_owner(place, owner)
        raise
    written[number] = note


def _finish(
    place: Place,
    owner: str,
    source: SampleSource,
    identity: dict[str, Any],
    phantom: bool,
    notes: list[StagedShard],
) -> None:
    check_owner(place, owner)
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
    if missing := staging.missing_shards(place, manifest):
        found = "was changed after it was written"
        raise ShardError(f"{place / missing[0]}: {found}; is another writer at work?")
    save_manifest(place, manifest)
    staging.clear_staging(place)
