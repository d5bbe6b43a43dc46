"""Reports of a run by rank 0: progress bar, messages, a CSV file with a row per epoch, TensorBoard."""

import csv
import dataclasses
import shutil
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

from synthspine.gen import LabelScheme
from synthspine.gen.core.anatomy import IGNORE
from synthspine.progress import progress_bar
from synthspine.shards.checking.overlay import coloured, grey_picture
from synthspine.shards.storage.atomic import atomic_path
from synthspine.train.config import Plan
from synthspine.train.decoding import to_structures
from synthspine.train.model.unet import UNet
from synthspine.train.runtime.distributed import Ranks
from synthspine.train.validation import Score, ValidationSet, find_structures

if TYPE_CHECKING:
    from torch.utils.tensorboard import SummaryWriter

SHORTEST_REFRESH_SECONDS = 0.5
"""The bar is drawn at most that often."""
EVENT_FILES = "events.out.tfevents.*"
PICTURES = 4
"""Samples in the picture of a validation."""
GAP = 2
WHITE = 255


@dataclass(frozen=True, kw_only=True, slots=True)
class Epoch:
    """Results of an epoch, or of the part of one since a run was resumed.

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
        row = {name: format(getattr(self, name), digits.get(name, "")) for name in NUMBERS}
        if self.score is not None:
            row |= {f"dice_{name}": f"{value:.4f}" for name, value in self.score.structures.items()}
            row |= {"dice": f"{self.score.mean:.4f}", "best": str(int(self.best))}
        return row

    def to_curves(self) -> dict[str, float]:
        """Values of TensorBoard's curves."""
        values: dict[str, float] = {name: getattr(self, name) for name in NUMBERS[4:7]}
        values["skipped_steps"] = self.skipped
        if self.score is not None:
            values |= {f"dice/{name}": value for name, value in self.score.structures.items()}
            values["dice/mean"] = self.score.mean
        return values


NUMBERS = tuple(field.name for field in dataclasses.fields(Epoch))[:-2]


def columns_of(structures: Sequence[str]) -> tuple[str, ...]:
    """Columns of the CSV file, for the names of the structures of a label scheme."""
    return (*NUMBERS, *(f"dice_{name}" for name in structures), "dice", "best")


class Reporter:
    """Reports one run, from ``step`` on; on other ranks than 0 it is not active and silent.

    ``structures`` are the names of those that are scored.

    Rows and curves beyond that step are removed, because its steps will be done again.
    """

    def __init__(self, plan: Plan, step: int, structures: Sequence[str], *, active: bool) -> None:
        self.active = active
        self._bar = progress_bar(
            total=plan.steps,
            initial=step,
            desc=plan.title,
            unit="step",
            disable=not active,
            mininterval=SHORTEST_REFRESH_SECONDS,
        )
        self._csv = plan.file("log.csv")
        self._columns = columns_of(structures)
        self._rows = self._rows_until(step) if active and step else []
        self._board = None
        if active and plan.board:
            with self.going_on_without("TensorBoard's file"):
                self._board = _open_board(plan.file("tensorboard"), step)
        self._batch_size = plan.batch_size
        self._step = step
        self.restart_clock()

    def restart_clock(self) -> None:
        """Exclude the time since the last step from the images per second."""
        self._clock, self._clock_step = time.monotonic(), self._step

    def advance(self, step: int, loss: float) -> None:
        """Move the bar to ``step`` steps done; ``loss`` is the mean of the epoch so far."""
        self._bar.set_postfix(loss=f"{loss:.3f}", refresh=False)
        self._bar.update(step - self._step)
        self._step = step

    @property
    def images_per_second(self) -> float:
        """Samples a second, of all ranks, since the clock was started."""
        seconds = max(time.monotonic() - self._clock, 1e-9)
        return (self._step - self._clock_step) * self._batch_size / seconds

    def add(self, epoch: Epoch, picture: Callable[[], Tensor | None]) -> None:
        """Report an epoch; without room on the disk rows or curves are missing, and the run goes on.

        ``picture`` makes the picture of its validation, uint8 ``(3, H, W)``, if there is a place to show it.
        """
        if self.active:
            self._rows.append(epoch.to_row())
            self._write_rows(self._rows)
        if self._board is not None:
            board, self._board = self._board, None
            with self.going_on_without("TensorBoard's file (and no more of it)"):
                for name, value in epoch.to_curves().items():
                    board.add_scalar(name, value, epoch.step)
                if (shown := picture()) is not None:
                    board.add_image("validation: image, truth, prediction", shown, epoch.step)
                board.flush()
                self._board = board

    def _write_rows(self, rows: list[dict[str, str]]) -> None:
        with (
            self.going_on_without("the log"),
            atomic_path(self._csv) as temporary,
            temporary.open("w", newline="", encoding="utf-8") as stream,
        ):
            writer = csv.DictWriter(stream, self._columns, restval="", lineterminator="\n")
            writer.writeheader()
            writer.writerows(rows)

    def _rows_until(self, step: int) -> list[dict[str, str]]:
        """Rows of the log up to a step; of a damaged one those that are good, and a copy of it is kept."""
        rows: list[dict[str, str]] = []
        if not self._csv.is_file():
            return rows
        damaged = self._csv.with_suffix(f".damaged{self._csv.suffix}")
        bad = 0
        try:
            lines = self._csv.read_text(encoding="utf-8", errors="replace").splitlines()
            for row in csv.DictReader(lines):
                if not _is_whole(row):
                    bad += 1
                elif int(row["step"]) <= step:
                    rows.append({name: row.get(name, "") for name in self._columns})
        except (OSError, csv.Error) as error:
            self.log(f"warning: {self._csv} cannot be read ({error}); training goes on")
            bad += 1
        if bad:
            self.log(f"warning: {self._csv}: {bad} damaged row(s) left out, kept in {damaged.name}")
            with self.going_on_without(damaged.name):
                shutil.copyfile(self._csv, damaged)
            self._write_rows(rows)
        return rows

    def log(self, text: str) -> None:
        """Print a line above the bar."""
        if self.active:
            self._bar.write(text)

    @contextmanager
    def going_on_without(self, what: str) -> Iterator[None]:
        """Turn an error of the disk into a warning."""
        try:
            yield
        except OSError as error:
            self.log(f"warning: {what} could not be written ({error}); training goes on")

    def close(self) -> None:
        """End the bar and the files."""
        self._bar.close()
        if self._board is not None:
            with self.going_on_without("TensorBoard's file"):
                self._board.close()


def _is_whole(row: dict[str | None, str | None]) -> bool:
    """Whether a row of a log has as many fields as its header, all empty or numbers, and a step."""
    try:
        for text in row.values():
            float(text or 0)
        return None not in row and None not in row.values() and int(row["step"] or 0) > 0
    except (KeyError, TypeError, ValueError):
        return False


def _open_board(folder: Path, step: int) -> "SummaryWriter":
    # Slow to import, so only where it is used.
    from torch.utils.tensorboard import SummaryWriter

    if not step and folder.is_dir():
        for old in folder.glob(EVENT_FILES):
            old.unlink()
    return SummaryWriter(str(folder), purge_step=step + 1 if step else None)


def validation_picture(
    network: UNet, samples: ValidationSet, scheme: LabelScheme, ranks: Ranks, *, bf16: bool
) -> Tensor | None:
    """Three rows of the first samples: image, truth, prediction.

    Returns:
        uint8, shape ``(3, height, width)``, on the CPU; None where this rank has no samples.
    """
    images, codes = samples.images[:PICTURES], samples.codes[:PICTURES]
    if not len(images):
        return None
    found = find_structures(network, images, scheme, ranks, bf16=bf16)
    truth = to_structures(scheme.encode(codes), scheme)
    maps = (structures.cpu().numpy() for structures in (truth, found))
    colours = np.zeros((IGNORE + 1, 3), dtype=np.uint8)
    colours[: len(scheme.structures) + 1] = scheme.by_structure().colours
    rows = [
        (grey_picture(image), *(coloured(labels, image, colours=colours) for labels in (actual, predicted)))
        for image, actual, predicted in zip(images[:, 0].float().cpu().numpy(), *maps, strict=True)
    ]
    # Samples are side by side, with white gaps.
    padded = np.pad(np.array(rows), [(0, 0), (0, 0), (0, GAP), (0, GAP), (0, 0)], constant_values=WHITE)
    picture = torch.from_numpy(padded).permute(4, 1, 2, 0, 3).flatten(3, 4).flatten(1, 2)
    return picture[:, :-GAP, :-GAP].contiguous()
