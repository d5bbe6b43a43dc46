"""Contact sheets: pictures in rows, each with a name below it; and sheets of samples with their labels."""

import io
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw, ImageFont
from PIL.PngImagePlugin import PngInfo

from synthspine.gen.core.anatomy import SACRUM, STRUCTURE_COLOURS, Colour
from synthspine.gen.core.schemes import RANKS, LabelScheme
from synthspine.shards.checking.overlay import HATCH, coloured, grey_picture
from synthspine.shards.format.sample import Sample
from synthspine.shards.storage.atomic import write_bytes
from synthspine.shards.storage.marks import mark

LEAST_ROWS = 288
"""Height to which samples with fewer rows are enlarged, by a whole factor."""
ASPECT = 1.6
"""Preferred ratio of width and height of a sheet."""
PICTURE_MARK = "Software"
"""Entry of a sheet's PNG that has the mark of its pixels (``shards.storage.marks``)."""

MARGIN, _GAP, _PAIR_GAP = 28, 18, 3
_TITLE_SIZE, _KEY_SIZE, _SMALL_SIZE = 24, 15, 12
_CAPTION_ROWS, _TITLE_ROWS, _LEGEND_ROWS, _NOTE_ROWS = 42, 52, 34, 18
_ENTRY_GAP = 26
_PAPER, _INK, _DIM, _WARNING = (22, 23, 26), (236, 236, 238), (148, 150, 156), (255, 196, 84)


@dataclass(frozen=True, kw_only=True, slots=True)
class Tile:
    """One picture of a sheet, uint8 ``(H, W, 3)``, with a name below it.

    The note is smaller text below the name, cut to the width of the picture.
    """

    picture: np.ndarray
    name: str
    note: str = ""


def write_sheet(
    tiles: Sequence[Tile],
    path: Path,
    title: str,
    *,
    columns: int | None = None,
    legend: LabelScheme | bool = False,
    sacrum: bool = False,
    notes: Sequence[str] = (),
) -> Path:
    """Write a PNG of pictures, one or more, atomically.

    Args:
        tiles: the pictures.
        path: where the PNG goes.
        title: text over the sheet.
        columns: pictures in a row; by default as many as bring the sheet near to ``ASPECT``.
        legend: label scheme whose colours are explained below the pictures; True for ``RANKS``.
        sacrum: whether that of the sacrum is among them.
        notes: lines at the bottom, such as warnings.

    Raises ValueError for no tile, or a file name that does not end in ``.png``.
    """
    if not tiles:
        raise ValueError("a contact sheet needs at least one picture")
    if path.suffix.lower() != ".png":
        raise ValueError(f"{path}: the sheet is a PNG; let its name end in .png")
    height, width = (max(tile.picture.shape[axis] for tile in tiles) for axis in (0, 1))
    columns = columns or _columns(len(tiles), width + _GAP, height + _CAPTION_ROWS + _GAP)
    rows = -(-len(tiles) // columns)
    bottom = MARGIN + _TITLE_ROWS + rows * (height + _CAPTION_ROWS + _GAP)
    across = columns * width + (columns - 1) * _GAP
    lines = _legend(RANKS if legend is True else legend, across, sacrum=sacrum) if legend else []
    end = bottom + _LEGEND_ROWS * len(lines) + _NOTE_ROWS * len(notes) + MARGIN
    sheet = Image.new("RGB", (2 * MARGIN + across, end), _PAPER)
    draw = ImageDraw.Draw(sheet)
    draw.text((MARGIN, MARGIN), title, _INK, ImageFont.load_default(_TITLE_SIZE))
    for number, tile in enumerate(tiles):
        row, column = divmod(number, columns)
        left = MARGIN + column * (width + _GAP)
        top = MARGIN + _TITLE_ROWS + row * (height + _CAPTION_ROWS + _GAP)
        sheet.paste(Image.fromarray(tile.picture), (left, top))
        _caption(draw, tile, left, top + height + 6, width)
    for number, line in enumerate(lines):
        _swatches(draw, line, MARGIN, bottom + _LEGEND_ROWS // 2 + _LEGEND_ROWS * number)
    for number, note in enumerate(reversed(notes), start=1):
        top = end - MARGIN - _NOTE_ROWS * number
        draw.text((MARGIN, top), note, _WARNING, ImageFont.load_default(_SMALL_SIZE + 1))
    information, content = PngInfo(), io.BytesIO()
    information.add_text(PICTURE_MARK, mark("picture", sheet.tobytes()))
    sheet.save(content, format="png", compress_level=6, pnginfo=information)
    write_bytes(path, content.getvalue())
    return path


def write_contact_sheet(samples: Sequence[Sample], path: Path, title: str) -> Path:
    """Write a PNG of samples: each image beside itself with its labels in colour, or the labels alone.

    Key, source and slice of each sample stand below it; all samples have an image, or none. See
    :func:`write_sheet` for arguments and errors.
    """
    sacrum = any((sample.label == SACRUM).any() for sample in samples)
    return write_sheet([_tile(sample) for sample in samples], path, title, legend=True, sacrum=sacrum)


def side_by_side(pictures: Sequence[np.ndarray]) -> np.ndarray:
    """Pictures of one height in a row with narrow gaps, uint8 ``(H, W, 3)``."""
    gap = np.full((len(pictures[0]), _PAIR_GAP, 3), _PAPER, dtype=np.uint8)
    parts = [part for picture in pictures for part in (gap, picture)]
    return np.concatenate(parts[1:], axis=1)


def _tile(sample: Sample) -> Tile:
    factor = -(-LEAST_ROWS // sample.label.shape[0])
    label = sample.label.repeat(factor, axis=0).repeat(factor, axis=1)
    if sample.image is None:
        picture = coloured(label)
    else:
        small = Image.fromarray(sample.image.astype(np.float32))
        image = np.asarray(small.resize(label.shape[::-1], Image.Resampling.BICUBIC))
        picture = side_by_side([grey_picture(image), coloured(label, image)])
    record = sample.record
    origin = "rendered from " if "index" in record else ""
    note = f"{origin}{record.get('source', '')}, slice {record.get('slice', '?')}"
    return Tile(picture=picture, name=sample.key, note=note)


def _columns(tiles: int, width: int, height: int) -> int:
    """Number of columns that brings a sheet near to ``ASPECT`` and leaves few cells empty."""

    def distance(columns: int) -> float:
        rows = -(-tiles // columns)
        empty = rows * columns - tiles
        return abs(np.log(columns * width / (rows * height) / ASPECT)) + 5 * empty / tiles

    return min(range(1, tiles + 1), key=distance)


def _caption(draw: ImageDraw.ImageDraw, tile: Tile, left: int, top: int, width: int) -> None:
    draw.text((left, top), tile.name, _INK, ImageFont.load_default(_KEY_SIZE))
    font, note = ImageFont.load_default(_SMALL_SIZE), tile.note
    while draw.textlength(note, font) > width:
        note = f"{note[:-2]}…"
    draw.text((left, top + _KEY_SIZE + 4), note, _DIM, font)


def _legend(scheme: LabelScheme, width: int, *, sacrum: bool) -> list[list[tuple[str, Sequence[Colour]]]]:
    """Lines of names of structures with all their shades, the lowest rank first, within a width in pixels."""
    entries: dict[str, list[Colour]] = {}
    for structure, group in zip(scheme.structure_names, scheme.groups[1:], strict=True):
        names = [scheme.class_names[number].removeprefix(f"{structure} ") for number in group]
        ends = f" {names[0]} .. {names[-1]}" if len(group) > 1 else ""
        entries[structure + ends] = [scheme.colours[number] for number in group]
    if sacrum:
        entries["sacrum"] = [STRUCTURE_COLOURS["sacrum"]]
    entries["not annotated (hatched)"] = [HATCH]
    lines: list[list[tuple[str, Sequence[Colour]]]] = [[]]
    for entry in entries.items():
        if lines[-1] and sum(map(_width, [*lines[-1], entry])) - _ENTRY_GAP > width:
            lines.append([])
        lines[-1].append(entry)
    return lines


def _width(entry: tuple[str, Sequence[Colour]]) -> int:
    """Width of an entry of the legend with the gap behind it, pixels."""
    name, shades = entry
    return 14 * len(shades) + 8 + round(_legend_font().getlength(name)) + _ENTRY_GAP


def _legend_font() -> ImageFont.FreeTypeFont | ImageFont.ImageFont:
    return ImageFont.load_default(_SMALL_SIZE + 1)


def _swatches(
    draw: ImageDraw.ImageDraw, line: Sequence[tuple[str, Sequence[Colour]]], left: int, top: int
) -> None:
    for name, shades in line:
        for place, shade in enumerate(shades):
            start = left + 14 * place
            draw.rectangle((start, top, start + 13, top + 13), shade)
        draw.text((left + 14 * len(shades) + 8, top - 2), name, _DIM, _legend_font())
        left += _width((name, shades))
