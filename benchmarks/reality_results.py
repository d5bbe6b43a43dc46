"""The CSV of the study: one line per run, kind of weights, contrast, resolution and patient.

A run is written whole: all its lines together with all earlier ones go to a new file that takes the place of
the old one, so a run that is stopped or killed leaves no line. Processes that write the same file take turns.
"""

import csv
import dataclasses
import fcntl
import io
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from synthspine.gen.core.anatomy import STRUCTURES
from synthspine.shards.storage.atomic import write_text

DIGITS = 5


@dataclass(frozen=True, kw_only=True, slots=True)
class RunKey:
    """What tells one run from another.

    Attributes:
        arm: name of the arm.
        settings: hash of what the arm is made of.
        generator: hash of the generator's configuration, "-" where nothing is rendered.
        code: hash of the code that renders and trains.
        seed: of the run.
        budget: steps of the study.
        batch: samples of a step of the study.
        fold: name of the fold.
    """

    arm: str
    settings: str
    generator: str
    code: str
    seed: int
    budget: int
    batch: int
    fold: str

    @property
    def plain(self) -> tuple[str, int, int, int, str]:
        """The key without the arm's settings, its generator and the code."""
        return self.arm, self.seed, self.budget, self.batch, self.fold

    @property
    def file_stem(self) -> str:
        """Name for the files of the run."""
        made = f"{self.settings}-{self.code}-seed{self.seed}-steps{self.budget}-batch{self.batch}"
        return f"{self.arm}-{made}-{self.fold.replace('/', 'of')}"


@dataclass(frozen=True, kw_only=True, slots=True)
class Row:
    """One line.

    Attributes:
        key: the run.
        group: of the arm.
        steps: steps that were taken.
        samples: label maps or slices that were learned from.
        loss: mean loss of the last steps.
        minutes: of training.
        weights: ``"ema"`` or ``"raw"``.
        contrast: of the slice.
        factor: in-plane pixel size as a multiple of the slice's.
        patient: whose slice.
        own_mask: whether the mask is the series' own.
        dice: by structure; None where truth and answer are empty.
    """

    key: RunKey
    group: str
    steps: int
    samples: int
    loss: float
    minutes: float
    weights: str
    contrast: str
    factor: float
    patient: str
    own_mask: bool
    dice: dict[str, float | None]

    @property
    def overall(self) -> float | None:
        """Mean Dice of the structures that are defined."""
        known = [value for value in self.dice.values() if value is not None]
        return sum(known) / len(known) if known else None


_KEY = tuple(entry.name for entry in dataclasses.fields(RunKey))
COLUMNS = (
    *_KEY,
    *("group", "steps", "samples", "loss", "minutes"),
    *("weights", "contrast", "factor", "patient", "own_mask"),
    *STRUCTURES,
)


def read(path: Path) -> list[Row]:
    """All lines; none where there is no file.

    Raises:
        ValueError: the file is not such a table; the message names it and the line.
    """
    if not path.is_file():
        return []
    with path.open(newline="", encoding="utf-8") as stream:
        lines = csv.DictReader(stream)
        if tuple(lines.fieldnames or ()) != COLUMNS:
            raise ValueError(f"{path}: has other columns than {','.join(COLUMNS)}")
        rows = []
        for line in lines:
            try:
                rows.append(_parsed(line))
            except (TypeError, ValueError) as error:
                raise ValueError(f"{path}, line {lines.line_num}: {error}") from None
    return rows


def append(path: Path, rows: list[Row]) -> None:
    """Add the lines of a run, all or none; lines of the same run that are there are replaced.

    Raises:
        ValueError: the file is not such a table.
        OSError: it cannot be written.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    keys = {row.key for row in rows}
    with _held(path.parent):
        kept = [row for row in read(path) if row.key not in keys]
        write_text(path, _text([*kept, *rows]))


@contextmanager
def _held(folder: Path) -> Iterator[None]:
    """Wait until no other process writes in the folder, and hold it; a process that dies lets go."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)


def _text(rows: list[Row]) -> str:
    stream = io.StringIO()
    writer = csv.writer(stream, lineterminator="\n")
    writer.writerow(COLUMNS)
    for row in rows:
        values = [getattr(row.key, name) for name in _KEY]
        values += [row.group, row.steps, row.samples, f"{row.loss:.4f}", f"{row.minutes:.2f}"]
        values += [row.weights, row.contrast, f"{row.factor:g}", row.patient, int(row.own_mask)]
        dices = [row.dice[name] for name in STRUCTURES]
        writer.writerow(values + ["" if dice is None else f"{dice:.{DIGITS}f}" for dice in dices])
    return stream.getvalue()


def _parsed(line: dict[str, str]) -> Row:
    key = RunKey(
        arm=line["arm"],
        settings=line["settings"],
        generator=line["generator"],
        code=line["code"],
        seed=int(line["seed"]),
        budget=int(line["budget"]),
        batch=int(line["batch"]),
        fold=line["fold"],
    )
    if line["own_mask"] not in ("0", "1"):
        raise ValueError(f"own_mask {line['own_mask']!r} must be 0 or 1")
    return Row(
        key=key,
        group=line["group"],
        steps=int(line["steps"]),
        samples=int(line["samples"]),
        loss=float(line["loss"]),
        minutes=float(line["minutes"]),
        weights=line["weights"],
        contrast=line["contrast"],
        factor=float(line["factor"]),
        patient=line["patient"],
        own_mask=line["own_mask"] == "1",
        dice={name: float(line[name]) if line[name] else None for name in STRUCTURES},
    )
