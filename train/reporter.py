"""Everything that rank 0 tells during a run: bar, messages, CSV file, TensorBoard."""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from torch import Tensor

from synthspine.train.board import Board
from synthspine.train.log import Epoch, TrainingLog, progress_bar
from synthspine.train.plan import Plan


class Reporter:
    """Tells about one run; on other ranks than 0 it is silent.

    Args:
        plan: what the run does.
        step: step from which it goes on.
        active: whether this is rank 0.
    """

    def __init__(self, plan: Plan, step: int, *, active: bool) -> None:
        self.active = active
        self._bar = progress_bar(plan.title, plan.steps, step, shown=active)
        self._log = TrainingLog(plan.file("log.csv"), step) if active else None
        self._board = Board(plan.file("tensorboard"), step) if active and plan.board else None
        self._samples = plan.batch_size
        self._step = step
        self.restart_clock()

    def restart_clock(self) -> None:
        """Leave out of the images a second what was done since the last step."""
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
        return (self._step - self._clock_step) * self._samples / seconds

    def add(self, epoch: Epoch, picture: Callable[[], Tensor | None]) -> None:
        """Log an epoch; a disk that is full costs the rows, not the run.

        Args:
            epoch: what to log.
            picture: makes the picture of its validation, if there is a place to show it.
        """
        if self._log is not None:
            with self.going_on_without("the log"):
                self._log.add(epoch)
        if self._board is not None:
            board, self._board = self._board, None
            with self.going_on_without("TensorBoard's file (and no more of it)"):
                board.add(epoch, picture())
                self._board = board

    def say(self, text: str) -> None:
        """Print a line above the bar."""
        if self.active:
            self._bar.write(text)

    @contextmanager
    def going_on_without(self, what: str) -> Iterator[None]:
        """Turn an error of the disk into a warning."""
        try:
            yield
        except OSError as error:
            self.say(f"warning: {what} could not be written ({error}); training goes on")

    def close(self) -> None:
        """End the bar and the files."""
        self._bar.close()
        if self._board is not None:
            with self.going_on_without("TensorBoard's file"):
                self._board.close()
