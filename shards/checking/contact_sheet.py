"""A contact sheet of samples: each picture beside itself with its labels in colour, or the labels alone."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from synthspine.gen.core.anatomy import (
    BACKGROUND,
    CODES,
    DISC_NAMES,
    IGNORE,
    MAX_RANK,
    RANK_NAMES,
    STRUCTURES,
    Colour,
    disc_code,
    label_scheme,
    vertebra_code,
)
from synthspine.shards.format.sample import Sample
from synthspine.shards.storage.atomic import atomic_path

LEAST_ROWS = 288
"""Height that pictures are enlarged to, by a whole factor, where they have fewer rows."""
ASPECT = 1.6
"""Width of a sheet over its height, about."""
FILL = 0.4
"""Opacity of a structure's colour over a picture; its border is opaque."""

_MARGIN, _GAP, _PAIR_GAP = 28, 18, 3
_TITLE_SIZE, _KEY_SIZE, _SMALL_SIZE = 24, 15, 12
_CAPTION_ROWS, _TITLE_ROWS, _LEGEND_ROWS = 42, 52, 34
_PAPER, _INK, _DIM = (22, 23, 26), (236, 236, 238), (148, 150, 156)
_EMPTY, _HATCH = (33, 34, 38), (66, 68, 74)
_HATCH_STEP = 7


def write_contact_sheet(samples: Sequence[Sample], path: Path, title: str) -> Path:
    """Write a PNG of samples, with the key and the source of each below it.

    Args:
        samples: at least one; all with an image, or none.
        path: where the PNG goes; replaced at once when it is whole.
        title: over the sheet.

    Raises:
        ValueError: no sample, or a name that does not end in ``.png``.
        OSError: it cannot be written.
    """
    if not samples:
        raise ValueError("a contact sheet needs a sample")
    if path.suffix.lower() != ".png":
        raise ValueError(f"{path}: the sheet is a PNG; let its name end in .png")
    tiles = [_tile(sample) for sample in samples]
    height, width = (max(tile.shape[axis] for tile in tiles) for axis in (0, 1))
    columns = _columns(len(tiles), width + _GAP, height + _CAPTION_ROWS + _GAP)
    rows = -(-len(tiles) // columns)
    sheet_width = 2 * _MARGIN + columns * width + (columns - 1) * _GAP
    sheet_height = 2 * _MARGIN + _TITLE_ROWS + rows * (height + _CAPTION_ROWS + _GAP) + _LEGEND_ROWS
    sheet = Image.new("RGB", (sheet_width, sheet_height), _PAPER)
    draw = ImageDraw.Draw(sheet)
    draw.text((_MARGIN, _MARGIN), title, _INK, ImageFont.load_default(_TITLE_SIZE))
    for number, (sample, tile) in enumerate(zip(samples, tiles, strict=True)):
        row, column = divmod(number, columns)
        left = _MARGIN + column * (width + _GAP)
        top = _MARGIN + _TITLE_ROWS + row * (height + _CAPTION_ROWS + _GAP)
        sheet.paste(Image.fromarray(tile), (left, top))
        _caption(draw, sample, left, top + height + 6, width)
    _legend(draw, _MARGIN, sheet_height - _MARGIN - _LEGEND_ROWS // 2)
    with atomic_path(path) as temporary:
        sheet.save(temporary, format="png", optimize=True)
    return path


def code_colours() -> np.ndarray:
    """Colour of every dense code, uint8 ``(256, 3)``; ranks above the last named one have its shade."""
    scheme = label_scheme("14")
    table = np.full((CODES, 3), _EMPTY, dtype=np.uint8)
    for code, number in enumerate(scheme.table):
        if number < scheme.num_classes and code != BACKGROUND:
            table[code] = scheme.colours[number]
    named = len(RANK_NAMES)
    for rank in range(named + 1, MAX_RANK + 1):
        table[vertebra_code(rank)] = table[vertebra_code(named)]
        table[disc_code(rank)] = table[disc_code(named)]
    return table


def coloured(label: np.ndarray, image: np.ndarray | None = None) -> np.ndarray:
    """A label map in colours, uint8 ``(H, W, 3)``; what is not annotated is hatched.

    Args:
        label: dense codes, uint8 ``(H, W)``.
        image: the picture to lay the colours over, in [0, 1], ``(H, W)``.
    """
    colours = code_colours()[label].astype(np.float32)
    structure = ((label != BACKGROUND) & (label != IGNORE))[..., None]
    border = _borders(label)[..., None]
    hatched = ((np.add.outer(*map(np.arange, label.shape)) % _HATCH_STEP == 0) & (label == IGNORE))[..., None]
    if image is None:
        picture = np.where(structure & border, 0.55 * colours, colours)
    else:
        grey = 255 * np.clip(image.astype(np.float32), 0, 1)[..., None].repeat(3, axis=-1)
        picture = np.where(structure, (1 - FILL) * grey + FILL * colours, grey)
        picture = np.where(structure & border, colours, picture)
    return np.where(hatched, _HATCH, picture).round().astype(np.uint8)


def _tile(sample: Sample) -> np.ndarray:
    """The sample as it is shown, uint8 ``(H, W, 3)``."""
    factor = -(-LEAST_ROWS // sample.label.shape[0])
    label = sample.label.repeat(factor, axis=0).repeat(factor, axis=1)
    if sample.image is None:
        return coloured(label)
    picture = Image.fromarray(sample.image.astype(np.float32))
    image = np.asarray(picture.resize(label.shape[::-1], Image.Resampling.BICUBIC))
    plain = (255 * np.clip(image, 0, 1)).round().astype(np.uint8)[..., None].repeat(3, axis=-1)
    gap = np.full((len(label), _PAIR_GAP, 3), _PAPER, dtype=np.uint8)
    return np.concatenate([plain, gap, coloured(label, image)], axis=1)


def _borders(label: np.ndarray) -> np.ndarray:
    """Whether a pixel has a neighbour (of four) with another code: bool ``(H, W)``."""
    borders = np.zeros(label.shape, dtype=bool)
    down, right = label[1:] != label[:-1], label[:, 1:] != label[:, :-1]
    for part, differs in (
        (borders[1:], down),
        (borders[:-1], down),
        (borders[:, 1:], right),
        (borders[:, :-1], right),
    ):
        part |= differs
    return borders


def _columns(tiles: int, width: int, height: int) -> int:
    """Number of columns that brings a sheet near to ``ASPECT`` and leaves few cells empty."""

    def distance(columns: int) -> float:
        rows = -(-tiles // columns)
        empty = rows * columns - tiles
        return abs(np.log(columns * width / (rows * height) / ASPECT)) + 5 * empty / tiles

    return min(range(1, tiles + 1), key=distance)


def _caption(draw: ImageDraw.ImageDraw, sample: Sample, left: int, top: int, width: int) -> None:
    record = sample.record
    draw.text((left, top), sample.key, _INK, ImageFont.load_default(_KEY_SIZE))
    font = ImageFont.load_default(_SMALL_SIZE)
    origin = "rendered from " if "index" in record else ""
    text = f"{origin}{record.get('source', '')}, slice {record.get('slice', '?')}"
    while draw.textlength(text, font) > width:
        text = f"{text[:-2]}…"
    draw.text((left, top + _KEY_SIZE + 4), text, _DIM, font)


def _legend(draw: ImageDraw.ImageDraw, left: int, top: int) -> None:
    """Which colour means what: a swatch for each shade, the lowest rank first."""
    table = code_colours()
    named = range(1, len(RANK_NAMES) + 1)
    canal = label_scheme("14").codes[-1]
    entries: list[tuple[str, list[Colour]]] = [
        (
            f"{STRUCTURES[0]} {RANK_NAMES[0]} .. {RANK_NAMES[-1]}",
            [tuple(table[vertebra_code(r)]) for r in named],
        ),
        (f"{STRUCTURES[1]} {DISC_NAMES[0]} .. {DISC_NAMES[-1]}", [tuple(table[disc_code(r)]) for r in named]),
        (STRUCTURES[2], [tuple(table[canal])]),
        ("not annotated (hatched)", [_HATCH]),
    ]
    font = ImageFont.load_default(_SMALL_SIZE + 1)
    for name, shades in entries:
        for shade in shades:
            draw.rectangle((left, top, left + 13, top + 13), tuple(int(value) for value in shade))
            left += 14
        draw.text((left + 8, top - 2), name, _DIM, font)
        left += 8 + round(draw.textlength(name, font)) + 26
