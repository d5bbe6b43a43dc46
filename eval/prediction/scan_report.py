"""Files of one prediction: mask, tables of volumes and quality flags, picture."""

import json
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from synthspine.eval.labelling.islands import slice_components
from synthspine.eval.labelling.roles import LOWEST_IN_VIEW, ROLES, by_rank, code_name
from synthspine.eval.prediction.dicom_seg import segmentation_bytes
from synthspine.eval.prediction.ownership import is_own, marked_report, mask_note, table_mark
from synthspine.eval.prediction.quality import Flag, quality_flags
from synthspine.eval.prediction.scans import Scan
from synthspine.eval.prediction.tables.heights import heights_mm
from synthspine.eval.prediction.volumes import StructureVolume, structure_volumes, volumes_csv
from synthspine.eval.segmentation.segment import Segmentation
from synthspine.gen.core.anatomy import (
    BACKGROUND,
    CANAL,
    CODES,
    POSTERIOR_OFFSET,
    SACRUM,
    spider_values,
    structure_of,
)
from synthspine.gen.core.schemes import POSTERIOR_CODES
from synthspine.shards.checking.contact_sheet import Tile, write_sheet
from synthspine.shards.checking.overlay import code_colours, coloured
from synthspine.shards.readers.slices import normalise
from synthspine.shards.readers.spider import Volume, stored_order, write_like
from synthspine.shards.storage.atomic import write_bytes, write_text

REPORT_FORMAT = 1
PANEL_ROWS = 720
NEIGHBOUR_MM = 8.0
"""Approximate distance of the neighbours that are shown; at least one slice."""
_LINE = 2
_NAME_SIZE = 15
_INK, _OUTLINE = (236, 236, 238), (0, 0, 0)


def write_prediction(
    scan: Scan,
    volume: Volume,
    segmentation: Segmentation,
    *,
    model_spacing_mm: float,
    provenance: Mapping[str, Any],
    sacrum: bool = False,
    posterior: bool = False,
    tables: bool = True,
    overlay: bool = False,
    dicom_seg: bool = False,
) -> tuple[list[Path], list[Flag], list[StructureVolume]]:
    """Write the files of one prediction, each atomically; older ones of the scan are replaced or removed.

    The mask holds SPIDER values, int16, on the grid of the scan. Of models that tell them apart it holds the
    sacrum (61) only with ``sacrum``, and with ``posterior`` the posterior elements (130 + the rank of their
    vertebra), which are parts of their vertebrae otherwise. With ``tables`` ``{stem}_seg.csv`` has one
    structure a row, and ``{stem}_seg.json`` grid, volumes, quality flags, entropy and ``provenance`` (entries
    about model and settings). With ``overlay`` there is a picture, ``{stem}_seg.png``; with ``dicom_seg``, of
    a DICOM series, a segmentation ``{stem}_seg.dcm``, unless the mask is empty. All are marked as files of
    this program (``eval.prediction.ownership``).

    Returns:
        The written files, the mask first, the quality flags, and the structures with their sizes.
    """
    flags = quality_flags(
        segmentation.codes,
        volume.spacing_mm,
        segmentation.scheme,
        slice_entropy=segmentation.slice_entropy,
        relative=segmentation.relative,
        removed=segmentation.removed,
        model_spacing_mm=model_spacing_mm,
        tilt_degrees=tilt_degrees(volume),
        scale=segmentation.scale,
    )
    heights = heights_mm(segmentation.codes, volume.spacing_mm)
    segmentation = replace(
        segmentation, codes=shown_codes(segmentation.codes, sacrum=sacrum, posterior=posterior)
    )
    values = spider_values()[segmentation.codes]
    write_like(values, volume.reference, scan.mask, note=mask_note(values, relative=segmentation.relative))
    files = [scan.mask]
    # They belong to the older mask.
    for path in (*scan.outputs, *filter(is_own, scan.other_masks)):
        if path not in files:
            path.unlink(missing_ok=True)
    volumes = structure_volumes(
        segmentation.codes,
        volume.spacing_mm,
        segmentation.scheme,
        relative=segmentation.relative,
        heights=heights,
    )
    if dicom_seg and scan.series is not None:
        frames = stored_order(segmentation.codes, volume.reference)
        content = segmentation_bytes(
            frames, scan.series, volume.spacing_mm[0], relative=segmentation.relative
        )
        if content is not None:
            write_bytes(scan.beside(".dcm"), content)
            files.append(scan.beside(".dcm"))
    if tables:
        table = volumes_csv(volumes)
        report = {
            "format": REPORT_FORMAT,
            "scan": str(scan.source),
            **({} if scan.series is None else {"dicom": scan.series.facts()}),
            "mask": scan.mask.name,
            "slices_rows_columns": list(volume.array.shape),
            "spacing_mm": list(volume.spacing_mm),
            "structures": [asdict(volume) for volume in volumes],
            "flags": [asdict(flag) for flag in flags],
            "entropy": None if math.isnan(segmentation.entropy) else segmentation.entropy,
            "slice_entropy": [None if math.isnan(each) else each for each in segmentation.slice_entropy],
            "names_count_from": "lowest vertebra in view" if segmentation.relative else "L5",
            "removed_as_islands": segmentation.removed,
            **provenance,
            "use": "for research, not for diagnosis",
            "table": table_mark(table.encode()),
        }
        write_text(scan.beside(".json"), json.dumps(marked_report(report), indent=2) + "\n")
        write_text(scan.beside(".csv"), table)
        files += [scan.beside(".csv"), scan.beside(".json")]
    if overlay:
        notes = [f"{flag.name}: {flag.reason}" for flag in flags]
        write_scan_picture(scan.beside(".png"), volume, segmentation, title=scan.path.name, notes=notes)
        files.append(scan.beside(".png"))
    return files, flags, volumes


def shown_codes(codes: np.ndarray, *, sacrum: bool, posterior: bool) -> np.ndarray:
    """Dense codes without the sacrum, and with posterior elements as parts of vertebrae, unless wanted."""
    table = np.arange(CODES, dtype=np.uint8)
    if not sacrum:
        table[SACRUM] = BACKGROUND
    if not posterior:
        table[list(POSTERIOR_CODES)] = [code - POSTERIOR_OFFSET for code in POSTERIOR_CODES]
    return table[codes]


def tilt_degrees(volume: Volume) -> float:
    """Angle of the slice axis of a volume to the patient's left-right axis."""
    direction = np.array(volume.reference.GetDirection()).reshape(3, 3)
    return float(np.degrees(np.arccos(min(1.0, np.abs(direction[0]).max()))))


def write_scan_picture(
    path: Path, volume: Volume, segmentation: Segmentation, *, title: str, notes: Sequence[str] = ()
) -> None:
    """Write a PNG of up to five slices of a scan (``shown_slices``) with the contours of a mask.

    A legend explains the colours where the scheme has other structures than vertebra, disc and canal;
    ``notes`` are lines below.
    """
    codes, scheme = segmentation.codes, by_rank(segmentation.scheme)
    colours = code_colours(scheme)
    images = normalise(volume.array)
    in_plane = (volume.spacing_mm[1], volume.spacing_mm[2])
    tiles = [
        Tile(
            picture=_panel(images[index], codes[index], in_plane, colours, relative=segmentation.relative),
            name=f"slice {index + 1} of {len(codes)} from the left",
        )
        for index in shown_slices(codes, volume.spacing_mm[0])
    ]
    legend = not set(scheme.structure_names) <= set(ROLES) and scheme
    write_sheet(tiles, path, title, columns=len(tiles), legend=legend, notes=notes)


def shown_slices(codes: np.ndarray, across_mm: float) -> list[int]:
    """Indices of the mid-sagittal slice, a neighbour on either side, and the outermost with a label."""
    middle = middle_slice(codes)
    step = max(1, round(NEIGHBOUR_MM / across_mm))
    chosen = {index for index in (middle - step, middle, middle + step) if 0 <= index < len(codes)}
    labelled = np.flatnonzero((codes != BACKGROUND).any(axis=(1, 2))).tolist()
    return sorted(chosen | set(labelled[:1] + labelled[-1:]))


def middle_slice(codes: np.ndarray) -> int:
    """Index of the mid-sagittal slice of dense codes ``(Z, H, W)``: the centre of the canal.

    Of all structures where there is no canal; of the scan where there is no structure.
    """
    weights = (codes == CANAL).sum(axis=(1, 2))
    if not weights.any():
        weights = (codes != BACKGROUND).sum(axis=(1, 2))
    if not weights.any():
        weights = np.ones(len(codes))
    return round(float(weights @ np.arange(len(codes)) / weights.sum()))


def name_places(codes: np.ndarray, *, relative: bool) -> Iterator[tuple[int, str, float, float]]:
    """Code, short name, row and column of every vertebra in dense codes ``(H, W)``: the middle of its body.

    With ``relative`` ranks count from the lowest vertebra in view, and are the names.
    """
    for code in np.unique(codes).tolist():
        if structure_of(code) != "vertebra":
            continue
        # The body is the largest region: the spinous process is a region of its own.
        _, rows, columns = max(slice_components((codes == code)[None]), key=lambda region: len(region[1]))
        name = code_name(code, relative=relative).removeprefix("vertebra ").removesuffix(LOWEST_IN_VIEW)
        yield code, name, float(rows.mean()), float(columns.mean())


def _panel(
    image: np.ndarray,
    codes: np.ndarray,
    spacing_mm: tuple[float, float],
    colours: np.ndarray,
    *,
    relative: bool,
) -> np.ndarray:
    scale = PANEL_ROWS / (image.shape[0] * spacing_mm[0])
    size = (max(1, round(image.shape[1] * spacing_mm[1] * scale)), PANEL_ROWS)
    grey = Image.fromarray(image.astype(np.float32)).resize(size, Image.Resampling.BICUBIC)
    enlarged = _enlarged(codes, size)
    panel = Image.fromarray(coloured(enlarged, np.asarray(grey), colours=colours, fill=0.0, line=_LINE))
    _names(ImageDraw.Draw(panel), enlarged, relative=relative)
    return np.asarray(panel)


def _enlarged(codes: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """Codes at the size of a picture with smooth borders: every code is interpolated, the largest wins."""
    best = np.full(size[::-1], -1.0, dtype=np.float32)
    enlarged = np.zeros(size[::-1], dtype=np.uint8)
    for code in np.unique(codes):
        mask = Image.fromarray((codes == code).astype(np.float32))
        part = np.asarray(mask.resize(size, Image.Resampling.BILINEAR))
        wins = part > best
        enlarged[wins], best[wins] = code, part[wins]
    return enlarged


def _names(draw: ImageDraw.ImageDraw, codes: np.ndarray, *, relative: bool) -> None:
    font = ImageFont.load_default(_NAME_SIZE)
    for _, name, row, column in name_places(codes, relative=relative):
        draw.text((column, row), name, _INK, font, anchor="mm", stroke_width=2, stroke_fill=_OUTLINE)
