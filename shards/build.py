"""Building one set: parts, shards, and last of all the manifest."""

import hashlib
import json
import shutil
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Protocol

from tqdm import tqdm

from shards.atomic import write_text
from shards.manifest import MANIFEST, SCHEMA, Manifest, ShardEntry, digest_of, label_digest, save_manifest
from shards.read import read_tar
from shards.sample import Sample
from shards.workers import Workers
from shards.write import write_shard

_UNFINISHED = "unfinished.json"
_PARTS = "parts"


class SampleSource(Protocol):
    """Where the samples of a set come from."""

    @property
    def left_out(self) -> Sequence[dict[str, str]]:
        """Series that could not be read, known after :meth:`prepare`."""
        ...

    def prepare(self, parts: Path, workers: Workers, title: str) -> None:
        """Do what has to be done before samples can be asked for; every worker calls it."""

    def __len__(self) -> int:
        """Number of samples, known after :meth:`prepare`."""
        ...

    def samples(self, start: int, stop: int) -> Iterator[Sample]:
        """Samples ``start`` to ``stop`` (excluded)."""
        ...


def build_set(
    folder: Path,
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
        folder: the set's folder; its name is the set's name.
        source: the samples.
        identity: everything that determines them.
        phantom: whether they come from the phantom.
        samples_per_shard: samples in all shards but the last.
        workers: who shares the work.
    """
    if workers.rank == 0:
        _start(folder, digest_of(identity))
    workers.barrier()
    source.prepare(folder / _PARTS, workers, f"{folder.name}: reading")
    starts = range(0, len(source), samples_per_shard)
    mine = workers.share([(number, start) for number, start in enumerate(starts)])
    for number, start in tqdm(
        mine, desc=f"{folder.name}: writing", unit="shard", disable=workers.rank != 0 or not mine
    ):
        path = folder / _shard_name(number)
        if not path.is_file():
            write_shard(path, source.samples(start, min(start + samples_per_shard, len(source))))
    workers.barrier()
    if workers.rank == 0:
        _finish(folder, source, identity, len(starts), phantom)
    workers.barrier()


def clear_set(folder: Path) -> None:
    """Remove a set's files, the manifest first, so that a half-removed set never looks complete."""
    (folder / MANIFEST).unlink(missing_ok=True)
    for pattern in ("shard-*.tar", ".tmp-*", _UNFINISHED):
        for path in folder.glob(pattern):
            path.unlink()
    shutil.rmtree(folder / _PARTS, ignore_errors=True)


def _start(folder: Path, identity_hash: str) -> None:
    """Keep what a killed run of the same set left, remove anything else."""
    marker = folder / _UNFINISHED
    if not marker.is_file() or marker.read_text(encoding="utf-8") != identity_hash:
        clear_set(folder)
        write_text(marker, identity_hash)
    for temporary in folder.rglob(".tmp-*"):
        temporary.unlink()


def _finish(folder: Path, source: SampleSource, identity: dict[str, Any], shards: int, phantom: bool) -> None:
    entries: list[ShardEntry] = []

    def labels() -> Iterator[Any]:
        for number in range(shards):
            name = _shard_name(number)
            content = (folder / name).read_bytes()
            count = 0
            for sample in read_tar(content, name):
                count += 1
                yield sample.label
            digest = hashlib.sha256(content).hexdigest()
            entries.append(ShardEntry(name=name, samples=count, bytes=len(content), sha256=digest))

    digest = label_digest(labels())
    manifest = Manifest(
        schema=SCHEMA,
        name=folder.name,
        samples=len(source),
        phantom=phantom,
        # As JSON has it: what is compared later was read from a file.
        identity=json.loads(json.dumps(identity)),
        label_digest=digest,
        left_out=list(source.left_out),
        shards=tuple(entries),
    )
    shutil.rmtree(folder / _PARTS, ignore_errors=True)
    save_manifest(folder, manifest)
    (folder / _UNFINISHED).unlink()


def _shard_name(number: int) -> str:
    return f"shard-{number:06d}.tar"
