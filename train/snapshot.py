"""Snapshots: the state of a run as bytes, to go on from after a stop.

The stream of samples and the learning rate are functions of the step, so weights, their average, the
optimiser and a few numbers are all there is to keep. The number of ranks may change between stop and resume.
"""

import dataclasses
import json
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from synthspine.shards.format.provenance import identity_difference
from synthspine.train.model.checkpoint import (
    SNAPSHOT_FORMAT,
    CheckpointError,
    bare_state,
    pack_payload,
    unpack_payload,
)
from synthspine.train.step import Stepper
from synthspine.train.step_statistics import Counts

_STATES = ("network", "coarse_heads", "average", "optimizer")


@dataclass(kw_only=True, slots=True)
class Progress:
    """How far a run has come.

    Attributes:
        step: steps done.
        best: best validation Dice so far; minus infinity before the first.
        seconds: time spent in all parts of the run.
        counts: the tally.
    """

    step: int = 0
    best: float = float("-inf")
    seconds: float = 0.0
    counts: Counts = field(default_factory=Counts)


class OtherRunError(CheckpointError):
    """The snapshot belongs to a run with another configuration or other data."""


def pack_snapshot(stepper: Stepper, progress: Progress) -> bytes:
    """The state of a run: weights, average, optimiser, progress, run identity, code."""
    return pack_payload(
        {
            "format": SNAPSHOT_FORMAT,
            "progress": dataclasses.asdict(progress),
            "network": bare_state(stepper.network.state_dict()),
            "coarse_heads": bare_state(stepper.supervised.heads.state_dict()),
            "average": bare_state(stepper.average.network.state_dict()),
            "optimizer": stepper.optimizer.state_dict(),
            "run_identity": json.dumps(stepper.plan.run_identity, sort_keys=True),
            "code": stepper.plan.code,
            "validated_on": stepper.plan.validated_on,
        }
    )


def unpack_snapshot(data: bytes, name: object, run_identity: dict[str, Any]) -> dict[str, Any]:
    """What :func:`pack_snapshot` packed.

    Args:
        data: the bytes of the file; every one is checked.
        name: the file, for messages.
        run_identity: of the run that resumes.

    Raises:
        CheckpointError: damaged, or no snapshot.
        OtherRunError: its run identity differs.
    """
    payload = unpack_payload(data, name, SNAPSHOT_FORMAT)
    missing = [
        entry
        for entry in ("progress", *_STATES, "run_identity", "code", "validated_on")
        if entry not in payload
    ]
    if missing:
        raise CheckpointError(f"{name}: not a snapshot of a training, it lacks {', '.join(missing)}")
    found = json.loads(payload["run_identity"])
    if different := identity_difference(run_identity, found):
        told = ", ".join(f"{choice} {_short(found.get(choice))}" for choice in different)
        raise OtherRunError(f"{name}: belongs to a run with {told}")
    return payload


def restore(payload: dict[str, Any], name: object, stepper: Stepper) -> Progress:
    """Put a stepper into the state of an unpacked snapshot.

    The best score so far is forgotten where it was one on other validation samples.

    Raises:
        CheckpointError: its tensors do not have the shapes of this network.
    """
    try:
        stepper.network.load_state_dict(payload["network"])
        stepper.supervised.heads.load_state_dict(payload["coarse_heads"])
        stepper.average.network.load_state_dict(payload["average"])
        stepper.optimizer.load_state_dict(_on_device_of(payload["optimizer"], stepper.optimizer))
        values = dict(payload["progress"])
        progress = Progress(counts=Counts(**values.pop("counts")), **values)
        if payload["validated_on"] != stepper.plan.validated_on:
            progress.best = Progress().best
    except (RuntimeError, ValueError, TypeError, LookupError) as error:
        reason = " ".join(str(error).split())
        raise CheckpointError(f"{name}: does not fit this network: {reason[:200]}") from error
    stepper.tally.set(progress.counts)
    return progress


def _on_device_of(state: dict[str, Any], optimizer: torch.optim.Optimizer) -> dict[str, Any]:
    """Moments with the strides of the weights, which the fused optimiser needs."""
    parameters = [value for group in optimizer.param_groups for value in group["params"]]
    for index, values in state["state"].items():
        for name, value in values.items():
            if isinstance(value, Tensor) and value.shape == parameters[index].shape:
                values[name] = torch.empty_like(parameters[index]).copy_(value)
    return state


def _short(value: object) -> str:
    text = str(value)
    return text if len(text) <= 40 else f"{text[:12]}…"
