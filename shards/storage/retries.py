"""Retries after transient failures: time-outs, broken connections, busy servers."""

import errno
import random
import socket
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeVar

Result = TypeVar("Result")

_TRANSIENT_CODES = {
    errno.EAGAIN,
    errno.EBUSY,
    errno.EHOSTDOWN,
    errno.EHOSTUNREACH,
    errno.EIO,
    errno.ENETDOWN,
    errno.ENETRESET,
    errno.ENETUNREACH,
    getattr(errno, "EREMOTEIO", errno.EIO),  # s3fs raises it for an InternalError
}
_TRANSIENT_KINDS = {
    "aiohttp": {"ClientConnectionError", "ClientPayloadError"},
    "botocore": {"HTTPClientError", "IncompleteReadError", "ResponseParserError"},
    "urllib3": {"IncompleteRead"},
}
_PERMANENT_KINDS = {"ClientSSLError", "ClientConnectorCertificateError", "SSLCertVerificationError"}
_PERMANENT_STATUS = {501, 505, 507, 508, 511}
"""Statuses above 499 that do not change on the next attempt: not implemented, disk full, log in first, ..."""


class Transient(OSError):
    """A transient failure.

    Attributes:
        after_s: how long a server asks to wait, seconds.
    """

    after_s: float = 0.0


@dataclass(frozen=True, kw_only=True, slots=True)
class Retries:
    """Number of attempts and the waits between them.

    Before attempt ``n + 1`` it waits ``first_s * 2**(n - 1)`` seconds, at most ``longest_s``, reduced by a
    random part of up to a half, so that workers that failed together do not repeat together. The time that a
    server asks for is added.

    Attributes:
        attempts: including the first one.
        first_s: longest first wait, seconds.
        longest_s: upper bound of a wait, and of the time that a server may ask for, seconds.
        total_s: time after which no further attempt begins, seconds.
        sleep: waits that many seconds.
        clock: tells the time, seconds.
    """

    attempts: int = 5
    first_s: float = 0.5
    longest_s: float = 8.0
    total_s: float = 1200.0
    sleep: Callable[[float], object] = time.sleep
    clock: Callable[[], float] = time.monotonic

    def call(self, work: Callable[[], Result], what: str) -> Result:
        """The result of the first successful attempt; ``what`` is the file or URL, without credentials.

        Raises:
            OSError: every attempt failed; names ``what`` and the number of attempts.
            Exception: any other error of ``work``, unchanged, at once.
        """
        jitter, start = random.Random(), self.clock()
        for attempt in range(1, self.attempts + 1):
            try:
                return work()
            except Exception as error:
                if not is_transient(error):
                    raise
                if attempt == self.attempts or self.clock() - start >= self.total_s:
                    reason = str(error) or type(error).__name__
                    raise OSError(f"{what}: {reason}; gave up after {attempt} attempts") from None
                requested_s = error.after_s if isinstance(error, Transient) else 0.0
            longest_s = min(self.longest_s, self.first_s * 2 ** (attempt - 1))
            self.sleep(min(requested_s, self.longest_s) + longest_s * jitter.uniform(0.5, 1.0))
        raise ValueError(f"{what}: {self.attempts} attempts; at least one is needed")


def is_transient(error: BaseException) -> bool:
    """Whether another attempt may succeed."""
    if isinstance(error, FileNotFoundError | PermissionError | NotADirectoryError | ValueError):
        return False
    kinds = [(kind.__module__.partition(".")[0], kind.__name__) for kind in type(error).__mro__]
    if any(name in _PERMANENT_KINDS for _, name in kinds):
        return False
    if isinstance(error, Transient | TimeoutError | ConnectionError | EOFError):
        return True
    if any(name in _TRANSIENT_KINDS.get(package, ()) for package, name in kinds):
        return True
    if isinstance(error, socket.gaierror):
        return error.errno == socket.EAI_AGAIN
    status = getattr(error, "status", getattr(error, "code", None))
    if isinstance(status, int):
        return is_transient_status(status)
    return isinstance(error, OSError) and error.errno in _TRANSIENT_CODES


def is_transient_status(status: int) -> bool:
    """Whether another attempt may succeed after this HTTP status."""
    return status in (408, 429) or (500 <= status <= 599 and status not in _PERMANENT_STATUS)
