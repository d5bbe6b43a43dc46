"""Trying again what failed for a reason that may pass: time-outs, broken connections, busy servers."""

import errno
import random
import socket
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeVar

Result = TypeVar("Result")

_PASSING_CODES = {
    errno.EAGAIN,
    errno.EBUSY,
    errno.EHOSTDOWN,
    errno.EHOSTUNREACH,
    errno.EIO,
    errno.ENETDOWN,
    errno.ENETRESET,
    errno.ENETUNREACH,
    getattr(errno, "EREMOTEIO", errno.EIO),  # what s3fs makes of an InternalError
}
_PASSING_KINDS = {
    "aiohttp": {"ClientConnectionError", "ClientPayloadError"},
    "botocore": {"HTTPClientError", "IncompleteReadError", "ResponseParserError"},
    "urllib3": {"IncompleteRead"},
}
_LASTING_KINDS = {"ClientSSLError", "ClientConnectorCertificateError", "SSLCertVerificationError"}
_LASTING_STATUS = {501, 505, 507, 508, 511}
"""Answers of a server that will be the same next time: not implemented, disk full, log in first, ..."""


class Transient(OSError):
    """A failure that may pass.

    Attributes:
        after_s: how long a server asks to wait, seconds.
    """

    after_s: float = 0.0


@dataclass(frozen=True, kw_only=True, slots=True)
class Retries:
    """How often something is tried, and how long to wait in between.

    Before attempt ``n + 1`` it waits ``first_s * 2**(n - 1)`` seconds, at most ``longest_s``, less a random
    part of up to a half, so that workers which failed together do not come back together. If a server asks
    for some time, that is added.

    Attributes:
        attempts: the first one included.
        first_s: longest first wait, seconds.
        longest_s: no wait is longer, and no server's wish is followed for longer, seconds.
        sleep: waits that many seconds.
    """

    attempts: int = 5
    first_s: float = 0.5
    longest_s: float = 8.0
    sleep: Callable[[float], object] = time.sleep

    def call(self, work: Callable[[], Result], what: str, jitter: random.Random | None = None) -> Result:
        """Result of the first attempt that succeeds.

        Args:
            work: does it; called again after an error that may pass.
            what: names the file or URL in the text of an error; no credentials.
            jitter: draws the waits; by default its own, seeded by the system, in every process another.

        Raises:
            OSError: every attempt failed; names ``what`` and the number of attempts.
            Exception: anything of ``work`` that will not pass, unchanged, at once.
        """
        for attempt in range(1, self.attempts + 1):
            try:
                return work()
            except Exception as error:
                if not may_pass(error):
                    raise
                if attempt == self.attempts:
                    reason = str(error) or type(error).__name__
                    raise OSError(f"{what}: {reason}; gave up after {attempt} attempts") from None
                asked_s = error.after_s if isinstance(error, Transient) else 0.0
            jitter = jitter or random.Random()
            longest = min(self.longest_s, self.first_s * 2 ** (attempt - 1))
            self.sleep(min(asked_s, self.longest_s) + longest * jitter.uniform(0.5, 1.0))
        raise ValueError(f"{what}: {self.attempts} attempts; at least one is needed")


def may_pass(error: BaseException) -> bool:
    """Whether it may work when tried again."""
    if isinstance(error, FileNotFoundError | PermissionError | NotADirectoryError | ValueError):
        return False
    kinds = [(kind.__module__.partition(".")[0], kind.__name__) for kind in type(error).__mro__]
    if any(name in _LASTING_KINDS for _, name in kinds):
        return False
    if isinstance(error, Transient | TimeoutError | ConnectionError | EOFError):
        return True
    if any(name in _PASSING_KINDS.get(package, ()) for package, name in kinds):
        return True
    if isinstance(error, socket.gaierror):
        return error.errno == socket.EAI_AGAIN
    status = getattr(error, "status", getattr(error, "code", None))
    if isinstance(status, int):
        return status_may_pass(status)
    return isinstance(error, OSError) and error.errno in _PASSING_CODES


def status_may_pass(status: int) -> bool:
    """Whether a server that answered with this HTTP status may do better next time."""
    return status in (408, 429) or (500 <= status <= 599 and status not in _LASTING_STATUS)
