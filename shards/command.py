"""How a command ends: what the user can mend is one line, not a traceback."""

import re
import sys
from collections.abc import Callable

import torch

from synthspine.gen.core.device import keep_freed_memory

INTERRUPTED = 128 + 2
_ASKED = re.compile(r"Tried to allocate ([\d.]+ [KMGT]i?B|[\d.]+ bytes)")
_FREE = re.compile(r"GPU (\d+) has a total capacity of ([\d.]+ \w+) of which ([\d.]+ \w+) is free")
_CPU_ALLOCATOR = "DefaultCPUAllocator: "


def run_command(work: Callable[[], object], *, less_memory: str = "smaller batches") -> int:
    """Do the work of a command; its exit status: 0, 1 after an error that it told, 130 after Ctrl-C.

    Args:
        work: what to do.
        less_memory: what needs less memory in this command, for the line that tells that it ran out.
    """
    keep_freed_memory()
    try:
        work()
    except (ValueError, OSError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    except (MemoryError, RuntimeError) as error:
        if (lack := _lack_of_memory(error)) is None:
            raise
        print(f"error: {lack}; what needs less: {less_memory}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return INTERRUPTED
    return 0


def _lack_of_memory(error: BaseException) -> str | None:
    """Which memory ran out, in one line; None if the error is another one."""
    text = " ".join(str(error).split())
    if isinstance(error, torch.OutOfMemoryError):
        asked, free = _ASKED.search(text), _FREE.search(text)
        wanted = f", {asked[1]} more wanted" if asked else ""
        room = f", {free[3]} of {free[2]} free" if free else ""
        return f"the memory of GPU{f' {free[1]}' if free else ''} ran out{wanted}{room}"
    if isinstance(error, MemoryError):
        return f"the memory of this machine ran out{f' ({text})' if text else ''}"
    if _CPU_ALLOCATOR in text:
        # torch has no error of its own for the memory of the CPU.
        return f"the memory of this machine ran out ({text.partition(_CPU_ALLOCATOR)[2]})"
    return None
