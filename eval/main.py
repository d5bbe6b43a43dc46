"""Measure the trained models on real T1 and T2 slices at 1x to 4x resolution and write a report.

    python eval/main.py [--model A|B|both|compare] [--data-dir ./data] [--model-dir ./models/saved]
                        [--resolution-factors 1.0,2.0,3.0,4.0] [--output-dir results/evaluation_results]

Sets that are missing are built first. A model that is missing is reported, and the other one measured.
"""

import sys

import tyro

from eval.evaluation import EvaluationError, evaluate
from eval.options import EvaluationOptions
from shards.folder import SpiderError
from shards.sample import ShardError
from train.checkpoint import CheckpointError


def main() -> int:
    """Parse the command line, evaluate; the exit status."""
    try:
        options = tyro.cli(EvaluationOptions, description=__doc__)
        written = evaluate(options)
    except (EvaluationError, CheckpointError, ShardError, SpiderError, ValueError, OSError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 130
    for path in written:
        print(f"wrote {path}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
