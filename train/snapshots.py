"""Snapshots: the state of a run, from which it is resumed, and the folder that holds them.

Samples and learning rate are functions of the step, so weights, their average, the optimiser and a few
numbers are the whole state. The number of ranks may change between stop and resume. An unusable snapshot is
renamed: to ``.damaged.pth``, or to ``.previous.pth`` if it is of another run.
"""

import dataclasses
import json
import os
import re
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from synthspine.shards.format.provenance import identity_difference
from synthspine.shards.storage.atomic import TEMPORARY
from synthspine.train.config import Plan
from synthspine.train.losses import DEFAULT_LOSS
from synthspine.train.model.checkpoint import (
    SNAPSHOT_FORMAT,
    CheckpointError,
    bare_state,
    pack_payload,
    unpack_payload,
    write_whole,
)
from synthspine.train.step import Counts, Stepper

KEPT = 2
"""Snapshots that are kept."""
PREVIOUS, DAMAGED = "previous", "damaged"
_STATES = ("network", "coarse_heads", "average", "optimizer")
_ENTRIES = ("progress", *_STATES, "run_identity", "code", "validated_on")
_ADDED_LATER = {"loss": DEFAULT_LOSS}
"""Entries of the run identity that older snapshots lack, and what was meant."""
_TRIAL_BYTES = 4096


@dataclass(kw_only=True, slots=True)
class Progress:
    """Steps done, best validation Dice so far, time spent in all parts of the run, statistics of steps."""

    step: int = 0
    best: float = float("-inf")
    seconds: float = 0.0
    counts: Counts = field(default_factory=Counts)


class OtherRunError(CheckpointError):
    """The snapshot belongs to a run with another configuration or other data."""


def pack_snapshot(stepper: Stepper, progress: Progress) -> bytes:
    """The state of a run as bytes."""
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
    """What :func:`pack_snapshot` packed; ``name`` is the file, ``run_identity`` that of the run that resumes.

    Raises:
        CheckpointError: damaged, or no snapshot.
        OtherRunError: its run identity differs.
    """
    payload = unpack_payload(data, name, SNAPSHOT_FORMAT)
    if missing := [entry for entry in _ENTRIES if entry not in payload]:
        raise CheckpointError(f"{name}: not a snapshot of a training, it lacks {', '.join(missing)}")
    found = _ADDED_LATER | json.loads(payload["run_identity"])
    if different := identity_difference(_ADDED_LATER | run_identity, found):
        texts = {name: str(found.get(name)) for name in different}
        values = (f"{name} {text if len(text) <= 40 else text[:12] + '…'}" for name, text in texts.items())
        raise OtherRunError(f"{name}: belongs to a run with {', '.join(values)}")
    return payload


def restore(payload: dict[str, Any], name: object, stepper: Stepper) -> Progress:
    """Put a stepper into the state of a snapshot, without a best score on other validation samples.

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
    stepper.statistics.set(progress.counts)
    return progress


def _on_device_of(state: dict[str, Any], optimizer: torch.optim.Optimizer) -> dict[str, Any]:
    """Moments with the strides of the weights, which the fused optimiser needs."""
    parameters = [value for group in optimizer.param_groups for value in group["params"]]
    for index, values in state["state"].items():
        for name, value in values.items():
            if isinstance(value, Tensor) and value.shape == parameters[index].shape:
                values[name] = torch.empty_like(parameters[index]).copy_(value)
    return state


class SnapshotFolder:
    """The snapshots ``STEM_last-00000123.pth`` of one run; rank 0 alone uses it. ``log`` gets messages."""

    def __init__(self, plan: Plan, log: Callable[[str], object]) -> None:
        self._plan = plan
        self._log = log

    def files(self, ending: str = ".pth") -> list[Path]:
        """Snapshots from the newest, by number of steps, to the oldest."""
        stem = re.escape(self._plan.file("last-").name)
        found = self._matching(rf"{stem}(\d{{8,}}){re.escape(ending)}")
        return sorted(found, key=lambda path: int(found[path][1]), reverse=True)

    def _matching(self, pattern: str) -> dict[Path, re.Match[str]]:
        """Files of the save folder whose whole name matches."""
        folder = self._plan.stem.parent
        paths = folder.iterdir() if folder.is_dir() else ()
        return {path: match for path in paths if (match := re.fullmatch(pattern, path.name))}

    def file(self, step: int) -> Path:
        """Where the snapshot with ``step`` steps done lies."""
        return self._plan.file(f"last-{step:08d}.pth")

    def save(self, step: int, data: bytes) -> Path:
        """Write a snapshot, whole or not at all, then remove all but the newest ``KEPT``."""
        path = self.file(step)
        write_whole(path, data)
        for old in self.files()[KEPT:]:
            old.unlink(missing_ok=True)
        return path

    def clear_unfinished(self) -> None:
        """Remove what a killed run left half-written; no other run may be writing the same model."""
        started = rf"{re.escape(TEMPORARY)}[0-9a-f-]+-{re.escape(self._plan.stem.name)}_"
        for path in self._matching(started + r"(last-\d{8,}\.pth|best\.pth|log\.csv|config\.json)"):
            path.unlink(missing_ok=True)

    def set_aside(self) -> None:
        """Rename the files of an earlier run, so that the new one starts anew."""
        snapshots = [path for path in self.files() if path.is_file()]
        others = [self._plan.file(ending) for ending in ("best.pth", "log.csv")]
        moved = [*snapshots, *(path for path in others if path.is_file())]
        for path in moved:
            path.replace(_aside(path, PREVIOUS))
        self._forget_others(PREVIOUS, snapshots)
        if moved:
            names = ", ".join(path.name for path in moved)
            self._log(f"{self._plan.title}: starting anew; {names} of an earlier run kept as .{PREVIOUS}")

    def _forget_others(self, mark: str, moved: list[Path]) -> None:
        """Remove snapshots that were renamed before, if any were just renamed."""
        kept = [_aside(path, mark) for path in moved]
        for path in self.files(f".{mark}.pth") if moved else []:
            if path not in kept:
                path.unlink(missing_ok=True)

    def newest_good(self, run_identity: dict[str, Any]) -> tuple[Path, bytes] | None:
        """The newest snapshot that is whole and has the run identity; newer others are renamed."""
        moved: dict[str, list[Path]] = {PREVIOUS: [], DAMAGED: []}
        good = None
        for path in self.files():
            try:
                data = path.read_bytes()
            except OSError as error:
                self._log(f"{path}: cannot be read ({error.strerror}); the one before is looked at")
                continue
            try:
                unpack_snapshot(data, path, run_identity)
            except CheckpointError as error:
                mark = PREVIOUS if isinstance(error, OtherRunError) else DAMAGED
                path.replace(_aside(path, mark))
                moved[mark].append(path)
                self._log(f"{error}; it is kept as {_aside(path, mark).name}")
                continue
            good = path, data
            break
        for mark, paths in moved.items():
            self._forget_others(mark, paths)
        return good


def _aside(path: Path, mark: str) -> Path:
    return path.with_suffix(f".{mark}{path.suffix}")


def save_folder_problem(folder: Path) -> str | None:
    """Why a run could not save its files in a folder; None if a small file can be written there.

    The trial leaves nothing behind: the file is removed, and so are the folders that were made for it.
    """
    for path in (folder, *folder.parents):
        if path.is_file():
            return f"--save-dir {folder}: {path} is a file, not a folder"
    missing = [path for path in (folder, *folder.parents) if not path.exists()]
    trial = folder / f"{TEMPORARY}trial-{os.urandom(4).hex()}"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        write_whole(trial, bytes(_TRIAL_BYTES))
    except OSError as error:
        reason = error.strerror or type(error).__name__
        place = f"--save-dir {folder}"
        return f"{place}: nothing can be written there ({reason}); make room or name another folder"
    finally:
        # A folder stays if another process has written there.
        for remove in (trial.unlink, *(path.rmdir for path in missing)):
            with suppress(OSError):
                remove()
    return None
