"""The snapshots of a run on disk: the newest few, by step, and which of them can be used.

A snapshot is written beside its place and renamed, so what a killed run leaves under the name of a snapshot
is whole; what it left half-written has another name, and goes when the next run starts. Disks and
networks may still damage one, so every byte is checked when it is read, and what cannot be used is set
aside: as ``.damaged.pth``, or as ``.previous.pth`` (and ``.csv``) if it is of an earlier run. There it stays
until something else of the same kind is set aside, so a folder holds what one earlier run left, and no more.
"""

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

from synthspine.shards.storage.atomic import TEMPORARY
from synthspine.train.model.checkpoint import CheckpointError, write_whole
from synthspine.train.plan import Plan
from synthspine.train.snapshot import OtherRunError, unpack_snapshot

KEPT = 2
PREVIOUS, DAMAGED = "previous", "damaged"


class SnapshotFolder:
    """The snapshots of one run; rank 0 alone uses it.

    Args:
        plan: what the run does; its stem names the files ``STEM_last-00000123.pth``.
        say: where messages go.
    """

    def __init__(self, plan: Plan, say: Callable[[str], object]) -> None:
        self._plan = plan
        self._say = say

    def files(self) -> list[Path]:
        """Snapshots from the newest, by number of steps, to the oldest."""
        return self._named(".pth")

    def _named(self, ending: str) -> list[Path]:
        name = re.compile(rf"{re.escape(self._plan.file('last-').name)}(\d{{8,}}){re.escape(ending)}")
        if not self._plan.stem.parent.is_dir():
            return []
        steps = {path: name.fullmatch(path.name) for path in self._plan.stem.parent.iterdir()}
        found = [(int(match[1]), path) for path, match in steps.items() if match]
        return [path for _, path in sorted(found, reverse=True)]

    def file(self, step: int) -> Path:
        """Where the snapshot with ``step`` steps done lies."""
        return self._plan.file(f"last-{step:08d}.pth")

    def save(self, step: int, data: bytes) -> Path:
        """Write a snapshot, whole or not at all, then remove all but the newest ``KEPT``.

        Raises:
            OSError: it cannot be written; the earlier ones are still there.
        """
        path = self.file(step)
        write_whole(path, data)
        for old in self.files()[KEPT:]:
            old.unlink(missing_ok=True)
        return path

    def clear_unfinished(self) -> None:
        """Remove what a killed run left half-written; no other run may be writing the same model."""
        name = re.compile(
            rf"{re.escape(TEMPORARY)}[0-9a-f-]+-{re.escape(self._plan.stem.name)}_"
            r"(last-\d{8,}\.pth|best\.pth|log\.csv|config\.json)"
        )
        if self._plan.stem.parent.is_dir():
            for path in [path for path in self._plan.stem.parent.iterdir() if name.fullmatch(path.name)]:
                path.unlink(missing_ok=True)

    def set_aside(self) -> None:
        """Give what an earlier run left another name, so that the new one starts from nothing."""
        snapshots = [path for path in self.files() if path.is_file()]
        others = [self._plan.file(ending) for ending in ("best.pth", "log.csv")]
        moved = [*snapshots, *(path for path in others if path.is_file())]
        for path in moved:
            path.replace(_aside(path, PREVIOUS))
        self._forget_others(PREVIOUS, snapshots)
        if moved:
            names = ", ".join(path.name for path in moved)
            self._say(f"{self._plan.title}: starting anew; {names} of an earlier run kept as .{PREVIOUS}")

    def _forget_others(self, mark: str, moved: list[Path]) -> None:
        """Remove the snapshots that were set aside before those that just were, if any were."""
        kept = [_aside(path, mark) for path in moved]
        for path in self._named(f".{mark}.pth") if moved else []:
            if path not in kept:
                path.unlink(missing_ok=True)

    def newest_good(self, run_identity: dict[str, Any]) -> tuple[Path, bytes] | None:
        """The newest snapshot that is whole and has the run identity; None if there is none.

        Others that are newer are set aside under another name, with a message.
        """
        moved: dict[str, list[Path]] = {PREVIOUS: [], DAMAGED: []}
        good = None
        for path in self.files():
            try:
                data = path.read_bytes()
            except OSError as error:
                self._say(f"{path}: cannot be read ({error.strerror}); the one before is looked at")
                continue
            try:
                unpack_snapshot(data, path, run_identity)
            except CheckpointError as error:
                mark = PREVIOUS if isinstance(error, OtherRunError) else DAMAGED
                path.replace(_aside(path, mark))
                moved[mark].append(path)
                self._say(f"{error}; it is kept as {_aside(path, mark).name}")
                continue
            good = path, data
            break
        for mark, paths in moved.items():
            self._forget_others(mark, paths)
        return good


def _aside(path: Path, mark: str) -> Path:
    return path.with_suffix(f".{mark}{path.suffix}")
