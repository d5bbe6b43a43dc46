"""What matters for real scans: train arms at equal short budgets, and score each on real T1 and T2 slices.

    python benchmarks/reality_gap.py run --arms spine,contrast-t1 --seeds 0,1,2
    python benchmarks/reality_gap.py run --group contrast --fold all --jobs 2
    python benchmarks/reality_gap.py list [--csv FILE]       # arms, and how many runs of each are there
    python benchmarks/reality_gap.py table                   # writes the tables of docs/reality_gap.md
    python benchmarks/reality_gap.py rescore                 # scores the checkpoints that are kept again

Runs that are in the CSV are skipped, so a study that was stopped goes on with the same command. Data: the
folder $SPIDER_MINI, or --data-dir and --labels-dir.
"""

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Annotated

# The packages are those of the repository, whatever this folder's files are called.
sys.path[0] = str(Path(__file__).resolve().parents[1])

import tyro

from benchmarks import reality_results as results
from benchmarks.reality_list import arm_lines
from benchmarks.reality_runner import Runner, run_study
from benchmarks.reality_study import Study
from benchmarks.reality_table import page_text, write_between
from synthspine.shards.command import run_command

Options = Annotated[Study, tyro.conf.arg(name=""), tyro.conf.OmitArgPrefixes]
DEFAULT = Study()
MARK = "tables of reality_gap"


def _run(options: Options = DEFAULT) -> None:
    """Train and score what is not done yet."""
    run_study(options)


def _rescore(options: Options = DEFAULT) -> None:
    """Score the checkpoints of runs again."""
    Runner(options).rescore()


def _list(csv: Path = DEFAULT.csv) -> None:
    """Print the arms by group, with how many runs of each are in the CSV: as it is now, and old ones."""
    print(*arm_lines({row.key for row in results.read(csv)}, DEFAULT.places.grid.spacing_mm), sep="\n")


def _table(csv: Path = DEFAULT.csv, page: Path = Path("docs/reality_gap.md")) -> None:
    """Write the tables of the page from the CSV."""
    rows = results.read(csv)
    write_between(page, MARK, page_text(rows))
    print(f"wrote {page} from {len({row.key for row in rows})} runs of {csv}")


def main() -> int:
    """Parse the command line and do what it says; the exit status."""
    commands: dict[str, Callable[..., None]] = {
        "run": _run,
        "list": _list,
        "table": _table,
        "rescore": _rescore,
    }
    return run_command(lambda: tyro.extras.subcommand_cli_from_dict(commands, description=__doc__))


if __name__ == "__main__":
    sys.exit(main())
