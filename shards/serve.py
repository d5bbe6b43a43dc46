"""Serve shards that are rendered on demand, and a page with previews of the generator.

    pip install 'synthspine[serve]'
    synthspine serve --synthetic-samples 1000000           # then open http://127.0.0.1:8080/
    synthspine train --model A --feed shards --shards-dir http://127.0.0.1:8080/v1/sets
    SYNTHSPINE_TOKEN=... synthspine serve --host 0.0.0.0   # other machines need the token

In a checkout also ``python shards/serve.py``.
Label maps come from the shards folder; missing ones are made from the data, or from the phantom. The shards
have the bytes that synthspine shards writes for the same options. After SIGTERM open requests are finished.
"""

import sys

from synthspine.interrupt import quiet_interrupt

with quiet_interrupt():
    import tyro

    from synthspine.shards.command import run_command


def _serve() -> None:
    try:
        from synthspine.shards.service.options import ServeOptions
        from synthspine.shards.service.running import serve
    except ModuleNotFoundError as error:
        raise ValueError(f"{error.name} is not installed: pip install 'synthspine[serve]'") from None
    serve(tyro.cli(ServeOptions, description=__doc__))


def main() -> int:
    """Parse the command line and serve; the exit status."""
    return run_command(_serve)


if __name__ == "__main__":
    sys.exit(main())
