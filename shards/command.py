"""How a command ends: what the user can mend is one line, not a traceback."""

import sys
from collections.abc import Callable

from gen.device import keep_freed_memory

INTERRUPTED = 128 + 2


def run_command(work: Callable[[], object]) -> int:
    """Do the work of a command; its exit status: 0, 1 after an error that it told, 130 after Ctrl-C."""
    keep_freed_memory()
    try:
        work()
    except (ValueError, OSError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return INTERRUPTED
    return 0
