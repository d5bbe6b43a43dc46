"""Snapshots: the state of a run, from which it is resumed, and the folder that holds them.

Samples and learning rate are functions of the step, so weights, their average, the optimiser and a few
numbers are the whole state. The number of ranks may change between stop and resume. An unusable snapshot is
renamed: to ``.damaged.pth``, or to ``.previous.pth`` if it is of another run.
"""

import copy
import dataclasses
import json
import math
import operator
import os
import re
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import nn

from synthspine.shards.format.provenance import identity_difference
from synthspine.shards.storage.atomic import TEMPORARY
from synthspine.train.config import Plan
from synthspine.train.losses import DEFAULT_LOSS
from synthspine.train.model.checkpoint import (
    SNAPSHOT_FORMAT,
    CheckpointError,
    bare_state,
    pack_payload,
    read_payload,
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
_KEPT_FOR_EVER = ("best.pth", "stopped.pth", "log.csv")
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
    try:
        found = _ADDED_LATER | dict(json.loads(payload["run_identity"]))
        payload["code"] = {str(key): str(text) for key, text in payload["code"].items()}
    except (ValueError, TypeError, AttributeError, RecursionError) as error:
        reason = f"damaged, run_identity or code is not what a training wrote ({type(error).__name__})"
        raise CheckpointError(f"{name}: {reason}") from error
    if different := identity_difference(_ADDED_LATER | run_identity, found):
        texts = {name: str(found.get(name)) for name in different}
        values = (f"{name} {text if len(text) <= 40 else text[:12] + '…'}" for name, text in texts.items())
        raise OtherRunError(f"{name}: belongs to a run with {', '.join(values)}")
    return payload


def restore(payload: dict[str, Any], name: object, stepper: Stepper) -> Progress:
    """Put a stepper into the state of a snapshot, without a best score on other validation samples.

    Raises:
        CheckpointError: an entry makes no sense, or its tensors do not have the shapes of this network; the
            stepper is as before.
    """
    parts: dict[str, nn.Module | torch.optim.Optimizer] = {
        "network": stepper.network,
        "coarse_heads": stepper.supervised.heads,
        "average": stepper.average.network,
        "optimizer": stepper.optimizer,
    }
    before = {part: copy.deepcopy(owner.state_dict()) for part, owner in parts.items()}
    try:
        progress = _progress_of(payload["progress"], stepper.plan.steps)
        for part, owner in parts.items():
            state = payload[part]
            owner.load_state_dict(_moments(state, stepper.optimizer) if part == "optimizer" else state)
        if payload["validated_on"] != stepper.plan.validated_on:
            progress.best = Progress().best
    except (RuntimeError, ValueError, TypeError, LookupError, AttributeError) as error:
        for part, owner in parts.items():
            owner.load_state_dict(before[part])
        reason = " ".join(str(error).split())
        raise CheckpointError(f"{name}: does not fit this network: {reason[:200]}") from error
    stepper.statistics.set(progress.counts)
    return progress


def _progress_of(values: dict[str, Any], steps: int) -> Progress:
    progress = Progress(**(values | {"counts": Counts(**values["counts"])}))
    numbers = (progress.seconds, *dataclasses.asdict(progress.counts).values())
    if not 0 <= operator.index(progress.step) <= steps:
        raise ValueError(f"step {progress.step} is not 0 to {steps}")
    if not all(0 <= float(number) < math.inf for number in numbers) or math.isnan(progress.best):
        raise ValueError("its statistics are not those of steps")
    return progress


def _moments(state: dict[str, Any], optimizer: torch.optim.Optimizer) -> dict[str, Any]:
    """The moments of a stored optimiser, checked, with the choices of this one.

    They get the strides of the weights, which the fused optimiser needs.
    """
    parameters = [value for group in optimizer.param_groups for value in group["params"]]
    moments = {}
    if state["state"].keys() - range(len(parameters)):
        raise ValueError("the optimizer has moments of other weights")
    for index, values in state["state"].items():
        like, count = parameters[index], values["step"]
        pair = {name: values[name] for name in ("exp_avg", "exp_avg_sq")}
        if any(value.shape != like.shape for value in pair.values()) or count.numel() != 1:
            raise ValueError(f"the moments of weight {index} have another shape")
        if count.item() < 0 or pair["exp_avg_sq"].min() < 0:
            raise ValueError(f"the moments of weight {index} are negative")
        copies = {name: torch.empty_like(like).copy_(value) for name, value in pair.items()}
        moments[index] = {"step": count, **copies}
    return {"state": moments, "param_groups": optimizer.state_dict()["param_groups"]}


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
        """Rename the files of an earlier run, so that the new one starts anew.

        Every best model and its log are kept: those of the last run as ``.previous``, those of runs before it
        as ``.previous-1``, ``.previous-2`` and so on, the oldest first. Snapshots stay until the next ones.
        """
        snapshots = [path for path in self.files() if path.is_file()]
        others = [path for path in map(self._plan.file, _KEPT_FOR_EVER) if path.is_file()]
        if others:
            self._number_the_last()
        moved = [*snapshots, *others]
        for path in moved:
            path.replace(_aside(path, PREVIOUS))
        self._forget_others(PREVIOUS, snapshots)
        if moved:
            names = ", ".join(path.name for path in moved)
            self._log(f"{self._plan.title}: starting anew; {names} of an earlier run kept as .{PREVIOUS}")

    def _number_the_last(self) -> None:
        """Give the model and the log that are kept as ``.previous`` a number of their own."""
        stem = re.escape(self._plan.stem.name)
        numbered = self._matching(rf"{stem}_(?:best|stopped|log)\.{PREVIOUS}-(\d+)\.(?:pth|csv)").values()
        number = 1 + max((int(match[1]) for match in numbered), default=0)
        for ending in _KEPT_FOR_EVER:
            path = self._plan.file(ending)
            if (last := _aside(path, PREVIOUS)).is_file():
                last.replace(_aside(path, f"{PREVIOUS}-{number}"))

    def _forget_others(self, mark: str, moved: list[Path]) -> None:
        """Remove snapshots that were renamed before, if any were just renamed."""
        kept = [_aside(path, mark) for path in moved]
        for path in self.files(f".{mark}.pth") if moved else []:
            if path not in kept:
                path.unlink(missing_ok=True)

    def newest_good(
        self, run_identity: dict[str, Any], use: Callable[[dict[str, Any], Path], object] | None = None
    ) -> tuple[Path, bytes] | None:
        """The newest snapshot that is whole and has the run identity; newer others are renamed.

        ``use`` gets its payload, and raises a ``CheckpointError`` where it cannot be used either.
        """
        moved: dict[str, list[Path]] = {PREVIOUS: [], DAMAGED: []}
        good = None
        for path in self.files():
            try:
                data = read_payload(path)
                payload = unpack_snapshot(data, path, run_identity)
                if use is not None:
                    use(payload, path)
            except OSError as error:
                self._log(f"{path}: cannot be read ({error.strerror or error}); the one before is looked at")
                continue
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
