"""Memory that was freed is used again: the kernel has to provide a page once."""

import ctypes
import subprocess
import sys

import pytest

from synthspine.gen.core.memory import keep_freed_memory

PROGRAM = """
import resource, threading
import numpy as np
from synthspine.gen.core import memory
if {function!r}:
    getattr(memory, {function!r})()

def faults():
    for turn in range(41):
        if turn == 1:
            before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
        arrays = [np.ones(size, np.uint8) for size in (2**23, 5_000_000, 20_000_000)]
        del arrays
    print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)

thread = threading.Thread(target=faults)
thread.start()
thread.join()
"""


def faults(function=""):
    """Pages that the kernel provided while a thread asked 40 times for the same three arrays."""
    program = PROGRAM.format(function=function)
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=200)
    assert done.returncode == 0, done.stderr
    return int(done.stdout)


@pytest.mark.parametrize("function", ["keep_freed_memory", "use_freed_memory"])
def test_what_was_freed_is_used_again(function):
    if not hasattr(ctypes.CDLL(None), "mallopt"):
        pytest.skip("the C library is not glibc")
    kept = faults(function)
    assert kept < 1000 and 5 * kept < faults()


def test_elsewhere_nothing_is_done(monkeypatch):
    monkeypatch.setattr(sys, "platform", "darwin")
    monkeypatch.setattr(ctypes, "CDLL", lambda name: pytest.fail("the C library is touched"))
    keep_freed_memory()
