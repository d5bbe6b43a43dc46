"""The snapshots of a run on disk: the newest few, by step, and which of them can be used.

A snapshot is written beside its place and renamed, so a killed run leaves whole files only. Disks and
networks may still damage one, so every byte is checked when it is read, and what cannot be used is set
aside, never deleted.
"""

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

from shards.atomic import atomic_path
from train.checkpoint import CheckpointError
from train.plan import Plan
from train.snapshot import OtherRunError, unpack_snapshot

KEPT = 2


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
        name = re.compile(re.escape(self.file(0).name).replace("0" * 8, r"(\d{8,})"))
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
        with atomic_path(path) as temporary:
            temporary.write_bytes(data)
        for old in self.files()[KEPT:]:
            old.unlink(missing_ok=True)
        return path

    def set_aside(self) -> None:
        """Give what an earlier run left another name, so that the new one starts from nothing."""
        left = [*self.files(), *(self._plan.file(ending) for ending in ("best.pth", "log.csv"))]
        moved = [path for path in left if path.is_file()]
        for path in moved:
            path.replace(path.with_suffix(f".previous{path.suffix}"))
        if moved:
            names = ", ".join(path.name for path in moved)
            self._say(f"{self._plan.title}: starting anew; {names} of an earlier run kept as .previous")

    def newest_good(self, decisive: dict[str, Any]) -> tuple[Path, bytes] | None:
        """The newest snapshot that is whole and of a run with the same choices; None if there is none.

        Others that are newer are set aside under another name, with a message.
        """
        for path in self.files():
            try:
                data = path.read_bytes()
            except OSError as error:
                self._say(f"{path}: cannot be read ({error.strerror}); the one before is looked at")
                continue
            try:
                unpack_snapshot(data, path, decisive)
            except CheckpointError as error:
                mark = "previous" if isinstance(error, OtherRunError) else "damaged"
                kept = path.with_suffix(f".{mark}.pth")
                path.replace(kept)
                self._say(f"{error}; it is kept as {kept.name}")
                continue
            return path, data
        return None
