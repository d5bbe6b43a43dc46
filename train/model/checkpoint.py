"""Checkpoints: the weights of a model with what is needed to use it, in one file.

Files are written whole or not at all, and read with ``weights_only=True``: tensors, numbers, text, no code.
"""

import io
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from synthspine.shards.storage.atomic import atomic_path
from synthspine.train.model.unet import UNet

CHECKPOINT_FORMAT = 1
SNAPSHOT_FORMAT = 5
WRAPPER_PREFIXES = ("_orig_mod.", "module.")


class CheckpointError(ValueError):
    """A checkpoint file is missing, damaged or of another kind; the message is one line with its name."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Checkpoint:
    """What a checkpoint file holds.

    Attributes:
        state_dict: weights of a bare ``UNet``, on the CPU; float32, or float16 in a released file.
        architecture: arguments of ``UNet``.
        model: ``"A"`` (trained on synthetic images) or ``"B"`` (on real ones).
        config: the training configuration, JSON.
        step: optimiser steps behind the weights.
        validation_dice: mean structure Dice on the validation set that chose the weights; nan where none did.
        spacing_mm: in-plane pixel size of the images that it was trained on.
    """

    state_dict: dict[str, Tensor]
    architecture: dict[str, int]
    model: str
    config: str
    step: int
    validation_dice: float
    spacing_mm: float


class TrainedUNet(UNet):
    """A U-Net with the weights of a checkpoint, and in ``checkpoint`` what its file says about it."""

    def __init__(self, checkpoint: Checkpoint) -> None:
        super().__init__(**checkpoint.architecture)
        self.load_state_dict(checkpoint.state_dict)
        self.checkpoint = checkpoint


def bare_state(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """A state dictionary without the prefixes that wrappers put before names; detached, on the CPU."""
    bare: dict[str, Tensor] = {}
    for name, value in state.items():
        while name.startswith(WRAPPER_PREFIXES):
            name = name.partition(".")[2]
        bare[name] = value.detach().to("cpu", copy=True).contiguous()
    return bare


def save_checkpoint(path: Path, checkpoint: Checkpoint) -> None:
    """Write a checkpoint, whole or not at all; the folder is made where it is missing."""
    fields = {name: getattr(checkpoint, name) for name in Checkpoint.__slots__}
    state = bare_state(checkpoint.state_dict)
    write_payload(path, {"format": CHECKPOINT_FORMAT, **fields, "state_dict": state})


def load_checkpoint(path: Path | str) -> Checkpoint:
    """Read a checkpoint.

    Raises:
        CheckpointError: the file is missing, damaged, not a checkpoint, or of another format.
    """
    path = Path(path)
    if not path.is_file():
        raise CheckpointError(f"{path}: no such checkpoint")
    payload = unpack_payload(path.read_bytes(), path, CHECKPOINT_FORMAT)
    if missing := [name for name in Checkpoint.__slots__ if name not in payload]:
        raise CheckpointError(f"{path}: not a checkpoint of a model, it lacks {', '.join(missing)}")
    return Checkpoint(**{name: payload[name] for name in Checkpoint.__slots__})


def load_model(path: Path | str, device: torch.device | str = "cpu") -> TrainedUNet:
    """The network of a checkpoint, with its weights, on ``device`` and in evaluation mode.

    Raises:
        CheckpointError: as ``load_checkpoint``, or the weights do not fit the architecture.
    """
    checkpoint = load_checkpoint(path)
    try:
        model = TrainedUNet(checkpoint)
    except (RuntimeError, TypeError, ValueError) as error:
        reason = str(error).splitlines()[0]
        raise CheckpointError(f"{path}: weights and architecture do not fit: {reason}") from error
    return model.to(device).eval()


def write_payload(path: Path, payload: Mapping[str, Any]) -> None:
    """Write tensors, numbers and text; errors of :func:`write_whole`."""
    write_whole(path, pack_payload(payload))


def write_whole(path: Path, data: bytes) -> None:
    """Write a file, whole or not at all; an ``OSError`` names the file, also where the disk is full."""
    try:
        with atomic_path(path) as temporary:
            temporary.write_bytes(data)
    except OSError as error:
        if error.filename is None:
            error.filename = str(path)
        raise


def pack_payload(payload: Mapping[str, Any]) -> bytes:
    """Tensors, numbers and text as the bytes of a file of ``torch.save``."""
    room = io.BytesIO()
    torch.save(dict(payload), room)
    return room.getvalue()


def unpack_payload(data: bytes, name: object, version: int) -> dict[str, Any]:
    """What :func:`pack_payload` packed, on the CPU, checked against the sums in the archive.

    Errors name the file ``name``; ``version`` is the expected format.

    Raises:
        CheckpointError: damaged, or of another format.
    """
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            if (record := archive.testzip()) is not None:
                raise ValueError(record)
        payload = torch.load(io.BytesIO(data), map_location="cpu", weights_only=True)
    except Exception as error:  # torch raises many kinds: zip, unpickling, runtime, EOF, key
        raise CheckpointError(f"{name}: damaged, or not a checkpoint ({type(error).__name__})") from error
    if not isinstance(payload, dict) or payload.get("format") != version:
        found = payload.get("format") if isinstance(payload, dict) else type(payload).__name__
        raise CheckpointError(f"{name}: {_other_format(name, found, version)}")
    return payload


def _other_format(name: object, found: object, wanted: int) -> str:
    if (found, wanted) == (SNAPSHOT_FORMAT, CHECKPOINT_FORMAT):
        stem, last, _ = Path(str(name)).name.rpartition("_last-")
        best = f"{stem}_best.pth" if last else "the file *_best.pth"
        return f"a training snapshot, not a checkpoint; the checkpoint of that training is {best} beside it"
    if (found, wanted) == (CHECKPOINT_FORMAT, SNAPSHOT_FORMAT):
        return "a checkpoint, not a training snapshot"
    return f"checkpoint format {found}, this version reads {wanted}"
