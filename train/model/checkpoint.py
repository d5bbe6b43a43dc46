"""Checkpoints: the weights of a model with what is needed to use it, in one file.

Files are written whole or not at all, and read with ``weights_only=True``: tensors, numbers, text, no code.
"""

import json
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from synthspine.gen import LabelScheme, label_scheme
from synthspine.gen.core.schemes import SCHEMES
from synthspine.shards.readers.slices import Grid
from synthspine.shards.storage.atomic import atomic_path
from synthspine.train.model.archive import ArchiveError, pack_archive, read_archive, unpack_archive
from synthspine.train.model.unet import MOST_LEVELS, UNet

CHECKPOINT_FORMAT = 1
SNAPSHOT_FORMAT = 5
SAFETENSORS = ".safetensors"
_DAMAGED = "damaged, or not a checkpoint"
WRAPPER_PREFIXES = ("_orig_mod.", "module.")
_MOST = {"in_channels": 1, "num_classes": 256, "base_features": 4096, "levels": MOST_LEVELS}
"""Arguments of the networks that the commands can use, and their largest values."""


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
        scheme: its label scheme, ``LabelScheme.to_dict``; None stands for the scheme of the project that has
            as many classes, as in files of older versions.
    """

    state_dict: dict[str, Tensor]
    architecture: dict[str, int]
    model: str
    config: str
    step: int
    validation_dice: float
    spacing_mm: float
    scheme: dict[str, Any] | None = None

    def label_scheme(self) -> LabelScheme:
        """What the classes of the network mean.

        Raises:
            ValueError: the scheme is not valid, or has another number of classes than the network.
        """
        classes = self.architecture["num_classes"]
        if self.scheme is None:
            if classes not in {scheme.num_classes for scheme in SCHEMES.values()}:
                raise ValueError(f"a network of {classes} classes needs a label scheme, and there is none")
            return label_scheme(classes)
        scheme = LabelScheme.from_dict(self.scheme)
        if scheme.num_classes != classes:
            raise ValueError(
                f"its label scheme {scheme.name} has {scheme.num_classes} classes, but its network {classes}"
            )
        return scheme


class TrainedUNet(UNet):
    """A U-Net with the weights of a checkpoint, and what its file says about it.

    Attributes:
        checkpoint: the content of the file.
        scheme: what its classes mean.

    Raises:
        ValueError, RuntimeError: scheme or weights do not fit the architecture.
    """

    def __init__(self, checkpoint: Checkpoint) -> None:
        super().__init__(**checkpoint.architecture)
        self.load_state_dict(checkpoint.state_dict)
        self.checkpoint = checkpoint
        self.scheme = checkpoint.label_scheme()


def bare_state(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """A state dictionary without the prefixes that wrappers put before names; detached, on the CPU."""
    bare: dict[str, Tensor] = {}
    for name, value in state.items():
        while name.startswith(WRAPPER_PREFIXES):
            name = name.partition(".")[2]
        bare[name] = value.detach().to("cpu", copy=True).contiguous()
    return bare


def save_checkpoint(path: Path, checkpoint: Checkpoint) -> None:
    """Write a checkpoint, whole or not at all; the folder is made where it is missing.

    A name that ends in ``.safetensors`` gets that format, any other that of ``torch.save``.
    """
    fields = {name: getattr(checkpoint, name) for name in Checkpoint.__slots__}
    state = bare_state(checkpoint.state_dict)
    payload = {"format": CHECKPOINT_FORMAT, **fields, "state_dict": state}
    if path.suffix == SAFETENSORS:
        from synthspine.train.model.tensor_file import pack_tensors

        write_whole(path, pack_tensors(payload))
    else:
        write_payload(path, payload)


def load_checkpoint(path: Path | str) -> Checkpoint:
    """Read a checkpoint: a file, or a folder in the layout of Hugging Face.

    Of a folder ``model.safetensors`` is read, or the only file of that kind.

    Raises:
        CheckpointError: the file is missing, damaged, not a checkpoint, or of another format, an entry makes
            no sense, or its weights or its label scheme do not fit its network.
        OSError: the file cannot be read.
    """
    path = Path(path)
    if path.is_dir():
        path = _weights_in(path)
    if not path.is_file():
        reason = "is a folder, a pipe or a device, not a file" if path.exists() else "no such checkpoint"
        raise CheckpointError(f"{path}: {reason}")
    if path.suffix == SAFETENSORS:
        from synthspine.train.model.tensor_file import unpack_tensors

        payload = _checked(path, CHECKPOINT_FORMAT, lambda: unpack_tensors(path.read_bytes()))
    else:
        payload = unpack_payload(read_payload(path), path, CHECKPOINT_FORMAT)
    if missing := [name for name in Checkpoint.__slots__ if name not in payload and name != "scheme"]:
        raise CheckpointError(f"{path}: not a checkpoint of a model, it lacks {', '.join(missing)}")
    checkpoint = Checkpoint(**{name: payload[name] for name in Checkpoint.__slots__ if name in payload})
    try:
        _check_entries(checkpoint)
        checkpoint.label_scheme()
    except (ValueError, LookupError, TypeError, AttributeError, RecursionError) as error:
        raise CheckpointError(f"{path}: {str(error).splitlines()[0]}") from error
    return checkpoint


def _weights_in(folder: Path) -> Path:
    """The weights of a folder."""
    found = sorted(folder.glob(f"*{SAFETENSORS}"))
    if (chosen := folder / f"model{SAFETENSORS}") in found:
        return chosen
    if len(found) != 1:
        raise CheckpointError(
            f"{folder}: is a folder, a pipe or a device, not a file, and as a folder it holds {len(found)} "
            f"{SAFETENSORS} files, none called model{SAFETENSORS}"
        )
    return found[0]


def _check_entries(checkpoint: Checkpoint) -> None:
    """Raise a ``ValueError`` where an entry cannot be that of a model."""
    spacing, step, dice = checkpoint.spacing_mm, checkpoint.step, checkpoint.validation_dice
    if not _is_number(spacing):
        raise ValueError(f"spacing_mm {spacing!r} is not a number of mm")
    Grid(spacing_mm=spacing)
    if not _is_whole(step) or step < 0:
        raise ValueError(f"step {step!r} is not a number of steps")
    if not _is_number(dice) or not (math.isnan(dice) or 0 <= dice <= 1):
        raise ValueError(f"validation_dice {dice!r} is neither 0 to 1 nor nan")
    if checkpoint.model not in ("A", "B"):
        raise ValueError(f"model {checkpoint.model!r} is neither A nor B")
    config = json.loads(checkpoint.config) if isinstance(checkpoint.config, str) else None
    patients = config.get("train_patients", []) if isinstance(config, dict) else None
    if not isinstance(patients, list) or not all(isinstance(patient, str) for patient in patients):
        raise ValueError("config is not the configuration of a training, a JSON object")
    architecture = checkpoint.architecture
    if not isinstance(architecture, dict) or not all(
        name in _MOST and _is_whole(value) and 1 <= value <= _MOST[name]
        for name, value in architecture.items()
    ):
        most = ", ".join(f"{name} 1 to {value}" for name, value in _MOST.items())
        raise ValueError(f"architecture {str(architecture)[:100]} is not that of a network: {most}")
    with torch.device("meta"):  # shapes without memory
        network = UNet(**architecture)
    wanted = {name: value.shape for name, value in network.state_dict().items()}
    found = {
        name: value.shape
        for name, value in checkpoint.state_dict.items()
        if isinstance(value, Tensor) and value.is_floating_point()
    }
    if different := sorted(
        str(name)
        for name in wanted.keys() | checkpoint.state_dict.keys()
        if wanted.get(name) != found.get(name)
    ):
        raise ValueError(
            f"weights and architecture do not fit: {different[0]} (and {len(different) - 1} more) has shape "
            f"{tuple(found.get(different[0], ()))}, not {tuple(wanted.get(different[0], ()))}"
        )


def _is_whole(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def _is_number(value: object) -> bool:
    return isinstance(value, float) or _is_whole(value)


def load_model(path: Path | str, device: torch.device | str = "cpu") -> TrainedUNet:
    """The network of a checkpoint, with its weights, on ``device`` and in evaluation mode.

    Raises:
        CheckpointError: as ``load_checkpoint``.
    """
    return TrainedUNet(load_checkpoint(path)).to(device).eval()


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
    """Tensors, numbers and text as the bytes of a file, with a digest of them."""
    return pack_archive(payload)


def read_payload(path: Path) -> bytes:
    """The bytes of a file that may be what :func:`pack_payload` made.

    Raises:
        CheckpointError: it is something else.
        OSError: it cannot be read.
    """
    try:
        return read_archive(path)
    except ArchiveError as error:
        raise CheckpointError(f"{path}: {_DAMAGED} ({error})") from error


def unpack_payload(data: bytes, name: object, version: int) -> dict[str, Any]:
    """What :func:`pack_payload` packed, on the CPU; changed bytes and tensors not finite are refused.

    Errors name the file ``name``; ``version`` is the expected format.

    Raises:
        CheckpointError: damaged, or of another format.
    """
    return _checked(name, version, lambda: unpack_archive(data))


def _checked(name: object, version: int, unpack: Callable[[], Any]) -> dict[str, Any]:
    try:
        payload = unpack()
    except ArchiveError as error:
        raise CheckpointError(f"{name}: {_DAMAGED} ({error})") from error
    except Exception as error:  # torch raises many kinds: zip, unpickling, runtime, EOF, key
        raise CheckpointError(f"{name}: {_DAMAGED} ({type(error).__name__})") from error
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
