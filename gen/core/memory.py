"""Memory that was freed is used again: on a CPU, new pages take longer than the work in them."""

import ctypes
import sys
from functools import cache

# Names and numbers of glibc's mallopt(3).
_M_TRIM_THRESHOLD, _M_TOP_PAD, _M_MMAP_THRESHOLD = -1, -2, -3
_GREATEST_MMAP_THRESHOLD = 32 * 2**20
_TOP_PAD = 64 * 2**20
_NEVER = 2**31 - 1


def keep_freed_memory() -> None:
    """Let this process keep the memory of freed tensors for new tensors.

    glibc returns large blocks to the system, and every temporary tensor then pays for fresh pages. For entry
    points, not for libraries: the process keeps its peak memory. Without glibc it does nothing.
    """
    if not sys.platform.startswith("linux"):
        return
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is not None:
        mallopt(_M_MMAP_THRESHOLD, _GREATEST_MMAP_THRESHOLD)
        mallopt(_M_TRIM_THRESHOLD, _NEVER)
        mallopt(_M_TOP_PAD, _TOP_PAD)


@cache
def use_freed_memory() -> None:
    """Let glibc use the memory of freed tensors again as it does after a program freed any block of 32 MB.

    For libraries. glibc keeps blocks up to the size of the largest that was freed in its heap, and of the
    heap's free end twice as much. Such a block is asked for here and freed; it is not touched, so it costs
    nothing.
    """
    import torch  # takes seconds, and a command that calls the other function may need none

    torch.empty(_GREATEST_MMAP_THRESHOLD - 2**16, dtype=torch.uint8, device="cpu")
