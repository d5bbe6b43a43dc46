"""One table over all scans of a run: ``summary.csv``, a scan a row, and the same as ``summary.json``."""

import csv
import io
import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from synthspine.eval.labelling.roles import ROLES
from synthspine.eval.prediction.ownership import marked_report, table_mark
from synthspine.eval.prediction.quality import Flag
from synthspine.eval.prediction.volumes import StructureVolume
from synthspine.gen.core.anatomy import RANK_NAMES
from synthspine.shards.storage.atomic import write_text

TABLE, REPORT = "summary.csv", "summary.json"
SUMMARY_FORMAT = 1
FEWEST_RANKS = len(RANK_NAMES)
"""Ranks that have columns in every table; higher ones have some where a scan shows them."""
FACTS = (
    *("scan", "status", "reason", "mask", "seconds", "flags", "names_count_from"),
    *("series_instance_uid", "series_description"),
)


@dataclass(frozen=True, kw_only=True, slots=True)
class SummaryRow:
    """One scan of a run: its file or folder, and what became of it.

    The status is ``"done"``, ``"left out"`` or ``"failed"``, with the reason; ``seconds`` is the time spent
    on it, ``names_count_from`` is ``"L5"`` or ``"lowest vertebra in view"``, the last texts are those of
    DICOM series.
    """

    scan: str
    status: str
    reason: str = ""
    mask: str = ""
    seconds: float | None = None
    flags: tuple[Flag, ...] = ()
    names_count_from: str = ""
    series_instance_uid: str = ""
    series_description: str = ""
    structures: tuple[StructureVolume, ...] = ()

    def numbers(self) -> dict[str, str]:
        """Volumes (ml) and heights (mm) by column."""
        found: dict[str, str] = {}
        for structure in self.structures:
            if structure.role is None:
                name = structure.name.replace(" ", "_")
                column = f"{name}_ml" if structure.rank is None else f"posterior_{structure.rank}_ml"
                found[column] = f"{structure.volume_ml:.3f}"
                continue
            name = f"{structure.role}_{structure.rank}"
            found[f"{name}_ml"] = f"{structure.volume_ml:.3f}"
            if structure.height_mm is not None:
                found[f"{name}_mm"] = f"{structure.height_mm:.1f}"
        return found

    def cells(self) -> dict[str, str]:
        """Text of every column that has one."""
        facts = {name: str(getattr(self, name)) for name in FACTS}
        facts["seconds"] = "" if self.seconds is None else f"{self.seconds:.2f}"
        facts["flags"] = " ".join(flag.name for flag in self.flags)
        return facts | self.numbers()


def write_summary(folder: Path, rows: Sequence[SummaryRow]) -> tuple[Path, Path]:
    """Write table and report of the scans of a run, each atomically, in their order.

    Columns: ``FACTS``; ``vertebra_1_ml``, ``vertebra_1_mm``, ``disc_1_ml``, ``disc_1_mm`` and so on upward
    from the lowest vertebra; ``canal_ml``, and other structures that a scan shows. The report has a digest of
    the table, by which both are known as this program's (``eval.prediction.ownership``).
    """
    cells = [row.cells() for row in rows]
    highest = [structure.rank or 0 for row in rows for structure in row.structures]
    vertebra, disc, canal = ROLES
    columns = [*FACTS]
    for rank in range(1, max([FEWEST_RANKS, *highest]) + 1):
        columns += [f"{role}_{rank}_{unit}" for role in (vertebra, disc) for unit in ("ml", "mm")]
    columns.append(f"{canal}_ml")
    columns += sorted({name for row in cells for name in row} - set(columns))
    text = io.StringIO()
    writer = csv.DictWriter(text, columns, restval="", lineterminator="\n")
    writer.writeheader()
    writer.writerows(cells)
    table = text.getvalue()
    report = {
        "format": SUMMARY_FORMAT,
        "scans": [asdict(row) for row in rows],
        "use": "for research, not for diagnosis",
        "table": table_mark(table.encode()),
    }
    write_text(folder / REPORT, json.dumps(marked_report(json.loads(json.dumps(report))), indent=2) + "\n")
    write_text(folder / TABLE, table)
    return folder / TABLE, folder / REPORT
