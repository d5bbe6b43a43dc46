import errno
import random

import aiohttp
import pytest

from synthspine.shards.storage.retries import Retries, Transient, is_transient


class Failing:
    """Raises these errors, one per call, and then succeeds."""

    def __init__(self, *errors):
        self.errors = list(errors)
        self.calls = 0

    def __call__(self):
        self.calls += 1
        if self.errors:
            raise self.errors.pop(0)
        return "done"


def retries(waits=None, **kwargs):
    return Retries(sleep=[].append if waits is None else waits.append, **kwargs)


def test_transient_failures_are_tried_again():
    waits, work = [], Failing(Transient("503"), TimeoutError(), ConnectionResetError())
    assert retries(waits).call(work, "url") == "done"
    assert work.calls == 4 and len(waits) == 3


@pytest.mark.parametrize(
    "error", [FileNotFoundError, PermissionError, NotADirectoryError, ValueError, KeyError]
)
def test_permanent_failures_are_raised_at_once(error):
    waits, work = [], Failing(error("no"))
    with pytest.raises(error, match="no"):
        retries(waits).call(work, "url")
    assert work.calls == 1 and waits == []


def test_the_last_error_names_the_url_and_the_attempts():
    work = Failing(*[Transient("503")] * 4, Transient("the last"), Transient("never"))
    with pytest.raises(OSError, match=r"^http://host/a: the last; gave up after 5 attempts$"):
        retries().call(work, "http://host/a")
    assert work.calls == 5


def test_no_attempt_begins_after_the_total_time():
    now = iter([0.0, 400.0, 800.0, 1200.0])
    work = Failing(*[Transient("slow")] * 9)
    with pytest.raises(OSError, match="slow; gave up after 3 attempts"):
        retries(attempts=9, total_s=1200.0, clock=lambda: next(now)).call(work, "url")
    assert work.calls == 3


def test_waits_double_up_to_a_bound_and_vary():
    waits = []
    with pytest.raises(OSError):
        retries(waits, attempts=8).call(Failing(*[Transient("x")] * 8), "url")
    longest = [0.5, 1, 2, 4, 8, 8, 8]
    assert len(waits) == len(longest)
    assert all(most / 2 <= wait <= most for wait, most in zip(waits, longest, strict=True))
    assert len({wait / most for wait, most in zip(waits, longest, strict=True)}) == len(longest)


def test_jitter_neither_uses_nor_moves_the_global_state():
    random.seed(7)
    state = random.getstate()
    first, second = [], []
    for waits in (first, second):
        random.setstate(state)
        retries(waits).call(Failing(*[Transient("x")] * 4), "url")
        assert random.getstate() == state
    assert first != second


@pytest.mark.parametrize(
    ("error", "passes"),
    [
        (OSError(errno.ENETUNREACH, "x"), True),
        (OSError(errno.ENOSPC, "x"), False),
        (OSError(errno.EBUSY, "SlowDown"), True),
        (OSError("x"), False),
        (aiohttp.ClientPayloadError("x"), True),
        (aiohttp.ServerDisconnectedError(), True),
        (aiohttp.ServerTimeoutError(), True),
        (aiohttp.InvalidURL("x"), False),
        (EOFError(), True),
        (TypeError(), False),
    ],
)
def test_transient_errors(error, passes):
    assert is_transient(error) is passes
