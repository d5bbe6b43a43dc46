"""Tables of a hand-written text that an evaluation replaces.

A table is between two lines::

    <!-- table:NAME -->
    <!-- /table -->

The lines between them are replaced; the rest of the text stays. Results of the phantom replace only tables
that are marked ``<!-- table:NAME phantom -->``, and results of the test patients only those that are marked
``test``. Unmarked tables are for results of real validation patients.
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
START = re.compile(
    r"^[ \t]*<!--[ \t]*table:(?P<name>\S+)(?P<marks>(?:[ \t]+\w+)*)[ \t]*-->[ \t]*$", re.MULTILINE
)
END = re.compile(r"^[ \t]*<!-- /table -->[ \t]*$", re.MULTILINE)


class AnalysisError(ValueError):
    """The tables cannot be written; the message is one line that names the file and the fault."""


def refresh(path: Path, outcome: Mapping[str, Any]) -> list[str]:
    """Replace the tables of a Markdown file by those of ``outcome.json``; below each is its origin.

    Returns:
        A line for every table: written, or unchanged and why.

    Raises:
        AnalysisError: a marker is not closed or names no table, or no table is for results of this outcome;
            the file is then unchanged.
        OutcomeError: the outcome cannot be read.
        OSError: the file cannot be read or written.
    """
    findings = Findings(outcome)
    text = path.read_text(encoding="utf-8")
    messages: list[str] = []
    parts: list[str] = []
    position = 0
    for start in START.finditer(text):
        place, name = f"{path}:{text.count(chr(10), 0, start.start()) + 1}", start["name"]
        end = END.search(text, start.end())
        if end is None or START.search(text, start.end(), end.start()):
            raise AnalysisError(f"{place}: {start[0].strip()} is not closed by <!-- /table -->")
        if name not in TABLES:
            raise AnalysisError(f"{place}: no table is called {name}; the tables are {', '.join(TABLES)}")
        why = _refusal(place, start["marks"].split(), findings)
        table = TABLES[name](findings)
        if why is None and not table.rows:
            why = "nothing of it was measured"
        if why is None:
            same = f"*Made {outcome['made']}, from the same as the first table of that time.*"
            origin = same if parts else _origin(findings)
            parts += [text[position : start.end()], f"\n{to_markdown(table)}\n\n{origin}\n"]
            position = end.start()
        messages.append(f"{path}: table {name} was {'written' if why is None else f'left as it is: {why}'}")
    if not parts:
        raise AnalysisError(_nothing_written(path, findings, messages))
    write_text(path, "".join([*parts, text[position:]]))
    return messages


def _refusal(place: str, marks: list[str], findings: Findings) -> str | None:
    """Why a table with these marks is not for the results; None where it is."""
    for mark in marks:
        if mark not in (PHANTOM, TEST):
            raise AnalysisError(f"{place}: {mark!r} is not {PHANTOM!r} or {TEST!r}, the marks of a table")
    if findings.phantom and PHANTOM not in marks:
        return "the figures are the phantom's, the table is for real ones"
    if not findings.phantom and PHANTOM in marks:
        return "the figures are real, the table is for the phantom's"
    wanted = TEST if TEST in marks else VALIDATION
    if findings.part != wanted:
        return f"the figures are of {findings.part} patients, the table is for {wanted} patients"
    return None


def _nothing_written(path: Path, findings: Findings, messages: list[str]) -> str:
    if not messages:
        return f"{path}: it has no table; mark its place by <!-- table:NAME --> and <!-- /table -->"
    if findings.phantom:
        return (
            f"{path}: these are figures of the phantom; they replace no table of real ones "
            f"(mark a table for them by <!-- table:NAME {PHANTOM} -->)"
        )
    return messages[0]


def _origin(findings: Findings) -> str:
    """Time, checkpoints, sets and generators of a table, in one line."""
    outcome = findings.outcome
    models = ", ".join(f"{name} {facts['sha256'][:SHOWN]}" for name, facts in outcome["models"].items())
    sets = ", ".join(
        f"{set_name(name)} {facts['identity_hash'][:SHOWN]}, {facts['patients']} patients"
        for name, facts in outcome["sets"].items()
    )
    smoke = "Smoke figures from the phantom. " if findings.phantom else ""
    made = f"{smoke}Made {outcome['made']} by `make eval` on {findings.part} patients."
    return f"*{made} Checkpoints: {models}. Sets: {sets}. {generators(findings)}".rstrip() + "*"
