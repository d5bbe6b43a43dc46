"""Tables of what stands behind the numbers: models, data with their digests, versions, configuration."""

from collections.abc import Mapping
from typing import Any

from synthspine.eval.report.tables import NOT_DEFINED, Table
from synthspine.eval.results.findings import SYNTHETIC, Findings, model_name, set_name

DIGEST = 64
SHOWN = 12
"""Characters of a digest in a table; the whole one stands in ``outcome.json``."""
OTHER_GENERATOR = "Warning: these are not the same; what is rendered is not what A learned from."
UNTOLD = (
    'Unknown: the checkpoint does not tell. If the trainer wrote a configuration beside it ("_config.json"), '
    'that holds it as "generator"; else the model has to be trained again.'
)


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


def generators(findings: Findings) -> str:
    """Which generator A learned from and which one rendered the sets, with a warning where they differ.

    A generator goes by the hash of its configuration. Empty where neither A nor a rendered set is there.
    """
    models, sets = findings.outcome.get("models", {}), findings.outcome.get("sets", {})
    parts, hashes = [], set()
    if "A" in models:
        learned = models["A"].get("generator_hash")
        hashes.add(learned)
        parts.append(f"A learned from {_short(learned)}")
    if SYNTHETIC in sets:
        rendered = sets[SYNTHETIC].get("generator_hash")
        hashes.add(rendered)
        parts.append(f"the set {set_name(SYNTHETIC)} was rendered by {_short(rendered)}")
    if not parts:
        return ""
    text = f"Generators, by the hash of their configuration: {', '.join(parts)}."
    if None in hashes:
        text += f" {UNTOLD}"
    return f"{text} {OTHER_GENERATOR}" if len(hashes - {None}) > 1 else text


def _short(digest: str | None) -> str:
    return "an unknown one" if digest is None else digest[:SHOWN]


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
