"""Example pictures of the project, from the phantom alone.

    synthspine demo --demo synth|contrast|gallery|training|inference|all [--output-dir results/demo]

In a checkout also ``python example.py``.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import tyro

from synthspine.interrupt import quiet_interrupt


@dataclass(frozen=True, kw_only=True, slots=True)
class Arguments:
    """Demo and output folder."""

    demo: Literal["synth", "contrast", "gallery", "training", "inference", "all"] = "all"
    """synth: label maps and synthetic images of every preset; contrast: from T1 to T2; gallery: a sheet per
    preset, every feature off and on, from T1 to T2; training: a short training of Model A; inference: a
    trained Model A on unseen images."""
    output_dir: Path = Path("results/demo")
    """Folder of the pictures."""


def main() -> int:
    """Parse the command line and write the pictures; the exit status."""
    arguments = tyro.cli(Arguments, description=__doc__)
    # This takes seconds: not for --help.
    with quiet_interrupt():
        from synthspine.eval.demos import DEMOS
        from synthspine.shards.command import run_command

    def draw() -> None:
        arguments.output_dir.mkdir(parents=True, exist_ok=True)
        for name in DEMOS if arguments.demo == "all" else [arguments.demo]:
            for path in DEMOS[name](arguments.output_dir):
                print(f"wrote {path}", flush=True)

    return run_command(draw)
