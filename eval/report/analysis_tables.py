"""Tables of a hand-written text that an evaluation can write anew.

A table stands between two lines::

    <!-- table:NAME -->
    <!-- /table -->

What is between them is replaced, and nothing else is touched. Figures of the phantom never take the place of
real ones: they go only where the first line says ``<!-- table:NAME phantom -->``, and real ones never there.
In the same way figures of the test patients go only where it says ``test``; all others are validation's.
"""

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from synthspine.eval.report.definitions import TABLES
from synthspine.eval.report.facts import SHOWN, generators
from synthspine.eval.report.tables import to_markdown
from synthspine.eval.results.outcome import TEST, VALIDATION, Findings, set_name
from synthspine.shards.storage.atomic import write_text

PHANTOM = "phantom"
KINDS = (PHANTOM, TEST)
"""Marks of tables of other figures than those of real validation patients."""
START = re.compile(r"<!--\s*table:(?P<name>\S+)(?P<kinds>(?:\s+\w+)*)\s*-->")
END = "<!-- /table -->"


class AnalysisError(ValueError):
    """The tables cannot be written; the message is one line that names the file and what is wrong."""


def refresh(path: Path, outcome: Mapping[str, Any]) -> list[str]:
    """Write the tables of a text anew, each with a line that says what it was made from.

    Args:
        path: a Markdown file with markers.
        outcome: the dictionary of ``outcome.json``.

    Returns:
        A line for every table: written, or left as it was and why.

    Raises:
        AnalysisError: a marker is not closed or names no table; or there is no table that figures of this
            outcome may go to. The file is then as it was.
        OutcomeError: the outcome cannot be read.
        OSError: the file cannot be read or written.
    """
    findings = Findings(outcome)
    lines = path.read_text(encoding="utf-8").split("\n")
    told: list[str] = []
    result: list[str] = []
    written = 0
    place = 0
    while place < len(lines):
        result.append(lines[place])
        start = START.fullmatch(lines[place].strip())
        place += 1
        if start is None:
            continue
        end = _end(path, lines, place)
        name, why = start["name"], _refusal(path, place, start, findings)
        table = TABLES[name](findings) if why is None else None
        if table is not None and not table.rows:
            why = "nothing of it was measured"
        if table is None or why is not None:
            result += lines[place:end]
            told.append(f"{path}: table {name} was left as it is: {why}")
        else:
            result += [to_markdown(table), "", _again(findings) if written else _source(findings)]
            told.append(f"{path}: table {name} was written")
            written += 1
        place = end
    if not written:
        raise AnalysisError(_nothing_written(path, findings, told))
    write_text(path, "\n".join(result))
    return told


def _end(path: Path, lines: list[str], place: int) -> int:
    """Index of the line that closes the marker in the line before ``place``."""
    for index in range(place, len(lines)):
        if lines[index].strip() == END:
            return index
        if START.fullmatch(lines[index].strip()):
            break
    raise AnalysisError(f"{path}:{place}: {lines[place - 1].strip()} is not closed by {END}")


def _refusal(path: Path, line: int, start: re.Match[str], findings: Findings) -> str | None:
    """Why a table must not be written; None where it may."""
    if start["name"] not in TABLES:
        raise AnalysisError(
            f"{path}:{line}: no table is called {start['name']}; there are {', '.join(TABLES)}"
        )
    kinds = start["kinds"].split()
    for kind in kinds:
        if kind not in KINDS:
            raise AnalysisError(
                f"{path}:{line}: {kind!r} is not {PHANTOM!r} or {TEST!r}, the marks of a table"
            )
    if findings.phantom and PHANTOM not in kinds:
        return "the figures are the phantom's, the table is for real ones"
    if not findings.phantom and PHANTOM in kinds:
        return "the figures are real, the table is for the phantom's"
    wanted = TEST if TEST in kinds else VALIDATION
    if findings.part != wanted:
        return f"the figures are of {findings.part} patients, the table is for {wanted} patients"
    return None


def _nothing_written(path: Path, findings: Findings, told: list[str]) -> str:
    if not told:
        return f"{path}: it has no table; mark the place of one by <!-- table:NAME --> and {END}"
    if findings.phantom:
        return (
            f"{path}: these are figures of the phantom; they replace no table of real ones "
            f"(a table for them is marked <!-- table:NAME {PHANTOM} -->)"
        )
    return told[0]


def _source(findings: Findings) -> str:
    """What a table was made from, in a line."""
    outcome = findings.outcome
    models = ", ".join(f"{name} {_digest(facts, 'sha256')}" for name, facts in outcome["models"].items())
    sets = ", ".join(
        f"{set_name(name)} {_digest(facts, 'identity_hash')}, {facts['patients']} patients"
        for name, facts in outcome["sets"].items()
    )
    smoke = "Smoke figures from the phantom. " if findings.phantom else ""
    made = f"{smoke}Made {outcome['made']} by `make eval` on {findings.part} patients."
    made += f" Checkpoints: {models}. Sets: {sets}."
    return f"*{' '.join(filter(None, (made, generators(findings))))}*"


def _again(findings: Findings) -> str:
    """What tables after the first say, for they are made from the same."""
    return f"*Made {findings.outcome['made']}, from the same as the first table of that time.*"


def _digest(facts: Mapping[str, Any], key: str) -> str:
    return str(facts[key])[:SHOWN]
