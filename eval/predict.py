"""Segment image volumes with a trained model: the masks come in SPIDER values on the images' own grids.

    python eval/predict.py IMAGE... --checkpoint models/saved/model_a_synthetic_best.pth --output-dir results

Writes ``{stem}_seg.mha`` (or ``.nii.gz``) for every image. Vertebrae are 1, 2, ... from the bottom, the
canal is 100, discs are 201, 202, ... from the bottom. For research, not for diagnosis.
"""

import sys

import tyro
from tqdm import tqdm

from eval.prediction import PredictOptions, predict
from shards.command import run_command


def main() -> int:
    """Parse the command line, segment; the exit status."""
    return run_command(_predict)


def _predict() -> None:
    for path in predict(tyro.cli(PredictOptions, description=__doc__)):
        tqdm.write(f"wrote {path}")


if __name__ == "__main__":
    sys.exit(main())
