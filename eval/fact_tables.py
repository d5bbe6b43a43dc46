"""Tables of what stands behind the numbers: models, data with their digests, versions, configuration."""

from collections.abc import Mapping
from typing import Any

from eval.findings import Findings, model_name, set_name
from eval.tables import NOT_DEFINED, Table

DIGEST = 64
SHOWN = 12
"""Characters of a digest in a table; the whole one stands in ``outcome.json``."""


def model_table(findings: Findings) -> Table:
    """A column per model, a row per fact."""
    return _facts(
        "models",
        "Models",
        {model_name(name): facts for name, facts in findings.outcome.get("models", {}).items()},
    )


def set_table(findings: Findings) -> Table:
    """A column per set, a row per fact."""
    return _facts(
        "sets", "Data", {set_name(name): facts for name, facts in findings.outcome.get("sets", {}).items()}
    )


def version_table(findings: Findings) -> Table:
    """Versions of what was run."""
    rows = tuple((name, str(version)) for name, version in findings.outcome.get("versions", {}).items())
    return Table(name="versions", title="Versions", head=("Software", "Version"), rows=rows, words=True)


def configuration_table(findings: Findings) -> Table:
    """What was asked for: every option."""
    rows = tuple(_flattened(findings.outcome.get("options", {})))
    return Table(
        name="configuration",
        title="Configuration",
        head=("Option", "Value"),
        rows=rows,
        words=True,
        folded=True,
    )


def _facts(name: str, title: str, by_column: Mapping[str, Mapping[str, Any]]) -> Table:
    flat = {column: dict(_flattened(facts)) for column, facts in by_column.items()}
    names = list(dict.fromkeys(key for facts in flat.values() for key in facts))
    rows = tuple((key, *(facts.get(key, NOT_DEFINED) for facts in flat.values())) for key in names)
    note = f"Digests: the first {SHOWN} characters; the whole ones are in outcome.json." if rows else ""
    return Table(name=name, title=title, head=("", *flat), rows=rows, note=note, words=True)


def _flattened(facts: Mapping[str, Any], prefix: str = "") -> list[tuple[str, str]]:
    rows = []
    for key, value in facts.items():
        name = f"{prefix}{key.replace('_', ' ')}"
        if isinstance(value, Mapping):
            rows += _flattened(value, f"{name}: ")
        else:
            rows.append((name, _shown(value)))
    return rows


def _shown(value: Any) -> str:
    if value is None:
        return NOT_DEFINED
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, float):
        return f"{value:.4g}"
    if isinstance(value, int):
        return f"{value:,}"
    if isinstance(value, str) and len(value) == DIGEST and set(value) <= set("0123456789abcdef"):
        return value[:SHOWN]
    if isinstance(value, (list, tuple)):
        return ", ".join(_shown(entry) for entry in value) or NOT_DEFINED
    return str(value)
