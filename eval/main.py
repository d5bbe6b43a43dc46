"""Measure the trained models on real T1 and T2 slices at 1x to 4x resolution and write a report.

    python eval/main.py [--model A|B|both|compare] [--data-dir ./data] [--model-dir ./models/saved]
                        [--resolution-factors 1.0,2.0,3.0,4.0] [--output-dir results/evaluation_results]

Sets that are missing are built first. A model that is missing is reported, and the other one measured.
"""

import sys

import tyro

from eval.evaluation import evaluate
from eval.options import EvaluationOptions
from shards.command import run_command


def main() -> int:
    """Parse the command line, evaluate; the exit status."""
    return run_command(_evaluate)


def _evaluate() -> None:
    for path in evaluate(tyro.cli(EvaluationOptions, description=__doc__)):
        print(f"wrote {path}")


if __name__ == "__main__":
    sys.exit(main())
