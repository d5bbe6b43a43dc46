"""Example pictures of the project, from the phantom alone; the same as ``synthspine demo``."""

import sys

from synthspine.interrupt import quiet_interrupt

with quiet_interrupt():
    from synthspine.eval.demo import main

if __name__ == "__main__":
    sys.exit(main())
