"""Prediction of scans: results, and failures of single scans."""

import time
from collections.abc import Iterator
from concurrent.futures import Future
from dataclasses import dataclass, replace
from pathlib import Path

import torch

from synthspine.eval.labelling.roles import ranked_classes
from synthspine.eval.prediction.dicom_seg import check_installed
from synthspine.eval.prediction.onnx_export import export_onnx
from synthspine.eval.prediction.options import PredictOptions
from synthspine.eval.prediction.ownership import check_replaceable
from synthspine.eval.prediction.quality import Flag
from synthspine.eval.prediction.scan_report import write_prediction
from synthspine.eval.prediction.scans import Scan, find_scans, read_scan
from synthspine.eval.prediction.tables.colours import ITK_SNAP, SLICER, write_colour_tables
from synthspine.eval.prediction.tables.summary import REPORT, TABLE, SummaryRow, write_summary
from synthspine.eval.prediction.volumes import StructureVolume
from synthspine.eval.segmentation.segment import segment_volume
from synthspine.eval.segmentation.tta import PLAIN, TTA_VIEWS
from synthspine.gen.core.device import pick_device
from synthspine.progress import progress_bar
from synthspine.shards.readers.folder import NotUsedError, printable, reason_of
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
        seconds: time of the segmentation; None where there is no mask.
        scan: what was predicted; None for what is no scan.
        structures: sizes of the structures of the mask.
        relative: whether names count from the lowest vertebra in view.
    """

    path: Path
    files: tuple[Path, ...] = ()
    flags: tuple[Flag, ...] = ()
    problem: str | None = None
    failed: bool = False
    seconds: float | None = None
    scan: Scan | None = None
    structures: tuple[StructureVolume, ...] = ()
    relative: bool = False

    @property
    def row(self) -> SummaryRow:
        """The scan in the table of the run."""
        series = None if self.scan is None else self.scan.series
        return SummaryRow(
            scan=printable(self.path if self.scan is None else self.scan.source),
            status="failed" if self.failed else "done" if self.files else "left out",
            reason=self.problem or "",
            mask=str(self.files[0]) if self.files else "",
            seconds=self.seconds,
            flags=self.flags,
            names_count_from="" if not self.files else "lowest vertebra in view" if self.relative else "L5",
            series_instance_uid="" if series is None else series.uid,
            series_description="" if series is None else series.description,
            structures=self.structures,
        )


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
        SegmentationError: ``--dicom-seg`` without the package that it needs.
        OwnershipError: a table over all scans would replace a file that this program did not write.
    """
    device = pick_device(options.device)
    if options.dicom_seg:
        check_installed()
    model = prediction_model(options.checkpoint, device)
    if options.ranks == "model" and not ranked_classes(model.scheme).any():
        raise PredictionError(
            f"--ranks model: a model of {model.num_classes} classes has no ranks; use auto or count"
        )
    if options.onnx is not None:
        export_onnx(model, options.onnx)
        yield Prediction(path=options.checkpoint, files=(options.onnx,))
    if options.images:
        yield from _summarised(model, options, device)


def _summarised(model: TrainedUNet, options: PredictOptions, device: torch.device) -> Iterator[Prediction]:
    """The scans one after the other; with tables also those over all of them, when the last one is done."""
    folder = options.output_dir
    if not options.tables:
        yield from _predicted_all(model, options, device)
        return
    if not options.overwrite:
        check_replaceable(folder / name for name in (TABLE, REPORT, SLICER, ITK_SNAP))
    rows: list[SummaryRow] = []
    problem = None
    try:
        for prediction in _predicted_all(model, options, device):
            rows.append(prediction.row)
            yield prediction
    finally:
        # After Ctrl-C, too: finished masks stay.
        try:
            if rows:
                write_summary(folder, rows)
            if any(row.mask for row in rows):
                write_colour_tables(folder)
        except OSError as error:
            problem = f"{folder}: no table over all scans: {reason_of(error)}"
    if problem is not None:
        yield Prediction(path=folder, problem=problem, failed=True)


def prediction_model(checkpoint: Path, device: torch.device) -> TrainedUNet:
    """The model of a checkpoint; that of the project only if it is the released one.

    Raises:
        CheckpointError: the checkpoint cannot be used, or the default one is missing.
    """
    if checkpoint == PRETRAINED:
        if not PRETRAINED.is_file():
            raise CheckpointError(
                f"{PRETRAINED}: the model of the project is not there; name a checkpoint of the trainer with "
                "--checkpoint FILE"
            )
        check_digest(PRETRAINED)
    return load_model(checkpoint, device)


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
        seconds = round(time.perf_counter() - started, 2)
        files, flags, structures = write_prediction(
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
                "seconds": seconds,
            },
            sacrum=options.sacrum,
            posterior=options.posterior,
            tables=options.tables,
            overlay=options.overlay,
            dicom_seg=options.dicom_seg,
        )
        return Prediction(
            path=scan.path,
            files=tuple(files),
            flags=tuple(flags),
            seconds=seconds,
            scan=scan,
            structures=tuple(structures),
            relative=segmentation.relative,
        )
    except NotUsedError as error:
        return Prediction(path=scan.path, problem=str(error), scan=scan)
    except UnsuitableError as error:
        return Prediction(path=scan.path, problem=str(error), failed=scan.named, scan=scan)
    except torch.cuda.OutOfMemoryError:
        reason = "too large for the GPU's memory; try --device cpu"
    except MemoryError:
        reason = "too large for the memory"
    except (ValueError, OSError, RuntimeError) as error:
        reason = reason_of(error)
    problem = reason if str(scan.path) in reason else f"{scan.path}: {reason}"
    return Prediction(path=scan.path, problem=problem, failed=True, scan=scan)
