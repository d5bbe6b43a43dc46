"""Progress on a terminal, and in the file of a log."""

import io
import sys

import pytest

from synthspine import progress
from synthspine.progress import progress_bar


class Terminal(io.StringIO):
    def isatty(self):
        return True


KINDS = pytest.mark.parametrize("kind", [Terminal, io.StringIO])


@KINDS
def test_a_log_gets_whole_lines_and_a_terminal_one_bar(kind, monkeypatch):
    monkeypatch.setattr(sys, "stderr", stderr := kind())
    monkeypatch.setattr(progress, "SECONDS_BETWEEN_LINES", 0)
    with progress_bar(total=3, desc="work", unit="piece") as bar:
        for number in range(3):
            bar.set_postfix(loss=number, refresh=False)
            bar.write("a message")
            bar.update()
    text = stderr.getvalue()
    if isinstance(stderr, Terminal):
        assert "\r" in text and text.count("\n") == 1
    else:
        assert not set("\r\x1b") & set(text)
        assert text.startswith("work:   0% 0/3 [") and text.endswith("\n")
        assert "work: 100% 3/3 [" in text and ", loss=2]" in text and "\n\n" not in text


@KINDS
def test_lines_of_a_log_are_seldom(kind, monkeypatch):
    monkeypatch.setattr(sys, "stderr", stderr := kind())
    assert list(progress_bar(range(1000), desc="work", unit="piece")) == list(range(1000))
    if not isinstance(stderr, Terminal):
        assert stderr.getvalue().count("\n") <= 2


@KINDS
def test_silence_is_possible(kind, monkeypatch):
    monkeypatch.setattr(sys, "stderr", stderr := kind())
    list(progress_bar(range(3), desc="work", unit="piece", disable=True))
    if not isinstance(stderr, Terminal):
        list(progress_bar(range(3), desc="work", unit="piece", disable=None))
    assert stderr.getvalue() == ""
