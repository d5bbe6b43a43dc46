"""Stops of a run: SIGTERM and Ctrl-C set a flag, and all ranks stop at the same step with a snapshot."""

import os
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any

SIGNALS = (signal.SIGTERM, signal.SIGINT)


class TrainingStopped(Exception):
    """A run has saved its state on a stop request; the text says where, and how to resume."""


class StopRequest:
    """Whether this process was requested to stop; ``requested`` is True once a signal has come."""

    def __init__(self) -> None:
        self.requested = False
        self._at_once = False
        # torchrun may send the same signal twice to its processes, which sit apart from the keyboard.
        self._patient = "TORCHELASTIC_RUN_ID" in os.environ

    def _on_signal(self, number: int, frame: FrameType | None) -> None:
        again, self.requested = self.requested, True
        if again and number == signal.SIGINT and not self._patient:
            raise KeyboardInterrupt
        if self._at_once and not again:
            raise KeyboardInterrupt

    @contextmanager
    def interrupts(self, message: str) -> Iterator[None]:
        """A block without state to save: the first signal ends it with ``TrainingStopped(message)``."""
        if self.requested:
            raise TrainingStopped(message)
        try:
            self._at_once = True
            yield
            self._at_once = False
        except KeyboardInterrupt:
            if not self.requested:
                raise
            raise TrainingStopped(message) from None
        finally:
            self._at_once = False


@contextmanager
def watch_for_stop(*, ends_process: bool = False) -> Iterator[StopRequest]:
    """Turn SIGTERM and SIGINT into a flag for the length of the block.

    A second Ctrl-C aborts at once, unless torchrun handed it on. Signals arrive in the main thread; in
    another one the flag stays down. With ``ends_process`` signals are ignored after a block that ends well or
    with ``TrainingStopped``: all is saved, and the process ends with its own status.
    """
    request = StopRequest()
    if threading.current_thread() is not threading.main_thread():
        yield request
        return
    later: dict[int, Any] = {number: signal.signal(number, request._on_signal) for number in SIGNALS}
    ended_well = False
    try:
        yield request
        ended_well = True
    except TrainingStopped:
        ended_well = True
        raise
    finally:
        for number, handler in later.items():
            signal.signal(number, signal.SIG_IGN if ends_process and ended_well else handler)
