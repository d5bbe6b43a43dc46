"""Segment image volumes with a trained model: the masks come in SPIDER values on the images' own grids.

    python eval/predict.py IMAGE... --checkpoint models/saved/model_a_synthetic_best.pth --output-dir results

Writes ``{stem}_seg.mha`` (or ``.nii.gz``) for every image. Vertebrae are 1, 2, ... from the bottom, the
canal is 100, discs are 201, 202, ... from the bottom. For research, not for diagnosis.
"""

import sys

import tyro

from eval.prediction import PredictionError, PredictOptions, predict
from shards.folder import SpiderError
from train.checkpoint import CheckpointError


def main() -> int:
    """Parse the command line, segment; the exit status."""
    try:
        options = tyro.cli(PredictOptions, description=__doc__)
        for path in predict(options):
            print(f"wrote {path}")
    except (PredictionError, CheckpointError, SpiderError, ValueError, OSError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 130
    return 0


if __name__ == "__main__":
    sys.exit(main())
