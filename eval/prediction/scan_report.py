"""Files of one prediction: mask, tables of volumes and quality flags, picture."""

import json
import math
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np

from synthspine.eval.prediction.quality import Flag, quality_flags
from synthspine.eval.prediction.scan_picture import write_scan_picture
from synthspine.eval.prediction.scans import Scan
from synthspine.eval.prediction.segment import Segmentation
from synthspine.eval.prediction.volumes import structure_volumes, volumes_csv
from synthspine.gen.core.anatomy import spider_values
from synthspine.shards.readers.spider import Volume, write_like
from synthspine.shards.storage.atomic import write_text

REPORT_FORMAT = 1


def write_prediction(
    scan: Scan,
    volume: Volume,
    segmentation: Segmentation,
    *,
    model_spacing_mm: float,
    provenance: Mapping[str, Any],
    tables: bool = True,
    overlay: bool = False,
) -> tuple[list[Path], list[Flag]]:
    """Write the files of one prediction, each atomically, the mask first.

    The mask holds SPIDER values, int16, on the scan's own grid. ``tables`` adds ``{stem}_seg.csv`` (one
    structure a row) and ``{stem}_seg.json`` (grid, volumes, quality flags, entropy, provenance); ``overlay``
    adds ``{stem}_seg.png``.

    Args:
        scan: the scan and the file of its mask.
        volume: the image.
        segmentation: the mask on its grid.
        model_spacing_mm: pixel size of the model's training.
        provenance: JSON-ready entries of the JSON file about the model and its settings.
        tables: whether to write the tables.
        overlay: whether to write the picture.

    Returns:
        The written files, and the quality flags.

    Raises:
        OSError: a file cannot be written.
    """
    flags = quality_flags(
        segmentation.codes,
        volume.spacing_mm,
        entropy=segmentation.entropy,
        removed=segmentation.removed,
        model_spacing_mm=model_spacing_mm,
        tilt_degrees=tilt_degrees(volume),
    )
    write_like(spider_values()[segmentation.codes], volume.reference, scan.mask)
    files = [scan.mask]
    if tables:
        volumes = structure_volumes(segmentation.codes, volume.spacing_mm)
        report = {
            "format": REPORT_FORMAT,
            "scan": str(scan.path),
            "mask": scan.mask.name,
            "slices_rows_columns": list(volume.array.shape),
            "spacing_mm": list(volume.spacing_mm),
            "structures": [asdict(volume) for volume in volumes],
            "flags": [asdict(flag) for flag in flags],
            "entropy": None if math.isnan(segmentation.entropy) else segmentation.entropy,
            "removed_as_islands": segmentation.removed,
            **provenance,
            "use": "for research, not for diagnosis",
        }
        write_text(scan.beside(".csv"), volumes_csv(volumes))
        write_text(scan.beside(".json"), json.dumps(report, indent=2) + "\n")
        files += [scan.beside(".csv"), scan.beside(".json")]
    if overlay:
        notes = [f"{flag.name}: {flag.reason}" for flag in flags]
        write_scan_picture(scan.beside(".png"), volume, segmentation.codes, title=scan.path.name, notes=notes)
        files.append(scan.beside(".png"))
    return files, flags


def tilt_degrees(volume: Volume) -> float:
    """Angle of the slice axis of a volume to the patient's left-right axis."""
    direction = np.array(volume.reference.GetDirection()).reshape(3, 3)
    return float(np.degrees(np.arccos(min(1.0, np.abs(direction[0]).max()))))
