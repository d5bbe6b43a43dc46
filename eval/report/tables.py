"""Tables of the report: one definition, rendered to Markdown and to HTML.

A cell is a short text with an optional detail (an interval, a count). Both renderings show both.
"""

import html
import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from itertools import groupby

from synthspine.eval.metrics.statistics import Interval, narrowness

_INTERVAL = "Means over patients, in brackets their 95 % bootstrap interval."
NOT_DEFINED = "–"
MINUS = "−"


@dataclass(frozen=True, slots=True)
class Cell:
    """What stands in one place of a table.

    Attributes:
        text: the main thing.
        detail: what goes with it, in small print.
        strong: whether it is to be seen first.
    """

    text: str
    detail: str = ""
    strong: bool = False


Row = tuple[Cell | str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Table:
    """A table.

    Attributes:
        name: by which it is asked for (markers in ``ANALYSIS_REPORT.md``).
        title: what it shows, in a line.
        head: one title per column.
        rows: one cell, or plain text, per column.
        keys: leading columns that name the row; rows with the same first one stand together.
        note: how it is to be read; may be empty.
        folded: in HTML it starts closed.
        words: the cells hold words, not numbers: they stand to the left.
    """

    name: str
    title: str
    head: tuple[str, ...]
    rows: tuple[Row, ...]
    keys: int = 1
    note: str = ""
    folded: bool = False
    words: bool = False

    def __post_init__(self) -> None:
        wrong = next((row for row in self.rows if len(row) != len(self.head)), None)
        if wrong is not None:
            raise ValueError(f"table {self.name}: {len(wrong)} cells under {len(self.head)} titles: {wrong}")


def to_markdown(table: Table) -> str:
    """The table in Markdown, its note in a line below."""
    aligned = ["---" if index < table.keys or table.words else "---:" for index in range(len(table.head))]
    lines = [table.head, aligned, *([_flat(cell) for cell in row] for row in table.rows)]
    text = "\n".join("| " + " | ".join(line) + " |" for line in lines)
    return f"{text}\n\n{table.note}" if table.note else text


def to_html(table: Table) -> str:
    """The table in HTML; rows with the same first cell form one group."""
    head = "".join(
        f'<th scope="col"{_kind(index, table)}>{html.escape(title)}</th>'
        for index, title in enumerate(table.head)
    )
    groups = [list(table.rows)]
    if table.keys > 1:
        groups = [list(rows) for _, rows in groupby(table.rows, key=lambda row: _flat(row[0]))]
    note = f'<p class="note">{html.escape(table.note)}</p>' if table.note else ""
    bodies = "".join(_group(rows, table) for rows in groups)
    kind = " class=words" if table.words else ""
    body = (
        f'<div class="scroll" tabindex="0" role="region" aria-label="{html.escape(table.title)}">'
        f"<table{kind}><thead><tr>{head}</tr></thead>{bodies}</table></div>{note}"
    )
    title = html.escape(table.title)
    if table.folded:
        return f'<details id="table-{table.name}"><summary>{title}</summary>{body}</details>'
    return f'<section class="table" id="table-{table.name}"><h3>{title}</h3>{body}</section>'


def interval_note(rows: Iterable[Row], text: str = _INTERVAL) -> str:
    """What stands under rows with intervals, and that they are narrow where patients are few.

    Args:
        rows: the last cell of each is its number of patients; the least of them that has intervals is told.
        text: what the numbers are.
    """
    counts = [int(cell) for *_, cell in rows if isinstance(cell, str)]
    fewest = min((n for n in counts if n > 1), default=0)
    return " ".join(filter(None, (text, narrowness(fewest))))


def score_cell(estimate: Interval | None, *, n: int | None = None, strong: bool = False) -> Cell:
    """A score in [0, 1] with its interval; the number of patients too, where it is not ``n``."""
    if estimate is None:
        return Cell(NOT_DEFINED)
    return Cell(score(estimate.mean), _detail(estimate, score, n), strong)


def mm_cell(estimate: Interval | None, *, n: int | None = None) -> Cell:
    """A distance in mm with its interval."""
    if estimate is None:
        return Cell(NOT_DEFINED)
    return Cell(one_decimal(estimate.mean), _detail(estimate, one_decimal, n))


def difference_cell(estimate: Interval | None, *, strong: bool = False) -> Cell:
    """A signed difference of scores with its interval."""
    if estimate is None:
        return Cell(NOT_DEFINED)
    return Cell(signed(estimate.mean), _detail(estimate, signed, None), strong)


def share_cell(count: int, n: int) -> Cell:
    """``count`` of ``n`` in per cent."""
    return Cell(f"{count / n:.0%}", f"({count}/{n})") if n else Cell(NOT_DEFINED, "(0/0)")


def score(value: float) -> str:
    """A score in [0, 1] to three decimals, without the leading zero."""
    if not math.isfinite(value):
        return NOT_DEFINED
    return f"{value:.3f}".removeprefix("0") if value < 0.9995 else f"{value:.2f}"


def signed(value: float) -> str:
    """A difference of scores with its sign, a true minus."""
    if not math.isfinite(value):
        return NOT_DEFINED
    text = f"{abs(value):.3f}".removeprefix("0")
    return text if text == ".000" else f"{MINUS if value < 0 else '+'}{text}"


def probability(value: float | None) -> str:
    """A p value: three decimals, or below what they can show."""
    if value is None or not math.isfinite(value):
        return NOT_DEFINED
    return "< .001" if value < 0.001 else score(value)


def one_decimal(value: float) -> str:
    """A number to one decimal."""
    return f"{value:.1f}" if math.isfinite(value) else NOT_DEFINED


def _detail(estimate: Interval, shown: Callable[[float], str], n: int | None) -> str:
    """The interval, where there is one, and the number of patients, where it is not ``n``."""
    ends = [end for end in (estimate.low, estimate.high) if math.isfinite(end)]
    interval = [f"[{', '.join(map(shown, ends))}]"] if ends else []
    return " ".join([*interval, *([] if n is None or n == estimate.n else [f"n {estimate.n}"])])


def _flat(cell: Cell | str) -> str:
    if isinstance(cell, Cell):
        text = f"**{cell.text}**" if cell.strong else cell.text
        cell = f"{text} {cell.detail}".strip()
    return cell.replace("|", "\\|").replace("\n", " ")


def _group(rows: list[Row], table: Table) -> str:
    lines = []
    for index, row in enumerate(rows):
        cells = []
        for column, cell in enumerate(row):
            if column == 0 and table.keys > 1:
                if index == 0:
                    cells.append(f'<th scope="rowgroup" rowspan="{len(rows)}">{_inner(cell)}</th>')
            elif column < table.keys:
                cells.append(f'<th scope="row">{_inner(cell)}</th>')
            else:
                cells.append(f"<td>{_inner(cell)}</td>")
        lines.append(f"<tr>{''.join(cells)}</tr>")
    return f"<tbody>{''.join(lines)}</tbody>"


def _inner(cell: Cell | str) -> str:
    if isinstance(cell, str):
        return html.escape(cell)
    text = html.escape(cell.text)
    text = f"<b>{text}</b>" if cell.strong else text
    return f"{text} <small>{html.escape(cell.detail)}</small>" if cell.detail else text


def _kind(index: int, table: Table) -> str:
    return ' class="key"' if index < table.keys else ""
