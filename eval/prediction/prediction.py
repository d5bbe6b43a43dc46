"""Prediction of scans: results, and failures of single scans."""

import time
from collections.abc import Iterator
from concurrent.futures import Future
from dataclasses import dataclass, replace
from pathlib import Path

import torch

from synthspine.eval.labelling.roles import ranked_classes
from synthspine.eval.prediction.onnx_export import export_onnx
from synthspine.eval.prediction.options import PredictOptions
from synthspine.eval.prediction.quality import Flag
from synthspine.eval.prediction.scan_report import write_prediction
from synthspine.eval.prediction.scans import Scan, find_scans, read_scan
from synthspine.eval.prediction.segment import segment_volume
from synthspine.eval.prediction.tta import PLAIN, TTA_VIEWS
from synthspine.gen.core.device import pick_device
from synthspine.progress import progress_bar
from synthspine.shards.readers.folder import NotUsedError, reason_of
from synthspine.shards.readers.spider import UnsuitableError, Volume
from synthspine.shards.reading.prefetch import prefetch
from synthspine.shards.storage.atomic import file_digest
from synthspine.train.model.checkpoint import CheckpointError, TrainedUNet, load_model
from synthspine.train.model.pretrained import PRETRAINED
from synthspine.train.release import check_digest


class PredictionError(ValueError):
    """The request cannot be predicted; the message is one line that says why."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Prediction:
    """Result of one scan.

    Attributes:
        path: the scan.
        files: the written files, the mask first; empty where the scan failed or was skipped.
        flags: reasons to check the mask.
        problem: reason why there is no mask, one line that names the scan; None where there is a mask.
        failed: False where the scan was only skipped: an image in a folder that is not a sagittal series, or
            something that is not read on purpose.
    """

    path: Path
    files: tuple[Path, ...] = ()
    flags: tuple[Flag, ...] = ()
    problem: str | None = None
    failed: bool = False


def predict(options: PredictOptions) -> Iterator[Prediction]:
    """Export the network if requested, then segment the scans one after the other.

    A scan that cannot be read or written is reported and does not stop the others. The next scan is read
    while the network works. Every file is written atomically; it replaces an older one only if this program
    wrote that, or with ``overwrite``.

    Yields:
        The result of every scan, as soon as it is known.

    Raises:
        ScanError: two masks would be written to one file.
        CheckpointError: the checkpoint cannot be used, or the default one is missing.
        OnnxError: the network cannot be exported.
        PredictionError: ``--ranks model`` with a model without ranks.
    """
    device = pick_device(options.device)
    if options.checkpoint == PRETRAINED:
        if not PRETRAINED.is_file():
            raise CheckpointError(
                f"{PRETRAINED}: the model of the project is not there; name a checkpoint of the trainer with "
                "--checkpoint FILE"
            )
        check_digest(PRETRAINED)
    model = load_model(options.checkpoint, device)
    if options.ranks == "model" and not ranked_classes(model.scheme).any():
        raise PredictionError(
            f"--ranks model: a model of {model.num_classes} classes has no ranks; use auto or count"
        )
    if options.onnx is not None:
        export_onnx(model, options.onnx)
        yield Prediction(path=options.checkpoint, files=(options.onnx,))
    if options.images:
        yield from _predicted_all(model, options, device)


def _predicted_all(model: TrainedUNet, options: PredictOptions, device: torch.device) -> Iterator[Prediction]:
    scans, errors = find_scans(options.images, options.output_dir, suffix=options.mask_suffix)
    scans = [replace(scan, spacing_mm=options.spacing_mm) for scan in scans]
    for error in errors:
        failed = not isinstance(error, (UnsuitableError, NotUsedError))
        yield Prediction(path=error.path, problem=str(error), failed=failed)

    def read(scan: Scan) -> Volume:
        return read_scan(scan, overwrite=options.overwrite)

    with progress_bar(total=len(scans), desc="predict", unit="scan") as bar:
        for scan, volume in prefetch(scans, read):
            yield _predicted(model, scan, volume, options, device)
            bar.update()


def _predicted(
    model: TrainedUNet,
    scan: Scan,
    volume: Future[Volume],
    options: PredictOptions,
    device: torch.device,
) -> Prediction:
    started = time.perf_counter()
    try:
        image = volume.result()
        segmentation = segment_volume(
            model,
            image,
            scheme=model.scheme,
            spacing_mm=model.checkpoint.spacing_mm,
            device=device,
            min_island_mm2=options.min_island_mm2,
            ranks=options.ranks,
            views=TTA_VIEWS if options.tta else PLAIN,
            always=options.always,
        )
        files, flags = write_prediction(
            scan,
            image,
            segmentation,
            model_spacing_mm=model.checkpoint.spacing_mm,
            provenance={
                "model": {
                    "checkpoint": str(options.checkpoint),
                    "sha256": file_digest(options.checkpoint),
                    "trained_as": model.checkpoint.model,
                    "classes": model.num_classes,
                    "scheme": model.scheme.name,
                    "spacing_mm": model.checkpoint.spacing_mm,
                    "step": model.checkpoint.step,
                },
                "settings": {
                    "tta": options.tta,
                    "min_island_mm2": options.min_island_mm2,
                    "ranks": options.ranks,
                    "always": options.always,
                    "sacrum": options.sacrum,
                    "posterior": options.posterior,
                },
                "seconds": round(time.perf_counter() - started, 2),
            },
            sacrum=options.sacrum,
            posterior=options.posterior,
            tables=options.tables,
            overlay=options.overlay,
        )
        return Prediction(path=scan.path, files=tuple(files), flags=tuple(flags))
    except NotUsedError as error:
        return Prediction(path=scan.path, problem=str(error))
    except UnsuitableError as error:
        return Prediction(path=scan.path, problem=str(error), failed=scan.named)
    except torch.cuda.OutOfMemoryError:
        reason = "too large for the GPU's memory; try --device cpu"
    except MemoryError:
        reason = "too large for the memory"
    except (ValueError, OSError, RuntimeError) as error:
        reason = reason_of(error)
    problem = reason if str(scan.path) in reason else f"{scan.path}: {reason}"
    return Prediction(path=scan.path, problem=problem, failed=True)
