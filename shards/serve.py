"""Serve shards that are rendered on demand, a page with previews of the generator, and a viewer of scans.

    pip install 'synthspine[serve]'
    synthspine serve --synthetic-samples 1000000           # then open http://127.0.0.1:8080/ or /viewer
    synthspine train --model A --feed shards --shards-dir http://127.0.0.1:8080/v1/sets
    SYNTHSPINE_TOKEN=... synthspine serve --host 0.0.0.0   # other machines need the token

In a checkout also ``python eval/serve.py``; ``python shards/serve.py`` has no viewer.
Label maps come from the shards folder; missing ones are made from the data, or from the phantom. The shards
have the bytes that synthspine shards writes for the same options. After SIGTERM open requests are finished.
"""

import sys

from synthspine.interrupt import quiet_interrupt

with quiet_interrupt():
    from collections.abc import Callable
    from typing import TYPE_CHECKING

    import tyro

    from synthspine.shards.command import run_command
    from synthspine.shards.service.options import ServeOptions

    if TYPE_CHECKING:
        from synthspine.shards.service.app import Extra


def _serve(extra: "Callable[[ServeOptions], Extra] | None") -> None:
    options = tyro.cli(ServeOptions, description=__doc__)
    try:
        # This takes seconds: not for --help.
        with quiet_interrupt():
            from synthspine.shards.service.running import serve
    except ModuleNotFoundError as error:
        raise ValueError(f"{error.name} is not installed: pip install 'synthspine[serve]'") from None
    serve(options, None if extra is None else extra(options))


def main(extra: "Callable[[ServeOptions], Extra] | None" = None) -> int:
    """Parse the command line and serve; the exit status.

    Args:
        extra: gives what a later package adds to the service.
    """
    return run_command(lambda: _serve(extra))


if __name__ == "__main__":
    sys.exit(main())
