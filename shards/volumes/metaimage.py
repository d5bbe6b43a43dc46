"""Reading MetaImage files: a header of text, then the voxels, as they are or by zlib.

Nothing outside of a ``.mha`` file is opened, and of a ``.mhd`` header only the file beside it that it names.
Compressed voxels are read to the end of their stream, so that its checksum is compared. Source: the MetaIO
documentation of ITK (``MetaImage``).
"""

import math
import re
import zlib
from pathlib import Path
from typing import BinaryIO

import numpy as np

from synthspine.shards.volumes.stored import (
    Stored,
    UnreadableError,
    check_extent,
    check_size,
    checked_direction,
    open_regular,
    read_voxels,
)

_MOST_LINES, _MOST_LINE_BYTES = 200, 4096
_BLOCK_BYTES = 1 << 20
_DATA_FILE = "ElementDataFile"
_TYPES = {
    "MET_CHAR": "i1",
    "MET_UCHAR": "u1",
    "MET_SHORT": "i2",
    "MET_USHORT": "u2",
    "MET_INT": "i4",
    "MET_UINT": "u4",
    "MET_LONG": "i4",
    "MET_ULONG": "u4",
    "MET_LONG_LONG": "i8",
    "MET_ULONG_LONG": "u8",
    "MET_FLOAT": "f4",
    "MET_DOUBLE": "f8",
}
_SPACINGS = ("ElementSpacing", "ElementSize")
_DIRECTIONS, _ORIGINS = ("TransformMatrix", "Rotation", "Orientation"), ("Offset", "Position", "Origin")
_BYTE_ORDERS = ("BinaryDataByteOrderMSB", "ElementByteOrderMSB")


def read_metaimage(path: Path) -> Stored:
    """The content of a ``.mha`` file, or of a ``.mhd`` header and the file beside it that holds its voxels.

    Raises:
        UnreadableError: no MetaImage, truncated, damaged, not three-dimensional with one channel, of absurd
            size, without an orientation, or with its voxels in other files.
        OSError: it cannot be read.
    """
    with open_regular(path) as file:
        header = _Header(file)
        size = header.size
        spacing = header.spacing()
        known = [1e-3 if value is None else value for value in spacing]
        check_extent(size, known)
        direction, origin = header.direction(), header.numbers(_ORIGINS, 3) or [0.0, 0.0, 0.0]
        voxel = header.voxel_type()
        expected = math.prod(size) * voxel.itemsize
        beside = header.voxels_beside(path)
        if beside is None:
            data = header.data(file, path.stat().st_size - file.tell(), expected)
    if beside is not None:
        try:
            with open_regular(beside) as file:
                data = header.data(file, beside.stat().st_size, expected)
        except UnreadableError as error:
            raise UnreadableError(f"its voxels, {beside.name}: {error}") from None
    values = np.frombuffer(data, voxel).reshape(size[::-1])
    return Stored(
        values=values.astype(voxel.newbyteorder("="), copy=False),
        spacing_mm=spacing,
        direction=direction,
        origin_mm=(origin[0], origin[1], origin[2]),
    )


class _Header:
    """The fields of a header; after it was read, the file is at the first byte of the voxels."""

    def __init__(self, file: BinaryIO) -> None:
        self._fields: dict[str, str] = {}
        for _ in range(_MOST_LINES):
            key, separator, value = file.readline(_MOST_LINE_BYTES).decode("latin-1").partition("=")
            if not separator:
                break
            if self._fields.setdefault(key.strip(), value.strip()) != value.strip():
                raise UnreadableError(f"cannot be read as an image: its header holds {key.strip()} twice")
            if key.strip() == _DATA_FILE:
                break
        if _DATA_FILE not in self._fields or "DimSize" not in self._fields:
            raise UnreadableError("cannot be read as an image: it has no whole MetaImage (.mha) header")
        for key, right in (("HeaderSize", "0"), ("BinaryData", "true"), ("ObjectType", "image")):
            if self._fields.get(key, right).lower() != right:
                raise UnreadableError(f"cannot be read: {key} is {self._fields[key][:40]!r}, not {right}")
        self.size = self._size()

    def voxels_beside(self, path: Path) -> Path | None:
        """The file beside a ``.mhd`` header that holds its voxels; None where they follow the header."""
        name = self._fields[_DATA_FILE]
        if name == "LOCAL":
            return None
        plain = re.fullmatch(r"[^/\\%:]+", name) and name not in (".", "..", "LIST", path.name)
        if path.name.lower().endswith(".mhd") and plain:
            return path.with_name(name)
        raise UnreadableError(
            f"its voxels are in other files ({_DATA_FILE} is {name[:40]!r}); save it as one file (LOCAL)"
        )

    def numbers(self, keys: tuple[str, ...], count: int) -> list[float] | None:
        """Finite numbers under the first of some names that the header holds; None if it holds none."""
        key = next((key for key in keys if key in self._fields), None)
        if key is None:
            return None
        try:
            found = [float(word) for word in self._fields[key].split()]
        except ValueError:
            found = []
        if len(found) != count or not all(math.isfinite(value) for value in found):
            text = f"{key} is {self._fields[key][:60]!r}; {count} finite numbers are needed"
            raise UnreadableError(f"cannot be read as an image: {text}")
        return found

    def _size(self) -> tuple[int, ...]:
        words = self._fields["DimSize"].split()
        dimensions = self._fields.get("NDims", "")
        if not all(word.isascii() and word.isdecimal() and len(word) < 10 for word in [*words, dimensions]):
            found = f"NDims {dimensions[:40]!r}, DimSize {self._fields['DimSize'][:60]!r}"
            raise UnreadableError(f"cannot be read as an image: {found} are not small whole numbers")
        if len(words) != int(dimensions):
            raise UnreadableError(f"cannot be read as an image: NDims is {dimensions}, DimSize {len(words)}")
        size = tuple(map(int, words))
        check_size(size)
        channels = self._fields.get("ElementNumberOfChannels", "1")
        if channels != "1":
            raise UnreadableError(
                f"has 3 dimensions and {channels[:40]} channel(s); a 3D volume with one channel is needed"
            )
        return size

    def spacing(self) -> tuple[float | None, float | None, float | None]:
        """The spacing along the axes of the file; None where it is missing or 0."""
        found = self.numbers(_SPACINGS, 3) or [0.0, 0.0, 0.0]
        if min(found) < 0:
            raise UnreadableError(f"has a negative spacing: {' x '.join(f'{value:g}' for value in found)} mm")
        across, down, deep = (value or None for value in found)
        return across, down, deep

    def direction(self) -> np.ndarray:
        """The directions of the axes, as columns."""
        matrix = self.numbers(_DIRECTIONS, 9)
        if matrix is None:
            raise UnreadableError("gives no orientation (TransformMatrix)")
        return checked_direction(np.array(matrix).reshape(3, 3).T)

    def voxel_type(self) -> np.dtype:
        """The type of the voxels, in the byte order of the file."""
        name = self._fields.get("ElementType", "")
        if name not in _TYPES:
            raise UnreadableError(f"cannot be read as an image: ElementType is {name[:40]!r}")
        order = next((self._fields[key] for key in _BYTE_ORDERS if key in self._fields), "False")
        return np.dtype((">" if order.lower() == "true" else "<") + _TYPES[name])

    def data(self, file: BinaryIO, held: int, expected: int) -> bytes:
        """The bytes of the voxels; ``held`` are in the file, ``expected`` are needed."""
        if self._fields.get("CompressedData", "False").lower() != "true":
            return read_voxels(file, self.size, expected // math.prod(self.size))
        size = self._fields.get("CompressedDataSize", str(held))
        if not (size.isascii() and size.isdecimal() and len(size) < 19):
            raise UnreadableError(f"cannot be read as an image: CompressedDataSize is {size[:40]!r}")
        if (missing := int(size) - held) > 0:
            raise UnreadableError(f"is truncated: {missing} bytes are missing")
        return _unpacked(file, int(size), expected)


def _unpacked(file: BinaryIO, size: int, expected: int) -> bytes:
    """A zlib stream of ``size`` bytes that gives ``expected`` bytes, with its checksum compared."""
    stream = zlib.decompressobj()
    content = bytearray()
    try:
        while size > 0 and not stream.eof and len(content) <= expected:
            block = file.read(min(size, _BLOCK_BYTES))
            size -= len(block)
            content += stream.decompress(block, expected + 1 - len(content))
            # What is left over is the end of the stream, which gives no more bytes.
            content += stream.decompress(stream.unconsumed_tail, 1) if stream.unconsumed_tail else b""
    except zlib.error as error:
        raise UnreadableError(f"is damaged: its compressed voxels cannot be unpacked ({error})") from None
    if len(content) != expected:
        found = f"more than {expected}" if len(content) > expected else f"{len(content)}, not {expected}"
        raise UnreadableError(f"is damaged: the bytes of its compressed voxels are {found}")
    if not stream.eof:
        raise UnreadableError("is damaged: its compressed voxels have no end, so no checksum")
    return bytes(content)
