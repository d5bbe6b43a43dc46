"""Origin of the numbers: tables of models, data with their digests, versions and configuration."""

from collections.abc import Callable, Iterator, Mapping
from typing import Any

from synthspine.eval.report.tables import NOT_DEFINED, TEXTS, Table
from synthspine.eval.results.outcome import SYNTHETIC, Findings, set_name

DIGEST = 64
SHOWN = 12
"""Characters of a digest in a table."""


def facts(findings: Findings, kind: str, name_of: Callable[[str], str]) -> Table:
    """A column per model or set, a row per fact.

    Args:
        findings: what was measured.
        kind: ``"models"`` or ``"sets"``, the entry of the outcome.
        name_of: the name of a model or set in text.
    """
    entries = findings.outcome.get(kind, {})
    flat = {name_of(name): dict(_flattened(each)) for name, each in entries.items()}
    names = dict.fromkeys(key for each in flat.values() for key in each)
    rows = tuple((name, *(each.get(name, NOT_DEFINED) for each in flat.values())) for name in names)
    texts = TEXTS["tables"][kind]
    note = texts["note"].format(shown=SHOWN) if rows else ""
    return Table(name=kind, title=texts["title"], head=("", *flat), rows=rows, note=note, words=True)


def listing(findings: Findings, name: str, entry: str) -> Table:
    """The names and values of an entry of the outcome."""
    rows = tuple(_flattened(findings.outcome.get(entry, {})))
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


def _flattened(facts: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, str]]:
    for key, value in facts.items():
        name = f"{prefix}{key.replace('_', ' ')}"
        if isinstance(value, Mapping):
            yield from _flattened(value, f"{name}: ")
        else:
            yield name, _shown(value)


def _shown(value: Any) -> str:
    if value is None:
        return NOT_DEFINED
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, (int, float)):
        return f"{value:.4g}" if isinstance(value, float) else f"{value:,}"
    if isinstance(value, str) and len(value) == DIGEST and set(value) <= set("0123456789abcdef"):
        return value[:SHOWN]
    if isinstance(value, (list, tuple)):
        return ", ".join(map(_shown, value)) or NOT_DEFINED
    return str(value)
