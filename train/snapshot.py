"""Snapshots: the last state of a run, to go on from after a stop.

The stream of samples and the learning rate are functions of the step, so weights, optimiser and a few
numbers are all there is to keep. The number of ranks may change between stop and resume.
"""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from train.checkpoint import CHECKPOINT_FORMAT, CheckpointError, bare_state, read_payload, write_payload
from train.unet import UNet


@dataclass(kw_only=True, slots=True)
class Progress:
    """How far a run has come.

    Attributes:
        step: steps done.
        best: best validation Dice so far; minus infinity before the first.
        seconds: time spent in all parts of the run.
        loss_sum: loss summed over the steps of the epoch that is going on.
    """

    step: int = 0
    best: float = float("-inf")
    seconds: float = 0.0
    loss_sum: float = 0.0


class OtherRunError(CheckpointError):
    """The snapshot belongs to a run with other choices."""


def save_snapshot(
    path: Path,
    network: UNet,
    optimizer: torch.optim.Optimizer,
    progress: Progress,
    decisive: dict[str, Any],
) -> None:
    """Write a snapshot, whole or not at all.

    Args:
        path: file to write.
        network: its weights are kept.
        optimizer: its state is kept.
        progress: how far the run has come.
        decisive: JSON-ready choices that a run must share to go on from here.
    """
    payload: dict[str, Any] = {name: getattr(progress, name) for name in Progress.__slots__}
    payload |= {
        "format": CHECKPOINT_FORMAT,
        "network": bare_state(network.state_dict()),
        "optimizer": optimizer.state_dict(),
        "decisive": json.dumps(decisive, sort_keys=True),
    }
    write_payload(path, payload)


def load_snapshot(
    path: Path, network: UNet, optimizer: torch.optim.Optimizer, decisive: dict[str, Any]
) -> Progress:
    """Put network and optimiser into the state of a snapshot.

    Raises:
        CheckpointError: the file is missing, damaged or no snapshot.
        OtherRunError: it is of a run with other choices.
    """
    payload = read_payload(path)
    missing = [
        name for name in (*Progress.__slots__, "network", "optimizer", "decisive") if name not in payload
    ]
    if missing:
        raise CheckpointError(f"{path}: not a snapshot of a training, it lacks {', '.join(missing)}")
    theirs = json.loads(payload["decisive"])
    different = sorted(
        name for name in theirs.keys() | decisive.keys() if theirs.get(name) != decisive.get(name)
    )
    if different:
        told = ", ".join(f"{name} {_short(theirs.get(name))}" for name in different)
        raise OtherRunError(f"{path}: belongs to a run with {told}")
    network.load_state_dict(payload["network"])
    optimizer.load_state_dict(_on_device_of(payload["optimizer"], network))
    return Progress(**{name: payload[name] for name in Progress.__slots__})


def _on_device_of(state: dict[str, Any], network: UNet) -> dict[str, Any]:
    """Moments with the strides of the weights, which the fused optimiser needs."""
    parameters = list(network.parameters())
    for index, values in state["state"].items():
        for name, value in values.items():
            if isinstance(value, Tensor) and value.shape == parameters[index].shape:
                values[name] = torch.empty_like(parameters[index]).copy_(value)
    return state


def _short(value: object) -> str:
    text = str(value)
    return text if len(text) <= 40 else f"{text[:12]}…"
