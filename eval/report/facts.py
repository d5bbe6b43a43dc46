"""Origin of the numbers: tables of models, data with their digests, versions and configuration."""

from collections.abc import Callable, Mapping
from typing import Any

from synthspine.eval.report.tables import NOT_DEFINED, TEXTS, Table
from synthspine.eval.results.outcome import SYNTHETIC, Findings, set_name

DIGEST = 64
SHOWN = 12
"""Characters of a digest in a table."""


def facts(findings: Findings, kind: str, name_of: Callable[[str], str]) -> Table:
    """A column per model or set (``kind``: ``"models"`` or ``"sets"``), a row per fact."""
    entries = findings.outcome.get(kind, {})
    columns = {name_of(name): _in_words(each) for name, each in entries.items()}
    names = dict.fromkeys(key for each in columns.values() for key in each)
    rows = tuple((name, *(each.get(name, NOT_DEFINED) for each in columns.values())) for name in names)
    texts = TEXTS["tables"][kind]
    note = texts["note"].format(shown=SHOWN) if rows else ""
    return Table(name=kind, title=texts["title"], head=("", *columns), rows=rows, note=note, words=True)


def listing(findings: Findings, name: str, entry: str) -> Table:
    """The names and values of an entry of the outcome."""
    rows = tuple(_in_words(findings.outcome.get(entry, {})).items())
    texts = TEXTS["tables"][name]
    folded = texts.get("folded", False)
    return Table(
        name=name, title=texts["title"], head=tuple(texts["keys"]), rows=rows, words=True, folded=folded
    )


def generators(findings: Findings) -> str:
    """The generator that A learned from and the one that rendered the sets, with a warning where they differ.

    The hash of its configuration names a generator. Empty where neither A nor a rendered set was measured.
    """
    models, sets = findings.outcome.get("models", {}), findings.outcome.get("sets", {})
    hashes = {}
    if "A" in models:
        hashes["A learned from"] = models["A"].get("generator_hash")
    if SYNTHETIC in sets:
        hashes[f"the set {set_name(SYNTHETIC)} was rendered by"] = sets[SYNTHETIC].get("generator_hash")
    if not hashes:
        return ""
    parts = ", ".join(f"{use} {'an unknown one' if h is None else h[:SHOWN]}" for use, h in hashes.items())
    texts, known = TEXTS["generators"], set(hashes.values()) - {None}
    sentences = [texts["text"].format(parts=parts)]
    sentences += [texts["unknown"]] if None in hashes.values() else []
    sentences += [texts["differ"]] if len(known) > 1 else []
    return " ".join(sentences)


def _in_words(facts: Mapping[str, Any]) -> dict[str, str]:
    return {name.replace("_", " "): _shown(value) for name, value in facts.items()}


def _shown(value: Any) -> str:
    if value is None:
        return NOT_DEFINED
    if isinstance(value, list):
        return ", ".join(map(str, value))
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, (int, float)):
        return f"{value:.4g}" if isinstance(value, float) else f"{value:,}"
    if isinstance(value, str) and len(value) == DIGEST and set(value) <= set("0123456789abcdef"):
        return value[:SHOWN]
    return str(value)
