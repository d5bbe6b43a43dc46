"""Exit status of commands: errors that the user can correct are one line instead of a traceback."""

import io
import re
import sys
from collections.abc import Callable

from synthspine.gen.core.memory import keep_freed_memory
from synthspine.interrupt import INTERRUPTED
from synthspine.shards.storage.atomic import told
from synthspine.shards.storage.auth import without_credentials

_REQUESTED = re.compile(r"Tried to allocate ([\d.]+ [KMGT]i?B|[\d.]+ bytes)")
_FREE = re.compile(r"GPU (\d+) has a total capacity of ([\d.]+ \w+) of which ([\d.]+ \w+) is free")
_CPU_ALLOCATOR = "DefaultCPUAllocator: "


def run_command(
    work: Callable[[], object], *, less_memory: str = "smaller batches", keeps_memory: bool = True
) -> int:
    """Run a command; the exit status: 0, 1 after a reported error, 130 after Ctrl-C.

    The line that reports that memory ran out names the options that need ``less_memory``. The process keeps
    the memory of freed tensors with ``keeps_memory``.
    """
    if keeps_memory:
        keep_freed_memory()
    for stream in (sys.stdout, sys.stderr):
        # A file name that the terminal cannot show must not end the work.
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")
    try:
        work()
    except (ValueError, OSError) as error:
        text = told(error) if isinstance(error, OSError) else str(error)
        print(f"error: {without_credentials(text)}", file=sys.stderr)
        return 1
    except (MemoryError, RuntimeError) as error:
        if (shortage := memory_shortage(error)) is None:
            raise
        print(f"error: {shortage}; what needs less: {less_memory}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return INTERRUPTED
    return 0


def memory_shortage(error: BaseException) -> str | None:
    """A line about the memory that ran out; None for other errors."""
    text = " ".join(str(error).split())
    # A command that has not loaded torch has not run out of its memory.
    torch = sys.modules.get("torch")
    if torch is not None and isinstance(error, torch.OutOfMemoryError):
        requested, free = _REQUESTED.search(text), _FREE.search(text)
        wanted = f", {requested[1]} more wanted" if requested else ""
        room = f", {free[3]} of {free[2]} free" if free else ""
        return f"the memory of GPU{f' {free[1]}' if free else ''} ran out{wanted}{room}"
    if isinstance(error, MemoryError):
        return f"the memory of this machine ran out{f' ({text})' if text else ''}"
    if _CPU_ALLOCATOR in text:
        # torch raises a plain RuntimeError if the memory of the CPU runs out.
        return f"the memory of this machine ran out ({text.partition(_CPU_ALLOCATOR)[2]})"
    return None
