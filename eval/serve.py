"""Serve shards that are rendered on demand, as ``shards/serve.py`` does, and the viewer of scans."""

import sys

from synthspine.interrupt import quiet_interrupt

with quiet_interrupt():
    from typing import TYPE_CHECKING

    from synthspine.shards import serve

    if TYPE_CHECKING:
        from synthspine.shards.service.app import Extra
        from synthspine.shards.service.options import ServeOptions


def _viewer(options: "ServeOptions") -> "Extra":
    # This takes seconds: not for --help.
    from synthspine.eval.viewer.routes import viewer

    return viewer(options.shards.device)


def main() -> int:
    """Parse the command line and serve; the exit status."""
    return serve.main(_viewer)


if __name__ == "__main__":
    sys.exit(main())
