"""Weights in the format of ``safetensors``, which many tools read: tensors by name, and text about them.

The text is one JSON object under the key ``synthspine``, with a digest of the tensors.
"""

import hashlib
import json
from collections.abc import Mapping
from typing import Any

from safetensors import SafetensorError
from safetensors.torch import load, save
from torch import Tensor

from synthspine.train.model.archive import ArchiveError, check_tensors

_KEY, _DIGEST, _WEIGHTS = "synthspine", "sha256", "state_dict"
_LENGTH = 8


def pack_tensors(payload: Mapping[str, Any]) -> bytes:
    """A file of a payload whose entry ``state_dict`` holds all tensors; equal payloads give equal bytes."""
    weights = payload[_WEIGHTS]
    told = {name: value for name, value in payload.items() if name != _WEIGHTS}
    # Not sorted: the order of a label scheme is that of the classes.
    text = json.dumps(told | {_DIGEST: _digest(weights)})
    return save(dict(weights), {_KEY: text})


def unpack_tensors(data: bytes) -> dict[str, Any]:
    """What :func:`pack_tensors` packed, on the CPU.

    Raises:
        ArchiveError: it is something else, a tensor is not the one that was written or not finite.
    """
    try:
        weights = load(data)
        header = json.loads(data[_LENGTH : _LENGTH + int.from_bytes(data[:_LENGTH], "little")])
        told = json.loads(header["__metadata__"][_KEY])
        digest = told.pop(_DIGEST)
    except KeyError:
        raise ArchiveError(f"it does not say what network the weights are of (metadata {_KEY})") from None
    except (SafetensorError, ValueError, TypeError, AttributeError, RecursionError) as error:
        raise ArchiveError(str(error).splitlines()[0]) from None
    if digest != _digest(weights):
        raise ArchiveError("its weights are not those that were written")
    check_tensors(weights, "")
    return {**told, _WEIGHTS: weights}


def _digest(weights: Mapping[str, Tensor]) -> str:
    whole = hashlib.sha256()
    for name in sorted(weights):
        whole.update(f"{name} {weights[name].dtype} {tuple(weights[name].shape)}".encode())
        whole.update(weights[name].contiguous().numpy().tobytes())
    return whole.hexdigest()
