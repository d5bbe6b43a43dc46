"""Stopping in good order: SIGTERM and Ctrl-C set a flag, and all ranks stop at the same step."""

import os
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

SIGNALS = (signal.SIGTERM, signal.SIGINT)


class Stopped(Exception):
    """A run that was requested to stop has saved its state; the text says where, and how to go on."""


class StopRequest:
    """Whether this process was requested to stop.

    Attributes:
        requested: True once a signal has come.
    """

    def __init__(self) -> None:
        self.requested = False
        self._at_once = False
        # torchrun may send the same signal twice to its processes, which sit apart from the keyboard.
        self._patient = "TORCHELASTIC_RUN_ID" in os.environ

    def _ask(self, number: int, frame: FrameType | None) -> None:
        again, self.requested = self.requested, True
        if again and number == signal.SIGINT and not self._patient:
            raise KeyboardInterrupt
        if self._at_once and not again:
            raise KeyboardInterrupt

    @contextmanager
    def ends(self, told: str) -> Iterator[None]:
        """A block that keeps no state of its own: the first signal ends it at once.

        Args:
            told: what the error then says.

        Raises:
            Stopped: a signal came.
        """
        if self.requested:
            raise Stopped(told)
        self._at_once = True
        try:
            yield
            self._at_once = False
        except KeyboardInterrupt:
            if not self.requested:
                raise
            raise Stopped(told) from None
        finally:
            self._at_once = False


@contextmanager
def watch_for_stop() -> Iterator[StopRequest]:
    """Turn SIGTERM and SIGINT into a flag for the length of the block.

    A second Ctrl-C aborts at once, unless torchrun handed it on. Signals arrive in the main thread; in
    another one the flag stays down.
    """
    request = StopRequest()
    if threading.current_thread() is not threading.main_thread():
        yield request
        return
    earlier = {number: signal.signal(number, request._ask) for number in SIGNALS}
    try:
        yield request
    finally:
        for number, handler in earlier.items():
            signal.signal(number, handler)
