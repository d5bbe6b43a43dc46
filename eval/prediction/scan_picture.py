"""Picture of a prediction: the mid-sagittal slice and its neighbours with coloured contours and names."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from synthspine.eval.labelling.islands import slice_components
from synthspine.eval.prediction.volumes import structure_name
from synthspine.gen.core.anatomy import BACKGROUND, CANAL, structure_of
from synthspine.shards.checking.overlay import coloured
from synthspine.shards.readers.slices import normalise
from synthspine.shards.readers.spider import Volume
from synthspine.shards.storage.atomic import atomic_path

PANEL_ROWS = 720
NEIGHBOUR_MM = 8.0
"""Approximate distance of the neighbours that are shown; at least one slice."""
_LINE = 2
_GAP, _TITLE_ROWS, _CAPTION_ROWS, _LINE_ROWS = 6, 30, 24, 18
_TITLE_SIZE, _TEXT_SIZE, _NAME_SIZE = 18, 13, 15
_PAPER, _INK, _DIM, _WARNING = (22, 23, 26), (236, 236, 238), (170, 172, 178), (255, 196, 84)


def write_scan_picture(
    path: Path, volume: Volume, codes: np.ndarray, *, title: str, notes: Sequence[str] = ()
) -> None:
    """Write a PNG of three slices of a scan (fewer where the scan has fewer) with the contours of a mask.

    Args:
        path: where the PNG goes; replaced atomically.
        volume: the image.
        codes: dense codes on its grid, uint8 ``(Z, H, W)``.
        title: text over the picture.
        notes: lines below it, such as quality flags.

    Raises:
        ValueError: the mask has another shape than the image.
    """
    if codes.shape != volume.array.shape:
        raise ValueError(f"a mask of shape {codes.shape} does not fit an image of shape {volume.array.shape}")
    slices = shown_slices(codes, volume.spacing_mm[0])
    images = normalise(volume.array)
    in_plane = (volume.spacing_mm[1], volume.spacing_mm[2])
    panels = [_panel(images[index], codes[index], in_plane) for index in slices]
    width = sum(panel.width for panel in panels) + _GAP * (len(panels) + 1)
    top = _TITLE_ROWS + _GAP
    bottom = top + PANEL_ROWS + _CAPTION_ROWS
    sheet = Image.new("RGB", (width, bottom + _LINE_ROWS * len(notes) + _GAP), _PAPER)
    draw = ImageDraw.Draw(sheet)
    draw.text((_GAP, _GAP), title, _INK, ImageFont.load_default(_TITLE_SIZE))
    left = _GAP
    font = ImageFont.load_default(_TEXT_SIZE)
    for index, panel in zip(slices, panels, strict=True):
        sheet.paste(panel, (left, top))
        text = f"slice {index + 1} of {len(codes)} from the left"
        draw.text((left, top + PANEL_ROWS + 4), text, _DIM, font)
        left += panel.width + _GAP
    for number, note in enumerate(notes):
        draw.text((_GAP, bottom + _LINE_ROWS * number), note, _WARNING, font)
    with atomic_path(path) as temporary:
        sheet.save(temporary, format="png", optimize=True)


def shown_slices(codes: np.ndarray, across_mm: float) -> list[int]:
    """Indices of the mid-sagittal slice and a neighbour on either side, inside the scan.

    Mid-sagittal is the centre of the canal; of all structures where there is no canal; of the scan where
    there is no structure.
    """
    weights = (codes == CANAL).sum(axis=(1, 2))
    if not weights.any():
        weights = (codes != BACKGROUND).sum(axis=(1, 2))
    if not weights.any():
        weights = np.ones(len(codes))
    middle = round(float(weights @ np.arange(len(codes)) / weights.sum()))
    step = max(1, round(NEIGHBOUR_MM / across_mm))
    return [index for index in (middle - step, middle, middle + step) if 0 <= index < len(codes)]


def _panel(image: np.ndarray, codes: np.ndarray, spacing_mm: tuple[float, float]) -> Image.Image:
    scale = PANEL_ROWS / (image.shape[0] * spacing_mm[0])
    size = (max(1, round(image.shape[1] * spacing_mm[1] * scale)), PANEL_ROWS)
    grey = Image.fromarray(image.astype(np.float32)).resize(size, Image.Resampling.BICUBIC)
    enlarged = _enlarged(codes, size)
    panel = Image.fromarray(coloured(enlarged, np.asarray(grey), fill=0.0, line=_LINE))
    _names(ImageDraw.Draw(panel), enlarged)
    return panel


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


def _names(draw: ImageDraw.ImageDraw, codes: np.ndarray) -> None:
    font = ImageFont.load_default(_NAME_SIZE)
    for code in np.unique(codes).tolist():
        if structure_of(code) != "vertebra":
            continue
        # The body is the largest region: the spinous process is a region of its own.
        _, rows, columns = max(slice_components((codes == code)[None]), key=lambda region: len(region[1]))
        name = structure_name("vertebra", code).removeprefix("vertebra ")
        place = (float(columns.mean()), float(rows.mean()))
        draw.text(place, name, _INK, font, anchor="mm", stroke_width=2, stroke_fill=(0, 0, 0))
