"""Stopping in good order: SIGTERM sets a flag, and all ranks stop at the same step."""

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType


class StopRequest:
    """Whether this process was asked to stop.

    Attributes:
        asked: True once SIGTERM has come.
    """

    def __init__(self) -> None:
        self.asked = False

    def _ask(self, number: int, frame: FrameType | None) -> None:
        self.asked = True


class Stopped(Exception):
    """A run that was asked to stop has saved its state; the text says where."""


@contextmanager
def watch_for_stop() -> Iterator[StopRequest]:
    """Turn SIGTERM into a flag for the length of the block (in the main thread, where signals arrive)."""
    request = StopRequest()
    if threading.current_thread() is not threading.main_thread():
        yield request
        return
    earlier = signal.signal(signal.SIGTERM, request._ask)
    try:
        yield request
    finally:
        signal.signal(signal.SIGTERM, earlier)
