"""One sample of a shard and its three files: ``KEY.image.npy``, ``KEY.label.npy``, ``KEY.json``."""

import io
import json
from dataclasses import dataclass
from typing import Any

import numpy as np

IMAGE, LABEL, RECORD = "image.npy", "label.npy", "json"
KEY_DIGITS = 8


class ShardError(ValueError):
    """A shard, manifest or set that cannot be used; the text is one line that names it."""


@dataclass(frozen=True, slots=True, eq=False)
class Sample:
    """A slice with its label and where it comes from.

    Attributes:
        key: its name in the shard, digits only: WebDataset cuts names at the first dot.
        image: float16 in [0, 1], shape ``(H, W)``; None in sets of label maps.
        label: dense codes, uint8, shape ``(H, W)``.
        record: JSON-able facts. Slices of a series: ``source``, ``patient``, ``contrast``, ``slice``,
            ``spacing_mm``. Synthetic samples: ``index``, ``seed``, ``params``, ``source``, ``patient``.
    """

    key: str
    image: np.ndarray | None
    label: np.ndarray
    record: dict[str, Any]


def sample_key(index: int) -> str:
    """Key of the sample at that place of a set."""
    return f"{index:0{KEY_DIGITS}d}"


def encode(sample: Sample) -> dict[str, bytes]:
    """The files of a sample, extension to content; equal samples give equal bytes."""
    files = {} if sample.image is None else {IMAGE: _npy(sample.image.astype(np.float16, copy=False))}
    files[LABEL] = _npy(sample.label.astype(np.uint8, copy=False))
    files[RECORD] = to_json(sample.record).encode()
    return files


def decode(key: str, files: dict[str, bytes]) -> Sample:
    """The sample of these files.

    Raises:
        ShardError: a file is missing or is not what it should be. Nothing is ever unpickled.
    """
    unknown = files.keys() - {IMAGE, LABEL, RECORD}
    if unknown or LABEL not in files or RECORD not in files:
        raise ShardError(f"sample {key} has the files {sorted(files)}; {LABEL} and {RECORD} are needed")
    try:
        image = _array(files[IMAGE], np.float16) if IMAGE in files else None
        return Sample(key, image, _array(files[LABEL], np.uint8), json.loads(files[RECORD]))
    except ValueError as error:
        raise ShardError(f"sample {key}: {error}") from None


def to_json(value: Any) -> str:
    """JSON with sorted keys, so that equal values give equal text."""
    return json.dumps(value, sort_keys=True, allow_nan=False)


def _npy(array: np.ndarray) -> bytes:
    buffer = io.BytesIO()
    np.lib.format.write_array(buffer, np.ascontiguousarray(array), version=(1, 0), allow_pickle=False)
    return buffer.getvalue()


def _array(content: bytes, dtype: type) -> np.ndarray:
    array = np.lib.format.read_array(io.BytesIO(content), allow_pickle=False)
    if array.dtype != dtype or array.ndim != 2:
        raise ValueError(f"{array.dtype} array of {array.ndim} axes where 2D {np.dtype(dtype)} is expected")
    return array
