"""Keeping memory that was freed, as a process does that renders the same sizes all day."""

import ctypes
import sys

_M_TRIM_THRESHOLD, _M_TOP_PAD, _M_MMAP_THRESHOLD, _M_ARENA_MAX = -1, -2, -3, -8
"""Options of glibc's ``mallopt`` (malloc.h)."""
_ALL = 2**30


def keep_freed_memory() -> bool:
    """Have glibc keep what is freed for the next time, in place of giving it back to the kernel.

    A renderer on the CPU frees and asks for the same large arrays over and over. By default each is mapped
    anew, and the kernel fills it with zeros, page by page: up to a sixth of the CPU time of a render. Memory
    stays at its peak, which the first renders reach. To be called before threads are started.

    Returns:
        Whether it does; False where the C library is another one.
    """
    if not sys.platform.startswith("linux"):
        return False
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is None:
        return False
    # One arena: the others are cut into heaps that are too small for the arrays of a batch.
    wanted = {_M_ARENA_MAX: 1, _M_MMAP_THRESHOLD: _ALL, _M_TRIM_THRESHOLD: _ALL, _M_TOP_PAD: 2**26}
    taken = [mallopt(option, value) for option, value in wanted.items()]
    return all(taken)
