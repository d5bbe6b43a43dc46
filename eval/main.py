"""Measure the trained models on other contrasts, resolutions and image qualities, and write a report.

    synthspine eval [--model A|B|both|compare] [--part validation|test] [--data-dir ./data]
                    [--model-dir ./models/saved] [--studies all] [--resolution-factors 1.0,2.0,3.0,4.0]
                    [--quick] [--fresh] [--output-dir results/evaluation_results]

In a checkout also ``python eval/main.py``.
Missing sets are built first. A missing model is reported, and the other one is measured. Measurements of the
same checkpoint on the same slices come from the cache in the output folder.
"""

import sys

from synthspine.interrupt import quiet_interrupt

with quiet_interrupt():
    import tyro

    from synthspine.eval.evaluation import evaluate
    from synthspine.eval.studies.options import EvaluationOptions
    from synthspine.shards.command import run_command


def main() -> int:
    """Parse the command line, evaluate; the exit status."""
    return run_command(_evaluate, less_memory="a lower --batch-size, or --device cpu")


def _evaluate() -> None:
    for path in evaluate(tyro.cli(EvaluationOptions, description=__doc__)):
        print(f"wrote {path}")


if __name__ == "__main__":
    sys.exit(main())
