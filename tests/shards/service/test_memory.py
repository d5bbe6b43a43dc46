"""Memory that was freed is used again: the kernel has to provide a page once."""

import subprocess
import sys

import pytest

from synthspine.shards.service.memory import keep_freed_memory

PROGRAM = """
import resource, sys, threading
import numpy as np
sys.path.insert(0, {root!r})
from synthspine.shards.service.memory import keep_freed_memory
if {keep} and not keep_freed_memory():
    sys.exit(77)

def faults():
    for turn in range(41):
        if turn == 1:
            before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
        arrays = [np.ones(size, np.uint8) for size in (2**23, 5_000_000, 50_000_000)]
        del arrays
    print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)

thread = threading.Thread(target=faults)
thread.start()
thread.join()
"""


def faults(keep, root):
    """Pages that the kernel provided while a thread asked 40 times for the same three arrays."""
    program = PROGRAM.format(keep=keep, root=str(root))
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=200)
    if done.returncode == 77:
        pytest.skip("the C library is not glibc")
    assert done.returncode == 0, done.stderr
    return int(done.stdout)


def test_what_was_freed_is_used_again(pytestconfig):
    root = pytestconfig.rootpath
    kept = faults(True, root)
    assert kept < 1000 and 5 * kept < faults(False, root)


def test_elsewhere_nothing_is_done(monkeypatch):
    monkeypatch.setattr(sys, "platform", "darwin")
    assert keep_freed_memory() is False
