"""What a run tells: a CSV file with a row per epoch, and a progress bar."""

import csv
import dataclasses
import sys
from dataclasses import dataclass
from pathlib import Path

from tqdm import tqdm

from synthspine.gen.core.anatomy import STRUCTURES
from synthspine.shards.storage.atomic import atomic_path
from synthspine.train.validation import Score

SHORTEST_REFRESH_SECONDS = 0.5
"""The bar is drawn at most that often."""

COLUMNS = (
    "step",
    "epoch",
    "samples",
    "minutes",
    "learning_rate",
    "loss",
    "images_per_second",
    "skipped",
    *(f"dice_{name}" for name in STRUCTURES),
    "dice",
    "best",
)


@dataclass(frozen=True, kw_only=True, slots=True)
class Epoch:
    """What there is to say about an epoch, or the part of one that a run did since it went on.

    Attributes:
        step: steps done.
        epoch: epochs done; the last one may be short.
        samples: samples of all steps done.
        minutes: time spent so far, validations included.
        learning_rate: of the last step.
        loss: mean over the good steps of the epoch.
        images_per_second: samples a second in its steps, of all ranks, validations left out.
        skipped: steps of the run that were skipped because loss or gradient was not finite.
        score: of the validation; None where the epoch was not validated.
        best: whether the weights were the best so far.
    """

    step: int
    epoch: int
    samples: int
    minutes: float
    learning_rate: float
    loss: float
    images_per_second: float
    skipped: int
    score: Score | None
    best: bool

    def to_row(self) -> dict[str, str]:
        """Text of every column of the CSV file that has one."""
        digits = {"minutes": ".2f", "learning_rate": ".3g", "loss": ".4f", "images_per_second": ".1f"}
        values = {field.name: getattr(self, field.name) for field in dataclasses.fields(self)}
        score, best = values.pop("score"), values.pop("best")
        row = {name: format(value, digits.get(name, "")) for name, value in values.items()}
        if score is not None:
            row |= {f"dice_{name}": f"{score.structures[name]:.4f}" for name in STRUCTURES}
            row |= {"dice": f"{score.mean:.4f}", "best": str(int(best))}
        return row


class TrainingLog:
    """A CSV file with one row per epoch. Dice columns are empty where an epoch was not validated.

    Args:
        path: the file.
        step: step from which the run goes on; rows beyond it belong to steps that will be done again.
    """

    def __init__(self, path: Path, step: int) -> None:
        self.path = path
        self.rows = self._earlier_rows(step) if step else []

    def _earlier_rows(self, step: int) -> list[dict[str, str]]:
        if not self.path.is_file():
            return []
        with self.path.open(newline="", encoding="utf-8") as stream:
            rows = [row for row in csv.DictReader(stream) if int(row["step"]) <= step]
        return [{name: row.get(name, "") for name in COLUMNS} for row in rows]

    def add(self, epoch: Epoch) -> None:
        """Add the row of an epoch and write the file, whole or not at all.

        Raises:
            OSError: the file cannot be written; the row is written with the next one.
        """
        self.rows.append(epoch.to_row())
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
        mininterval=SHORTEST_REFRESH_SECONDS,
    )
