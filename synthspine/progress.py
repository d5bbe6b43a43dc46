"""Progress of long work: a bar on a terminal, plain lines at times where the messages go to a file."""

import sys
from collections.abc import Iterable
from typing import Any

from tqdm import tqdm

SECONDS_BETWEEN_LINES = 10.0
"""Shortest time between two lines in a file."""
_LINE = "{desc}: {percentage:3.0f}% {n_fmt}/{total_fmt} [{elapsed}<{remaining}, {rate_fmt}{postfix}]"


def progress_bar(items: Iterable[Any] | None = None, *, desc: str, unit: str, **more: Any) -> tqdm:
    """A bar on stderr; where that is no terminal, whole lines without control characters.

    Items are passed through and counted; they are None where ``update`` is called instead. ``more`` are
    further options of ``tqdm``: with ``disable=None`` nothing is told where stderr is no terminal.
    """
    if sys.stderr.isatty():
        return tqdm(items, desc=desc, unit=unit, file=sys.stderr, **more)
    lines = {"mininterval": SECONDS_BETWEEN_LINES, "miniters": 1, "bar_format": _LINE, "leave": True}
    return tqdm(items, desc=desc, unit=unit, file=_Lines(), **more | lines)


class _Lines:
    """Writes what a bar shows as lines of stderr, without the returns to the start of the line."""

    def __init__(self) -> None:
        self._told = ""

    def write(self, text: str) -> None:
        line = text.strip()
        # The end of the work is told by the last step already.
        done = line.partition("[")[0]
        if line and done != self._told:
            sys.stderr.write(f"{line}\n")
            self._told = done

    def flush(self) -> None:
        sys.stderr.flush()

    def isatty(self) -> bool:
        return False
