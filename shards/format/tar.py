"""Shards as bytes: packing samples into a plain tar, and finding them in one without copying."""

import hashlib
import tarfile
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from synthspine.shards.format.sample import LABEL, RECORD, Sample, ShardError, decode, encode

_BLOCK = tarfile.BLOCKSIZE
_USTAR = b"ustar\x0000"
_FILE = ord(tarfile.REGTYPE)


@dataclass(frozen=True, slots=True)
class Packed:
    """A shard that is ready to be written.

    Attributes:
        parts: its bytes, one after the other.
        bytes: their number.
        sha256: SHA-256 of all of them.
        label_digests: SHA-256 of every ``label.npy``, one per sample.
    """

    parts: tuple[bytes, ...]
    bytes: int
    sha256: str
    label_digests: tuple[str, ...]


def pack(samples: Iterable[Sample]) -> Packed:
    """Samples as a tar that any WebDataset reader reads; equal samples give equal bytes."""
    parts: list[bytes] = []
    labels: list[str] = []
    for sample in samples:
        for extension, content in encode(sample).items():
            # A fresh TarInfo carries no owner and time 0, so the bytes depend on the samples alone.
            entry = tarfile.TarInfo(f"{sample.key}.{extension}")
            entry.size = len(content)
            parts += [entry.tobuf(tarfile.USTAR_FORMAT), content, bytes(-len(content) % _BLOCK)]
            if extension == LABEL:
                labels.append(hashlib.sha256(content).hexdigest())
    size = sum(map(len, parts)) + 2 * _BLOCK
    parts.append(bytes(2 * _BLOCK + -size % tarfile.RECORDSIZE))
    whole = hashlib.sha256()
    for part in parts:
        whole.update(part)
    return Packed(tuple(parts), sum(map(len, parts)), whole.hexdigest(), tuple(labels))


def unpack(content: bytes) -> Iterator[Sample]:
    """The samples of a shard, in order; arrays are views of ``content``.

    Raises:
        ShardError: these are not the bytes of a shard.
    """
    key = ""
    files: dict[str, memoryview] = {}
    for name, body in members(content):
        entry_key, _, extension = name.partition(".")
        if files and entry_key != key:
            break
        key, files[extension] = entry_key, body
        if extension == RECORD:
            # It is the last one of every sample.
            yield decode(key, files)
            files = {}
    if files:
        raise ShardError(f"sample {key} has the files {sorted(files)} and no {RECORD}")


def members(content: bytes) -> Iterator[tuple[str, memoryview]]:
    """Name and content of every file of a tar as :func:`pack` writes it.

    Python's own reader spends longer on the headers than is needed to read and hash the whole shard.

    Raises:
        ShardError: not such a tar.
    """
    view = memoryview(content)
    place = 0
    while place + _BLOCK <= len(content):
        header = content[place : place + _BLOCK]
        if not header[0]:
            return
        name = header[:100].rstrip(b"\0").decode("ascii", "replace")
        if header[257:265] != _USTAR or header[156] != _FILE:
            raise ShardError(f"{name!r} at byte {place} is not a plain file in a tar (USTAR)")
        try:
            size = int(header[124:135], 8)
        except ValueError:
            raise ShardError(f"{name}: its header names no size") from None
        place += _BLOCK
        if place + size > len(content):
            raise ShardError(f"{name}: cut off")
        yield name, view[place : place + size]
        place += size + -size % _BLOCK
    raise ShardError("not a tar, or one that is cut off")
