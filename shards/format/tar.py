"""Shards: samples are packed into a plain tar by webdataset, and read without copying."""

import hashlib
import io
import re
import tarfile
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from webdataset import TarWriter

from synthspine.shards.format.sample import LABEL, RECORD, Sample, ShardError, decode, encode
from synthspine.shards.storage.place import Place

_BLOCK = tarfile.BLOCKSIZE
_USTAR = b"ustar\x0000"
_FILE = ord(tarfile.REGTYPE)
_SIZE, _SIZE_FIELD = re.compile(rb"[0-7]{11}[\0 ]"), (124, 136)


@dataclass(frozen=True, slots=True)
class Packed:
    """A shard in memory: its bytes, their SHA-256, and that of every ``label.npy``, one per sample."""

    content: bytes
    sha256: str
    label_digests: tuple[str, ...]


def pack(samples: Iterable[Sample]) -> Packed:
    """Samples as a tar that any WebDataset reader reads; equal samples give equal bytes."""
    file = io.BytesIO()
    labels: list[str] = []
    # No owner, a fixed mode and time 0: the bytes depend on the samples alone.
    with TarWriter(file, user="", group="", mode=0o644, mtime=0, compress=False, encoder=False) as tar:
        for sample in samples:
            # One call for each file: the writer would sort them, and the record comes last.
            for extension, content in encode(sample).items():
                tar.write({"__key__": sample.key, extension: content})
                if extension == LABEL:
                    labels.append(hashlib.sha256(content).hexdigest())
    content = file.getvalue()
    return Packed(content, hashlib.sha256(content).hexdigest(), tuple(labels))


def write_shard(place: Place, name: str, samples: Iterable[Sample]) -> Packed:
    """Write samples as one tar, whole or not at all; raises OSError if it cannot be written."""
    packed = pack(samples)
    place.write(name, packed.content)
    return packed


def unpack(content: bytes) -> Iterator[Sample]:
    """The samples of a shard, in order; arrays are views of ``content``.

    Raises:
        ShardError: these are not the bytes of a shard.
    """
    for key, files in sample_files(content):
        yield decode(key, files)


def sample_files(content: bytes) -> Iterator[tuple[str, dict[str, memoryview]]]:
    """Key and files (by extension) of the samples of a shard, in order; as :func:`unpack`."""
    key = ""
    files: dict[str, memoryview] = {}
    for name, body in members(content):
        entry_key, _, extension = name.partition(".")
        if files and entry_key != key:
            break
        if extension in files:
            raise ShardError(f"sample {key} has two files {extension}")
        key, files[extension] = entry_key, body
        if extension == RECORD:
            # The record is the last file of every sample.
            yield key, files
            files = {}
    if files:
        raise ShardError(f"sample {key} has the files {sorted(files)} and no {RECORD}")


def label_digests(content: bytes) -> list[str]:
    """SHA-256 of every ``label.npy`` of a shard, in order; raises ShardError as :func:`members`."""
    return [hashlib.sha256(body).hexdigest() for name, body in members(content) if name.endswith(f".{LABEL}")]


def members(content: bytes) -> Iterator[tuple[str, memoryview]]:
    """Name and content of every file of a tar as :func:`pack` writes it.

    ``tarfile`` would spend more time on the headers than reading and hashing the whole shard takes.

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
        if not _SIZE.fullmatch(header, *_SIZE_FIELD):
            raise ShardError(f"{name}: its header names no size: eleven octal digits are expected")
        size = int(header[124:135], 8)
        place += _BLOCK
        if place + size > len(content):
            raise ShardError(f"{name}: cut off")
        yield name, view[place : place + size]
        place += size + -size % _BLOCK
    raise ShardError("not a tar, or one that is cut off")
