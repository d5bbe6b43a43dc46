"""Segment scans with a trained model: the masks come in SPIDER values on the scans' own grids.

    synthspine predict SCAN...                   # with the model of the project
    synthspine predict SCAN... --checkpoint models/saved/model_a_synthetic_best.pth --output-dir masks

In a checkout also ``python eval/predict.py``.
A SCAN is a .mha, .nii.gz or .nrrd volume or a folder of volumes and DICOM series. Writes ``{stem}_seg.mha``
(or the scan's format) for each, with its volumes in ml and heights in mm (.csv) and quality flags (.json),
and one summary.csv of all. Files that it did not write are replaced only with --overwrite. Vertebrae are 1,
2, ... from the bottom, the canal is 100, discs are 201, 202, ... from the bottom. Of models that tell them
apart, the sacrum is left out, and posterior elements belong to their vertebrae; --sacrum keeps it as 61,
--posterior them as 131, 132, ...

For research, not for diagnosis.
"""

import sys

from synthspine.interrupt import quiet_interrupt

with quiet_interrupt():
    import importlib

    import tyro

    from synthspine.eval.prediction.options import PredictOptions


def main() -> int:
    """Parse the command line and segment; exit status 1 if a scan failed."""
    options = tyro.cli(PredictOptions, description=__doc__)
    # This takes seconds: not for --help.
    with quiet_interrupt():
        from synthspine.shards.command import run_command

        importlib.import_module("synthspine.eval.prediction.prediction")
    return run_command(lambda: _predict(options), less_memory="--device cpu, or fewer programs on the GPU")


def _predict(options: PredictOptions) -> None:
    from tqdm import tqdm

    from synthspine.eval.prediction.prediction import Prediction, PredictionError, predict

    done: list[Prediction] = []
    for prediction in predict(options):
        done.append(prediction)
        if prediction.files:
            more = ", ".join(path.suffix for path in prediction.files[1:])
            tqdm.write(f"wrote {prediction.files[0]}{f' and {more} beside it' if more else ''}")
        for flag in prediction.flags:
            tqdm.write(f"  check it, {flag.name}: {flag.reason}")
    # Problems come last: the progress of many scans would scroll them away.
    for prediction in done:
        if prediction.problem is not None and not prediction.failed:
            print(f"skipped: {prediction.problem}")
    failed = [prediction.problem for prediction in done if prediction.failed]
    for problem in failed:
        print(f"failed: {problem}", file=sys.stderr)
    if failed:
        raise PredictionError(f"{len(failed)} of {len(done)} scans could not be predicted")
    if not any(prediction.files for prediction in done):
        raise PredictionError("none of the images is a sagittal MRI series")


if __name__ == "__main__":
    sys.exit(main())
