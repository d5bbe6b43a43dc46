"""Print a preset in full, or its differences from another, or a table of all features for their document.

python -m synthspine.gen [NAME] [--against NAME] [--format diff|yaml|json]
python -m synthspine.gen --table
"""

import sys
from dataclasses import dataclass
from typing import Literal

import tyro

from synthspine.gen.config import config_diff, config_to_json, config_to_yaml
from synthspine.gen.presets import preset
from synthspine.gen.tables import feature_tables


@dataclass(frozen=True, kw_only=True, slots=True)
class Arguments:
    """Which preset to print."""

    name: tyro.conf.Positional[str] = "spine"
    """The preset: spine, random, t1, t2 or synthseg."""
    against: str = "spine"
    """Another preset, for the difference."""
    format: Literal["diff", "yaml", "json"] | None = None
    """The difference, or the whole configuration; by default the difference, if there is one."""
    table: bool = False
    """Print the tables of the features, as in docs/generator.md."""


def main() -> int:
    """Parse the command line and print the preset; the exit status."""
    arguments = tyro.cli(Arguments, description=__doc__)
    if arguments.table:
        print(feature_tables())
        return 0
    try:
        config, other = preset(arguments.name), preset(arguments.against)
    except ValueError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    difference = config_diff(config, other)
    kind = arguments.format or ("diff" if difference else "yaml")
    texts = {"diff": lambda: "\n".join(difference), "yaml": lambda: config_to_yaml(config).rstrip()}
    print(texts.get(kind, lambda: config_to_json(config))())
    return 0


if __name__ == "__main__":
    sys.exit(main())
