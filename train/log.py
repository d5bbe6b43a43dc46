"""What a run tells: a CSV file with a row per epoch, and a progress bar."""

import csv
import sys
from pathlib import Path

from tqdm import tqdm

from gen.anatomy import STRUCTURES
from shards.atomic import atomic_path
from train.validation import Score

COLUMNS = (
    "step",
    "epoch",
    "samples",
    "minutes",
    "learning_rate",
    "loss",
    *(f"dice_{name}" for name in STRUCTURES),
    "dice",
    "best",
)


class TrainingLog:
    """A CSV file with one row per epoch. Dice columns are empty where an epoch was not validated.

    Args:
        path: the file; None writes nothing (ranks other than 0).
        step: step from which the run goes on; rows beyond it belong to steps that will be done again.
    """

    def __init__(self, path: Path | None, step: int) -> None:
        self.path = path
        self.rows = self._earlier_rows(step) if path is not None and step else []

    def _earlier_rows(self, step: int) -> list[dict[str, str]]:
        assert self.path is not None
        if not self.path.is_file():
            return []
        with self.path.open(newline="", encoding="utf-8") as stream:
            return [row for row in csv.DictReader(stream) if int(row["step"]) <= step]

    def add(
        self,
        *,
        step: int,
        epoch: int,
        samples: int,
        seconds: float,
        learning_rate: float,
        loss: float,
        score: Score | None,
        best: bool,
    ) -> None:
        """Add the row of an epoch and write the file, whole or not at all."""
        if self.path is None:
            return
        row = {
            "step": str(step),
            "epoch": str(epoch),
            "samples": str(samples),
            "minutes": f"{seconds / 60:.2f}",
            "learning_rate": f"{learning_rate:.3g}",
            "loss": f"{loss:.4f}",
        }
        if score is not None:
            row |= {f"dice_{name}": f"{score.structures[name]:.4f}" for name in STRUCTURES}
            row |= {"dice": f"{score.mean:.4f}", "best": str(int(best))}
        self.rows.append(row)
        with atomic_path(self.path) as temporary, temporary.open("w", newline="", encoding="utf-8") as stream:
            writer = csv.DictWriter(stream, COLUMNS, restval="", lineterminator="\n")
            writer.writeheader()
            writer.writerows(self.rows)


def progress_bar(title: str, steps: int, done: int, *, shown: bool) -> "tqdm[None]":
    """A bar with rate and time left on standard error; silent where ``shown`` is False."""
    return tqdm(
        total=steps,
        initial=done,
        desc=title,
        unit="step",
        disable=not shown,
        file=sys.stderr,
        mininterval=0.5,
    )
