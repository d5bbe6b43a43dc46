"""One sample of a shard and its three files: ``KEY.image.npy``, ``KEY.label.npy``, ``KEY.json``."""

import functools
import hashlib
import io
import json
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import orjson

from synthspine.gen.core.documents import parse_json

IMAGE, LABEL, RECORD = "image.npy", "label.npy", "json"
KEY_DIGITS = 8
DIGESTS = "sha256"
"""Last entry of a stored record: SHA-256 of each file; that of ``json`` excludes this entry."""

_FEW = 256
_MAGIC = np.lib.format.magic(1, 0)
_PREFIX = len(_MAGIC) + 2


class ShardError(ValueError):
    """A shard, manifest or set that cannot be used; the text is one line that names it."""


class Sample:
    """A slice, its label map and its record.

    Attributes:
        key: name in the shard, digits only: WebDataset splits names at the first dot.
        image: float16 in [0, 1], shape ``(H, W)``; None in sets of label maps. Read-only if read from a set.
        label: dense codes, uint8, shape ``(H, W)``. Read-only if read from a set.
        record: source of the sample (``schemas/record.json``); parsed at the first access.
    """

    __slots__ = ("_record", "image", "key", "label")

    def __init__(
        self, key: str, image: np.ndarray | None, label: np.ndarray, record: dict[str, Any] | bytes
    ) -> None:
        self.key = key
        self.image = image
        self.label = label
        self._record = record

    @property
    def record(self) -> dict[str, Any]:
        """The record.

        Raises:
            ShardError: it is not a JSON object.
        """
        if not isinstance(self._record, dict):
            try:
                # Most records have too few brackets to be nested deep, which would take time to look at.
                opened = self._record.count(b"[") + self._record.count(b"{")
                self._record = (orjson.loads if opened <= _FEW else parse_json)(self._record)
            except ValueError as error:
                raise ShardError(f"sample {self.key}: {RECORD}: {error}") from None
            if not isinstance(self._record, dict):
                raise ShardError(f"sample {self.key}: {RECORD}: not an object")
        return self._record

    def unparsed(self) -> "Sample":
        """A copy whose parsed record is freed with the copy."""
        return Sample(self.key, self.image, self.label, self._record)


def sample_key(index: int) -> str:
    """Key of the sample with that number in a set."""
    return f"{index:0{KEY_DIGITS}d}"


def named_samples(keys: Sequence[str]) -> str:
    """``samples 00000000 to 00000003``: successive keys, for messages."""
    return f"sample {keys[0]}" if len(keys) == 1 else f"samples {keys[0]} to {keys[-1]}"


def encode(sample: Sample) -> dict[str, bytes]:
    """The files of a sample, extension to content; equal samples give equal bytes.

    The record gains the entry ``DIGESTS``.
    """
    files = {} if sample.image is None else {IMAGE: _npy(sample.image.astype(np.float16, copy=False))}
    files[LABEL] = _npy(sample.label.astype(np.uint8, copy=False))
    facts = to_json({name: value for name, value in sample.record.items() if name != DIGESTS}).encode()
    digests = {
        name: hashlib.sha256(content).hexdigest() for name, content in (files | {RECORD: facts}).items()
    }
    seal = f'"{DIGESTS}": {to_json(digests)}}}'.encode()
    files[RECORD] = facts[:-1] + (b", " if len(facts) > 2 else b"") + seal
    return files


def decode(key: str, files: Mapping[str, memoryview]) -> Sample:
    """The sample of these files, without copying them.

    Raises:
        ShardError: a file is missing or malformed. Nothing is unpickled.
    """
    label, record = files.get(LABEL), files.get(RECORD)
    if label is None or record is None or len(files) > 2 + (IMAGE in files):
        raise ShardError(f"sample {key} has the files {sorted(files)}; {LABEL} and {RECORD} are needed")
    image = _array(key, IMAGE, files[IMAGE], np.float16) if IMAGE in files else None
    return Sample(key, image, _array(key, LABEL, label, np.uint8), bytes(record))


def stored_digests(files: Mapping[str, memoryview]) -> dict[str, str]:
    """SHA-256 of the stored files of a sample, as its record holds them under ``DIGESTS``."""
    contents = {name: bytes(content) for name, content in files.items()}
    facts = contents[RECORD].rpartition(f'"{DIGESTS}": '.encode())[0]
    contents[RECORD] = facts.removesuffix(b", ") + b"}"
    return {name: hashlib.sha256(content).hexdigest() for name, content in contents.items()}


def to_json(value: Any) -> str:
    """JSON with sorted keys, so that equal values give equal text."""
    return json.dumps(value, sort_keys=True, allow_nan=False)


def _npy(array: np.ndarray) -> bytes:
    buffer = io.BytesIO()
    np.lib.format.write_array(buffer, np.ascontiguousarray(array), version=(1, 0), allow_pickle=False)
    return buffer.getvalue()


def _array(key: str, extension: str, content: memoryview, dtype: type) -> np.ndarray:
    try:
        start = _PREFIX + int.from_bytes(content[len(_MAGIC) : _PREFIX], "little")
        found, shape = _header(bytes(content[:start]))
        if found != dtype or len(shape) != 2:
            want = f"2D {np.dtype(dtype)}"
            raise ValueError(f"{found} array of {len(shape)} axes where {want} is expected")
        return np.frombuffer(content, dtype, offset=start).reshape(shape)
    except ValueError as error:
        raise ShardError(f"sample {key}: {extension}: {error}") from None


@functools.lru_cache(maxsize=64)
def _header(content: bytes) -> tuple[np.dtype, tuple[int, ...]]:
    """Type and shape of an array in NumPy's format 1.0; cached, because samples share a few headers."""
    if not content.startswith(_MAGIC):
        raise ValueError("not an array in NumPy's format 1.0")
    try:
        shape, by_columns, dtype = np.lib.format.read_array_header_1_0(io.BytesIO(content[len(_MAGIC) :]))
    except Exception as error:
        # NumPy does not document what its reader raises; it includes errors of the tokenizer.
        raise ValueError(f"its header cannot be read ({error})") from None
    if any(type(size) is not int for size in shape):
        raise ValueError(f"its shape {shape} is not of whole numbers")
    if by_columns or min(shape, default=1) < 1:
        raise ValueError("stored by columns where rows are expected, or empty")
    return dtype, shape
