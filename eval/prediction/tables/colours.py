"""Names and colours of the values of masks, for 3D Slicer (``.ctbl``) and ITK-SNAP (label description)."""

from pathlib import Path

from synthspine.eval.prediction.volumes import ranked_name
from synthspine.gen.core.anatomy import (
    CANAL,
    MAX_RANK,
    SACRUM,
    disc_code,
    posterior_code,
    spider_values,
    vertebra_code,
)
from synthspine.shards.checking.overlay import code_colours
from synthspine.shards.storage.atomic import write_text
from synthspine.shards.storage.marks import mark

SLICER, ITK_SNAP = "colours.ctbl", "colours_itksnap.txt"


def write_colour_tables(folder: Path) -> tuple[Path, Path]:
    """Write both tables, each atomically; those with the right content stay.

    The first line of each is a comment with a mark of its rows (``eval.prediction.ownership``).
    """
    paths = folder / SLICER, folder / ITK_SNAP
    for path, rows in zip(paths, (_slicer_rows(), _itk_snap_rows()), strict=True):
        text = marked_rows("".join(f"{row}\n" for row in rows))
        if not path.is_file() or path.read_bytes() != text.encode():
            write_text(path, text)
    return paths


def marked_rows(rows: str) -> str:
    """Rows of a table below a comment with their mark."""
    return f"# {mark('colours', rows.encode())}\n{rows}"


def entries() -> list[tuple[int, str, tuple[int, int, int]]]:
    """Value, name and colour of everything that a mask may hold, by value."""
    codes = [CANAL, SACRUM]
    for code_of in (vertebra_code, disc_code, posterior_code):
        codes += map(code_of, range(1, MAX_RANK + 1))
    colours, values = code_colours().tolist(), spider_values().tolist()
    return sorted((values[code], structure_name(code), tuple(colours[code])) for code in codes)


def structure_name(code: int) -> str:
    """Name of a dense code of a mask, where the lowest vertebra is L5."""
    return {CANAL: "spinal canal", SACRUM: "sacrum"}.get(code) or ranked_name(code)


def _slicer_rows() -> list[str]:
    rows = ["0 background 0 0 0 0"]
    for value, name, colour in entries():
        # Spaces separate columns.
        rows.append(f"{value} {name.replace(' ', '_')} {' '.join(map(str, colour))} 255")
    return rows


def _itk_snap_rows() -> list[str]:
    # Value, colour, opacity, whether it is shown in slices and in 3D, name.
    rows = ['0 0 0 0 0 0 0 "Clear Label"']
    for value, name, colour in entries():
        rows.append(f'{value} {" ".join(map(str, colour))} 1 1 1 "{name}"')
    return rows
