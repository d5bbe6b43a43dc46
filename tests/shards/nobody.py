"""Work done by a user who may not write in a folder."""

import os
import sys
import traceback
from collections.abc import Callable
from pathlib import Path

NOBODY = 65534


def as_nobody(closed: Path, work: Callable[[], object]) -> None:
    """Do ``work`` in a process of its own that can read but not write in ``closed``; it must raise nothing.

    Root may write everywhere, so where the tests run as root the process becomes another user.
    """
    process = os.fork()
    if process == 0:
        status = 1
        try:
            if os.getuid() == 0:
                for path in closed.parents:
                    if path.name.startswith(("test_", "popen-", "pytest-")):
                        path.chmod(0o755)
                os.setuid(NOBODY)
            else:
                closed.chmod(0o555)
            work()
            status = 0
        except BaseException:
            traceback.print_exc()
        finally:
            sys.stdout.flush()
            os._exit(status)
    _, ended = os.waitpid(process, 0)
    closed.chmod(0o755)
    assert os.waitstatus_to_exitcode(ended) == 0
