"""Serve shards that are rendered when they are asked for, and a page that shows what the generator does.

    pip install 'synthspine[serve]'
    python shards/serve.py --synthetic-samples 1000000           # then open http://127.0.0.1:8080/
    torchrun train/main.py --model A --feed shards --shards-dir http://127.0.0.1:8080/v1/sets
    SYNTHSPINE_TOKEN=... python shards/serve.py --host 0.0.0.0   # for others: only with a token

Label maps come from the shards folder, or are made from the data there is. Served shards are byte for byte
those that shards/main.py writes for the same choices. SIGTERM finishes what was begun.
"""

import sys

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
