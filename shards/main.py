"""Write, verify and inspect the sets of slices and synthetic samples for training and evaluation.

    synthspine shards [write] [--data-dir DATA] [--shards-dir data/shards] [--sets all] ...
    synthspine shards verify PLACE [PLACE ...]              # every byte again; a set or a folder of sets
    synthspine shards inspect PLACE [--output sheet.png] [--samples 16]
    torchrun --nproc-per-node 2 -m synthspine shards        # shares the work, writes the same bytes

The default command is write, the default data are the phantom. Complete sets are kept, killed runs continued.
"""

import sys

from synthspine.interrupt import quiet_interrupt

with quiet_interrupt():
    import difflib
    from collections.abc import Callable
    from pathlib import Path
    from typing import Annotated

    import tyro

    from synthspine.shards.building.names import SETS
    from synthspine.shards.building.options import ShardOptions
    from synthspine.shards.command import run_command

Place = Annotated[str, tyro.conf.Positional, tyro.conf.arg(metavar="PLACE")]
Places = Annotated[tuple[str, ...], tyro.conf.Positional, tyro.conf.arg(metavar="[PLACE ...]")]
SetNames = Annotated[tuple[str, ...], tyro.conf.arg(help=f"Which to write: all, {', '.join(SETS)}.")]


def main() -> int:
    """Run the command of the command line; the exit status."""
    return run_command(_run, less_memory="a lower --render-batch, or --device cpu")


def _run() -> None:
    commands: dict[str, Callable[..., None]] = {"write": _write, "verify": _verify, "inspect": _inspect}
    name = sys.argv[1] if (named := len(sys.argv) > 1 and not sys.argv[1].startswith("-")) else "write"
    if name not in commands:
        near = difflib.get_close_matches(name, commands, n=1) or [" or ".join(commands)]
        raise ValueError(f"{name}: no such command; did you mean {near[0]}?")
    program, text = (f"synthspine shards {name}", None) if named else ("synthspine shards", __doc__)
    tyro.cli(commands[name], prog=program, description=text, args=sys.argv[1 + named :])


def _write(*, sets: SetNames = ("all",), options: tyro.conf.OmitArgPrefixes[ShardOptions]) -> None:
    """Write the sets of slices and synthetic samples for training and evaluation."""
    with quiet_interrupt():  # these take seconds: not for --help
        from synthspine.shards.building.sets import ensure_sets
        from synthspine.shards.building.workers import torchrun_workers
    with torchrun_workers() as workers:
        ensure_sets(SETS if "all" in sets else sets, options, workers)


def _verify(place: Place, more: Places = ()) -> None:
    """Check every byte and sample of sets, or folders of sets. The exit status is 1 if there are problems."""
    with quiet_interrupt():
        from synthspine.shards.checking.verify import verify_places
    verify_places((place, *more))


def _inspect(place: Place, output: Path | None = None, samples: int = 16) -> None:
    """Print a summary of a set, and draw a contact sheet of it.

    Args:
        place: The set, as a path or URL.
        output: PNG file of the sheet; by default in results/shards, under the name of the set.
        samples: Samples on the sheet, spread evenly over the set.
    """
    with quiet_interrupt():
        from synthspine.shards.checking.summary import inspect_set
    inspect_set(place, output, samples)


if __name__ == "__main__":
    sys.exit(main())
