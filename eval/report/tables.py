"""Tables of the report, and how numbers are written everywhere in it.

A table is rows times columns. A column is a title and a function of the subject of a row: the scores of a
structure, a comparison of two models, a measurement.
"""

import math
import tomllib
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path
from typing import Any

from synthspine.eval.metrics.statistics import Interval, narrowness
from synthspine.eval.metrics.table import Quantity
from synthspine.eval.results.measurement import Share

TEXTS: dict[str, Any] = tomllib.loads(Path(__file__).with_name("texts.toml").read_text(encoding="utf-8"))
"""Titles, notes and captions of the report."""
SHARE = Quantity(title="share")
NOT_DEFINED = "–"
MINUS = "−"


@dataclass(frozen=True, slots=True)
class Cell:
    """Content of one cell."""

    text: str
    detail: str = ""  # an interval or a count, in small print
    strong: bool = False  # whether the text is bold


Row = tuple[Cell | str, ...]
Columns = dict[str, Callable[[Any], Cell | str]]
"""Title of each column, and the cell that it makes of the subject of a row."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Table:
    """A table with one title in ``head`` and one cell, or plain text, in every row per column."""

    name: str  # its name in the markers of ANALYSIS_REPORT.md
    title: str
    head: tuple[str, ...]
    rows: tuple[Row, ...]
    keys: int = 1  # leading columns that name a row; rows with the same first cell form a group
    note: str = ""  # explanation below the table
    folded: bool = False  # in HTML it starts closed
    words: bool = False  # the cells are aligned to the left

    @property
    def groups(self) -> list[list[Row]]:
        """The rows with the same first cell together; all rows where one column names them."""
        if self.keys == 1:
            return [list(self.rows)]
        return [list(rows) for _, rows in groupby(self.rows, key=lambda row: row[0])]


@dataclass(frozen=True, slots=True, kw_only=True)
class Picture:
    """A PNG file beside the report."""

    file: str  # relative to the report
    alt: str  # description for readers who cannot see it
    caption: str


def table(
    name: str, subjects: Iterable[tuple[tuple[str, ...], Any]], columns: Columns, **values: Any
) -> Table:
    """A table of values with its titles and notes from ``texts.toml``, where ``name`` is its entry.

    The subjects are the names and the subject of every row. The columns come after the names; the last one is
    the number of patients, as text. The values fill the names in braces of the note.
    """
    rows = tuple((*names, *(cell(subject) for cell in columns.values())) for names, subject in subjects)
    texts, values = TEXTS["tables"][name], TEXTS["shared"] | values
    keys, intervals = tuple(texts["keys"]), texts.get("intervals", values["intervals"])
    counts = [int(row[-1]) for row in rows if isinstance(row[-1], str)] if intervals else []
    coverage = narrowness(min((n for n in counts if n > 1), default=0))
    note = " ".join(filter(None, (intervals, coverage, texts.get("note")))).format(**values).strip()
    return Table(
        name=name,
        title=texts["title"],
        head=(*keys, *columns),
        rows=rows,
        keys=len(keys),
        note=note,
        folded=texts.get("folded", False),
    )


def to_markdown(table: Table) -> str:
    """The table in Markdown, its note in a line below."""
    aligned = ["---" if index < table.keys or table.words else "---:" for index in range(len(table.head))]
    lines = [table.head, aligned, *([_flat(cell) for cell in row] for row in table.rows)]
    text = "\n".join("| " + " | ".join(line) + " |" for line in lines)
    return f"{text}\n\n{table.note}" if table.note else text


def format_value(value: float | None, metric: Quantity = SHARE, *, signed: bool = False) -> str:
    """A value of a metric; None and nan are written as ``NOT_DEFINED``.

    A share without a unit has no leading zero. A signed difference has a true minus; one that rounds to 0 has
    no sign.
    """
    if value is None or not math.isfinite(value):
        return NOT_DEFINED
    text = f"{abs(value):.{metric.decimals}f}"
    if not metric.unit:
        text = text.removeprefix("0") if signed or float(text) < 1 else f"{value:.2f}"
    if signed and float(text):
        return f"{MINUS if value < 0 else '+'}{text}"
    return text


def format_p(p: float | None) -> str:
    """A p value with three decimals, or as a bound below .001."""
    return "< .001" if p is not None and p < 0.001 else format_value(p)


def interval_cell(
    estimate: Interval | None,
    metric: Quantity = SHARE,
    *,
    n: int | None = None,
    signed: bool = False,
    strong: bool = False,
) -> Cell:
    """A mean with its interval, and with its number of patients where that is not ``n``."""
    if estimate is None:
        return Cell(NOT_DEFINED)
    ends = [format_value(end, metric, signed=signed) for end in (estimate.low, estimate.high)]
    details = [] if NOT_DEFINED in ends else [f"[{', '.join(ends)}]"]
    details += [] if n is None or n == estimate.n else [f"n {estimate.n}"]
    return Cell(format_value(estimate.mean, metric, signed=signed), " ".join(details), strong)


def share_cell(share: Share) -> Cell:
    """A share in per cent with its counts."""
    if not share.n:
        return Cell(NOT_DEFINED, "(0/0)")
    return Cell(f"{share.count / share.n:.0%}", f"({share.count}/{share.n})")


def _flat(cell: Cell | str) -> str:
    if isinstance(cell, Cell):
        text = f"**{cell.text}**" if cell.strong else cell.text
        cell = f"{text} {cell.detail}".strip()
    return cell.replace("|", "\\|").replace("\n", " ")
