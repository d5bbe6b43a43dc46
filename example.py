"""Pictures of what the project does, from the phantom alone.

python example.py --demo synth|inference|training|contrast|all [--output-dir results/demo]
"""

import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import tyro

from eval.demo import DEMOS


@dataclass(frozen=True, kw_only=True, slots=True)
class Arguments:
    """Which demo, and where its pictures go."""

    demo: Literal["synth", "inference", "training", "contrast", "all"] = "all"
    """synth: what the presets make of label maps; contrast: from T1 to T2; training: a short training of
    Model A; inference: a trained Model A on images that it never saw."""
    output_dir: Path = Path("results/demo")
    """Where the pictures are written."""


def main() -> int:
    """Parse the command line and write the pictures; the exit status."""
    arguments = tyro.cli(Arguments, description=__doc__)
    names = DEMOS if arguments.demo == "all" else [arguments.demo]
    try:
        arguments.output_dir.mkdir(parents=True, exist_ok=True)
        for name in names:
            for path in DEMOS[name](arguments.output_dir):
                print(f"wrote {path}", flush=True)
    except (ValueError, OSError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 130
    return 0


if __name__ == "__main__":
    sys.exit(main())
