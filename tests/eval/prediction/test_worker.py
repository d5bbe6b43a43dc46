import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from synthspine.eval.prediction.scans import find_scans
from synthspine.eval.prediction.worker import CrashError, Worker
from synthspine.shards.readers.folder import NotUsedError

PARENT = """
import os, time
from synthspine.eval.prediction.worker import Worker
with Worker() as worker:
    print(worker.call(os.getpid), flush=True)
    worker.call(time.sleep, 60)
"""


def test_answers_and_errors_come_back(worker):
    assert worker.call(os.getpid) != os.getpid()
    np.testing.assert_array_equal(worker.call(np.arange, 10**6), np.arange(10**6))
    with pytest.raises(ZeroDivisionError):
        worker.call(divmod, 1, 0)
    assert worker.call(print, "a line of a library") is None
    found, _ = worker.call(find_scans, [Path("gone.mha")], Path("out"))
    with pytest.raises(ValueError, match=r"^gone.mha: no such file$"):
        worker.call(type(found[0]).read, found[0])


def test_errors_of_readers_keep_their_kind(worker):
    error = worker.call(NotUsedError, "a", "b")
    assert type(error) is NotUsedError and str(error) == "a: b" and error.reason == "b"


def test_after_a_crash_there_is_a_new_process(worker):
    process = worker.call(os.getpid)
    with pytest.raises(CrashError, match=r"by signal 9 \(SIGKILL\)"):
        worker.call(os.kill, process, signal.SIGKILL)
    assert worker.call(os.getpid) != process


def alive(process):
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    return "Z" not in Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[0]


def test_the_process_ends_with_that_which_calls_it():
    parent = subprocess.Popen([sys.executable, "-c", PARENT], stdout=subprocess.PIPE, text=True)
    process = int(parent.stdout.readline())
    parent.send_signal(signal.SIGINT)
    parent.wait(20)
    until = time.monotonic() + 20
    while alive(process) and time.monotonic() < until:
        time.sleep(0.05)
    assert not alive(process)


def test_a_closed_worker_starts_no_process():
    with Worker() as worker:
        pass
    with pytest.raises(CrashError):
        worker.call(os.getpid)
