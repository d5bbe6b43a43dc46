"""Print a preset in full, or its differences from another; or write the tables of all features.

synthspine config [NAME] [--against NAME] [--format diff|yaml|json]
synthspine config --table docs/generator.md
"""

import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import tyro

from synthspine.gen.config import config_diff, config_to_json, config_to_yaml
from synthspine.gen.presets import preset
from synthspine.gen.tables import with_tables


@dataclass(frozen=True, kw_only=True, slots=True)
class Arguments:
    """Which preset to print."""

    name: tyro.conf.Positional[str] = "spine"
    """The preset: spine, random, t1, t2 or synthseg."""
    against: str = "spine"
    """Another preset, for the difference."""
    format: Literal["diff", "yaml", "json"] | None = None
    """The difference, or the whole configuration; by default the difference, if there is one."""
    table: Path | None = None
    """A document: write the tables of all features between its marks, and print nothing."""


def main() -> int:
    """Parse the command line and print the preset; the exit status."""
    arguments = tyro.cli(Arguments, description=__doc__)
    try:
        if arguments.table is not None:
            arguments.table.write_text(with_tables(arguments.table.read_text("utf-8")), "utf-8")
            return 0
        config, other = preset(arguments.name), preset(arguments.against)
    except (OSError, ValueError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    difference = config_diff(config, other)
    kind = arguments.format or ("diff" if difference else "yaml")
    texts = {"diff": lambda: "\n".join(difference), "yaml": lambda: config_to_yaml(config).rstrip()}
    print(texts.get(kind, lambda: config_to_json(config))())
    return 0


if __name__ == "__main__":
    sys.exit(main())
