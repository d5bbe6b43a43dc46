"""The mask of one scan, in memory: for notebooks and other programs."""

from dataclasses import replace
from functools import lru_cache
from pathlib import Path
from typing import overload

import numpy as np
import SimpleITK as sitk
import torch

from synthspine.eval.prediction.prediction import PredictionError, prediction_model
from synthspine.eval.prediction.scan_report import shown_codes
from synthspine.eval.prediction.scans import find_scans
from synthspine.eval.segmentation.segment import segment_volume
from synthspine.eval.segmentation.tta import PLAIN, TTA_VIEWS
from synthspine.gen.core.anatomy import spider_values
from synthspine.gen.core.device import pick_device
from synthspine.shards.readers.spider import Spacing, Volume, image_like, sagittal_image, volume_of
from synthspine.train.model.checkpoint import TrainedUNet
from synthspine.train.model.pretrained import PRETRAINED

IN_MEMORY = "scan"
"""Name of an image that is no file, in messages."""


@overload
def segment_scan(
    scan: np.ndarray,
    *,
    spacing_mm: Spacing,
    checkpoint: Path | str = ...,
    tta: bool = ...,
    device: str = ...,
) -> np.ndarray: ...
@overload
def segment_scan(
    scan: Path | str | sitk.Image,
    *,
    spacing_mm: Spacing | None = ...,
    checkpoint: Path | str = ...,
    tta: bool = ...,
    device: str = ...,
) -> sitk.Image: ...
def segment_scan(
    scan: Path | str | sitk.Image | np.ndarray,
    *,
    spacing_mm: Spacing | None = None,
    checkpoint: Path | str = PRETRAINED,
    tta: bool = False,
    device: str = "auto",
) -> sitk.Image | np.ndarray:
    """Segment a scan; the same as ``synthspine predict``, but nothing is written.

    Args:
        scan: a ``.mha`` or ``.nii.gz`` file, or a folder with one DICOM series; a SimpleITK image, in any
            orientation; or an array ``(Z, H, W)`` of sagittal slices from the patient's left to right, rows
            from head to foot, columns from front to back.
        spacing_mm: voxel size along ``Z``, ``H``, ``W`` (slice distance, rows, columns), in place of that of
            the scan; an array needs it.
        checkpoint: a model saved by the trainer; by default the model of the project.
        tta: average over four views of every slice: better on scans unlike the training data, 5 times as
            slow.
        device: ``"auto"``, ``"cpu"``, ``"cuda"`` or ``"cuda:N"``.

    Returns:
        The mask, int16 in SPIDER's values, on the grid of the scan: vertebrae 1, 2, ... from the bottom,
        canal 100, discs 201, 202, ... from the bottom. An array for an array, otherwise a SimpleITK image.

    Raises:
        ValueError: the scan cannot be read or is not a sagittal MRI, the folder holds no series or several,
            or the checkpoint cannot be used.

    Example:
        >>> mask = segment_scan("scan.nii.gz")  # doctest: +SKIP
        >>> sitk.WriteImage(mask, "mask.nii.gz")  # doctest: +SKIP
    """
    volume = _volume(scan, spacing_mm)
    place = pick_device(device)
    model = _model(Path(checkpoint), place)
    segmentation = segment_volume(
        model,
        volume,
        scheme=model.scheme,
        spacing_mm=model.checkpoint.spacing_mm,
        device=place,
        views=TTA_VIEWS if tta else PLAIN,
    )
    values = spider_values()[shown_codes(segmentation.codes, sacrum=False, posterior=False)]
    return values if isinstance(scan, np.ndarray) else image_like(values, volume.reference)


@lru_cache(maxsize=1)
def _model(checkpoint: Path, device: torch.device) -> TrainedUNet:
    return prediction_model(checkpoint, device)


def _volume(scan: Path | str | sitk.Image | np.ndarray, spacing_mm: Spacing | None) -> Volume:
    if isinstance(scan, np.ndarray):
        if scan.ndim != 3 or spacing_mm is None:
            raise PredictionError(f"an array of shape {scan.shape}: want (Z, H, W), and its spacing_mm")
        return volume_of(sagittal_image(scan, spacing_mm), IN_MEMORY)
    if isinstance(scan, sitk.Image):
        return volume_of(scan, IN_MEMORY, spacing_mm)
    scans, errors = find_scans([Path(scan)], Path(scan))
    if len(scans) == 1:
        return replace(scans[0], spacing_mm=spacing_mm).read()
    raise PredictionError(
        str(errors[0]) if errors and not scans else f"{scan}: holds {len(scans)} scans; name one"
    )
