"""Archives of ``torch.save``: written with a digest of all their bytes, and read without trust in one bit.

torch itself believes the directory of an archive: an entry that one bit makes a folder is not read, and its
tensor is whatever was in memory. So ``zipfile`` reads and sums the records, and torch gets a plain copy.
"""

import hashlib
import io
import os
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from synthspine.gen.core.documents import open_regular

_MARK = b"sha256:"
_SEAL_BYTES = len(_MARK) + 64
_START, _END, _END_BYTES = b"PK\x03\x04", b"PK\x05\x06", 22


class ArchiveError(ValueError):
    """An archive is damaged; the text says what is wrong, without a name."""


def pack_archive(payload: Mapping[str, Any]) -> bytes:
    """Tensors, numbers and text as a file of ``torch.save`` whose comment is the SHA-256 of all before it."""
    room = io.BytesIO()
    torch.save(dict(payload), room)
    # The last two bytes are the length of the comment.
    body = room.getvalue()[:-2] + _SEAL_BYTES.to_bytes(2, "little")
    return body + _seal(body)


def unpack_archive(data: bytes) -> Any:
    """What :func:`pack_archive` or an earlier version packed, on the CPU.

    Raises:
        ArchiveError: a byte is not the one that was written, or a tensor is not whole or not finite.
        Exception: what ``zipfile`` and ``torch.load`` raise where something else is wrong.
    """
    _check_ends(data[:4], data[-_SEAL_BYTES:])
    body, seal = data[:-_SEAL_BYTES], data[-_SEAL_BYTES:]
    if seal.startswith(_MARK) and seal != _seal(body):
        raise ArchiveError("its bytes are not those that were written")
    payload = torch.load(_plain_copy(data), map_location="cpu", weights_only=True)
    check_tensors(payload, "")
    return payload


def read_archive(path: Path) -> bytes:
    """The bytes of a file whose ends are those of an archive; of a file of another kind no more is read.

    Raises:
        ArchiveError: its ends are not those of an archive.
        OSError: it cannot be read, or is no regular file.
    """
    with open_regular(path) as stream:
        start = stream.read(4)
        stream.seek(max(0, stream.seek(0, os.SEEK_END) - _SEAL_BYTES))
        _check_ends(start, stream.read(_SEAL_BYTES))
        stream.seek(0)
        return stream.read()


def _seal(body: bytes) -> bytes:
    return _MARK + hashlib.sha256(body).hexdigest().encode()


def _check_ends(start: bytes, end: bytes) -> None:
    """Earlier versions wrote no comment, so that nothing comes after the end of the directory."""
    bare = end[-_END_BYTES:].startswith(_END) and end.endswith(b"\0\0")
    if start != _START or not (bare or end.startswith(_MARK)):
        raise ArchiveError("it does not begin or end as such a file")


def _plain_copy(data: bytes) -> io.BytesIO:
    """The records of an archive, each checked against its sum, without attributes."""
    room = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(data)) as archive, zipfile.ZipFile(room, "w") as copy:
        entries = archive.infolist()
        packed = any(entry.compress_type != zipfile.ZIP_STORED for entry in entries)
        if packed or sum(entry.file_size for entry in entries) > len(data):
            raise ArchiveError("its records are packed or overlap")
        if len({entry.filename for entry in entries}) < len(entries):
            raise ArchiveError("two records have the same name")
        for entry in entries:
            copy.writestr(entry.filename, archive.read(entry))
    room.seek(0)
    return room


def check_tensors(value: object, name: str) -> None:
    """Raise an :class:`ArchiveError` about a tensor below ``name`` that is not whole, plain and finite."""
    if isinstance(value, Tensor):
        if value.layout is not torch.strided or value.device.type != "cpu":
            raise ArchiveError(f"{name} is no plain tensor")
        if value.numel() * value.element_size() > value.untyped_storage().nbytes():
            raise ArchiveError(f"{name} is longer than what is stored of it")
        if not value.isfinite().all():
            raise ArchiveError(f"{name} has values that are not finite")
    elif isinstance(value, Mapping):
        for key, item in value.items():
            check_tensors(item, f"{name}.{key}".removeprefix("."))
    elif isinstance(value, list | tuple | set | frozenset):
        for place, item in enumerate(value):
            check_tensors(item, f"{name}.{place}".removeprefix("."))
