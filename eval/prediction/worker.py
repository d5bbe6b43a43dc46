"""A second process in which scans are read: a library that crashes on a file ends it alone."""

import os
import pickle
import signal
import subprocess
import sys
import threading
from collections.abc import Callable
from types import TracebackType
from typing import IO, Any, ParamSpec, TypeVar

Arguments = ParamSpec("Arguments")
Answer = TypeVar("Answer")

_PROGRAM = "import sys; sys.path[:] = {path!r}; from {module} import answer_calls; answer_calls()"


class CrashError(RuntimeError):
    """The process ended during a call; the text says how."""


class Worker:
    """Calls functions in another process, one at a time; after a crash in a new one.

    Unlike those of ``multiprocessing`` the process does not import the program's own script again, gets no
    Ctrl-C, and ends as soon as this process is gone. Functions, arguments and answers are pickled.
    """

    def __init__(self) -> None:
        self._process: subprocess.Popen[bytes] | None = None
        self._lock = threading.Lock()
        self._closed = False

    def __enter__(self) -> "Worker":
        """Start the process, which takes seconds; meanwhile this one can do other things."""
        self._process = self._start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """End the process, also during a call."""
        self._closed = True
        if self._process is not None:
            self._process.kill()
            self._process.wait()

    def call(
        self,
        function: Callable[Arguments, Answer],
        *arguments: Arguments.args,
        **keywords: Arguments.kwargs,
    ) -> Answer:
        """The answer of a function of a module.

        Raises:
            CrashError: the process ended during the call.
            Exception: that of the function.
        """
        with self._lock:
            if self._closed:
                raise CrashError("the process that reads was ended")
            process = self._process = self._process or self._start()
            assert process.stdin is not None and process.stdout is not None
            try:
                _send((function, arguments, keywords), process.stdin)
                error, answer = pickle.load(process.stdout)
            except (EOFError, OSError, pickle.UnpicklingError):
                self._process = None
                raise CrashError(f"the process that read it ended {_how(process)}") from None
        if error is not None:
            raise error
        answered: Answer = answer
        return answered

    @staticmethod
    def _start() -> "subprocess.Popen[bytes]":
        program = _PROGRAM.format(path=sys.path, module=__name__)
        return subprocess.Popen(
            [sys.executable, "-c", program], stdin=subprocess.PIPE, stdout=subprocess.PIPE, process_group=0
        )


def answer_calls() -> None:
    """The program of the process: answer calls until there are no more."""
    calls, answers = sys.stdin.buffer, os.fdopen(os.dup(sys.stdout.fileno()), "wb")
    # What libraries print must not get between the answers.
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())
    try:
        while True:
            function, arguments, keywords = pickle.load(calls)
            try:
                answer = function(*arguments, **keywords)
            except Exception as error:
                _send((_sendable(error), None), answers)
            else:
                _send((None, answer), answers)
    except (EOFError, BrokenPipeError):
        # The other process is gone: nothing is left to be cleaned up or told.
        os._exit(0)


def _send(message: Any, stream: IO[bytes]) -> None:
    pickle.dump(message, stream, protocol=pickle.HIGHEST_PROTOCOL)
    stream.flush()


def _sendable(error: Exception) -> Exception:
    try:
        pickle.loads(pickle.dumps(error))
    except Exception:
        return RuntimeError(f"{type(error).__name__}: {error}")
    return error


def _how(process: "subprocess.Popen[bytes]") -> str:
    status = process.wait()
    if status >= 0:
        return f"with status {status}"
    try:
        return f"by signal {-status} ({signal.Signals(-status).name})"
    except ValueError:
        return f"by signal {-status}"
