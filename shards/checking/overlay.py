"""Label maps in colours, alone or over a picture."""

import numpy as np

from synthspine.gen.core.anatomy import (
    BACKGROUND,
    CODES,
    IGNORE,
    MAX_RANK,
    SACRUM,
    STRUCTURE_COLOURS,
    disc_code,
    posterior_code,
    vertebra_code,
)
from synthspine.gen.core.schemes import RANKS, LabelScheme

FILL = 0.4
"""Opacity of a structure's colour over a picture; its border is opaque."""
EMPTY, HATCH = (33, 34, 38), (66, 68, 74)
HATCH_STEP = 7
_DARKENED = 0.55
"""Brightness of borders in a map without a picture."""


def code_colours(scheme: LabelScheme = RANKS) -> np.ndarray:
    """Colour of every dense code, uint8 ``(256, 3)``: that of its class in a scheme, and of the sacrum.

    Ranks without a class have the colour of the rank below.
    """
    table = np.full((CODES, 3), EMPTY, dtype=np.uint8)
    table[SACRUM] = STRUCTURE_COLOURS["sacrum"]
    for code, number in enumerate(scheme.table):
        if BACKGROUND < number < scheme.num_classes:
            table[code] = scheme.colours[number]
    for code_of in (vertebra_code, disc_code, posterior_code):
        for code in map(code_of, range(2, MAX_RANK + 1)):
            if scheme.table[code] == IGNORE:
                table[code] = table[code - 1]
    return table


def coloured(
    label: np.ndarray,
    image: np.ndarray | None = None,
    *,
    colours: np.ndarray | None = None,
    fill: float = FILL,
    line: int = 1,
) -> np.ndarray:
    """A label map in colours with opaque borders, uint8 ``(H, W, 3)``; pixels without annotation are hatched.

    Args:
        label: labels, 0 for background, 255 for no annotation, uint8 ``(H, W)``.
        image: the picture below the colours, in [0, 1], ``(H, W)``; None for the map alone.
        colours: colour of every label, ``(256, 3)``; those of dense codes by default.
        fill: opacity of the colours inside the borders.
        line: width of the borders, pixels.
    """
    painted = (code_colours() if colours is None else colours)[label].astype(np.float32)
    structure = (label != BACKGROUND) & (label != IGNORE)
    border = (structure & borders(label, line))[..., None]
    hatched = (np.add.outer(*map(np.arange, label.shape)) % HATCH_STEP == 0) & (label == IGNORE)
    if image is None:
        picture = np.where(border, _DARKENED * painted, painted)
    else:
        grey = 255 * np.clip(image.astype(np.float32), 0, 1)[..., None].repeat(3, axis=-1)
        picture = np.where(structure[..., None], (1 - fill) * grey + fill * painted, grey)
        picture = np.where(border, painted, picture)
    return np.where(hatched[..., None], HATCH, picture).round().astype(np.uint8)


def borders(label: np.ndarray, line: int = 1) -> np.ndarray:
    """Whether one of the four pixels at distance ``line`` has another label, bool ``(H, W)``."""
    padded = np.pad(label, line, mode="edge")
    height, width = label.shape
    border = np.zeros(label.shape, dtype=bool)
    for down, right in ((line, 0), (-line, 0), (0, line), (0, -line)):
        border |= label != padded[line + down :, line + right :][:height, :width]
    return border


def grey_picture(image: np.ndarray) -> np.ndarray:
    """An image in [0, 1], ``(H, W)``, as grey uint8 ``(H, W, 3)``."""
    return (255 * np.clip(image, 0, 1)).round().astype(np.uint8)[..., None].repeat(3, axis=-1)
