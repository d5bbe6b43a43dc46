"""Ctrl-C while a command still loads its modules, which takes seconds."""

import os
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

INTERRUPTED = 128 + signal.SIGINT
"""Exit status of a command that was stopped by Ctrl-C."""


@contextmanager
def quiet_interrupt() -> Iterator[None]:
    """End the process without a traceback on Ctrl-C within the block; afterwards all is as before.

    For blocks with nothing to clean up, such as the imports of a command. Nothing is changed where Ctrl-C is
    ignored or handled already.
    """
    here = threading.current_thread() is threading.main_thread()
    if not here or signal.getsignal(signal.SIGINT) is not signal.default_int_handler:
        yield
        return
    signal.signal(signal.SIGINT, _end)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, signal.default_int_handler)


def _end(number: int, frame: FrameType | None) -> None:
    # An exception could be swallowed or reworded by the module that is being loaded.
    os._exit(INTERRUPTED)
