"""The tables of all features in ``docs/generator.md``, made from their classes.

``python -m synthspine.gen --table docs/generator.md`` writes them there, between the two lines of ``MARKS``.
"""

from collections.abc import Iterator
from dataclasses import fields, replace
from typing import Any

import torch
from torch import Tensor

from synthspine.gen.config import GeneratorConfig
from synthspine.gen.core.feature import Batch, Config
from synthspine.gen.generator import draw
from synthspine.gen.tissues.palette import PAINT_CODES

MARKS = ("<!-- python -m synthspine.gen --table docs/generator.md -->", "<!-- end of the tables -->")
"""Lines around the tables in the document."""


def with_tables(document: str) -> str:
    """The document, as Markdown, with :func:`feature_tables` between its marks.

    Raises:
        ValueError: it lacks a mark.
    """
    if not all(mark in document for mark in MARKS):
        raise ValueError(f"the document has no lines {MARKS[0]!r} and {MARKS[1]!r} for the tables")
    before, rest = document.split(MARKS[0], 1)
    return f"{before}{MARKS[0]}\n\n{feature_tables()}\n\n{MARKS[1]}{rest.split(MARKS[1], 1)[1]}"


def feature_tables() -> str:
    """A table of the features of every room, in the order of the configuration, as Markdown."""
    config = GeneratorConfig()
    params = draw(_everything(config), 0, torch.arange(1), maps=1, dims=3)
    rooms: dict[str, list[str]] = {}
    for path, feature in _features(config):
        room, module = type(feature).__module__.split(".")[-2:]
        drawn: Any = params
        for name in path.split("."):
            drawn = getattr(drawn, name)
        defaults = ", ".join(
            f"`{entry.name} {_shown(value)}`"
            for entry in fields(feature)
            if not isinstance(value := getattr(feature, entry.name), Config)
        )
        what = " ".join((type(feature).__doc__ or "").split("\n\n")[0].split()).split(". ")[0].rstrip(".")
        cells = (
            f"`{path}`",
            what,
            f"[`{type(feature).__name__}`](../gen/{room}/{module}.py)",
            defaults,
            ", ".join(_values(drawn)),
        )
        rooms.setdefault(room, []).append(f"| {' | '.join(cells)} |")
    head = "| feature | what | class | defaults | drawn per sample |\n|---|---|---|---|---|"
    return "\n\n".join(
        f"### {room.capitalize()}\n\n" + "\n".join((head, *rows)) for room, rows in rooms.items()
    )


def _features(config: Any, path: str = "") -> Iterator[tuple[str, Config]]:
    """Every feature, and every configuration inside one, with its path."""
    for entry in fields(config):
        if isinstance(feature := getattr(config, entry.name), Config):
            yield f"{path}{entry.name}", feature
            yield from _features(feature, f"{path}{entry.name}.")


def _everything(config: Any) -> Any:
    """The configuration with every probability 1: each feature has all its parameters."""
    changes: dict[str, Any] = {}
    for entry in fields(config):
        if isinstance(value := getattr(config, entry.name), Config):
            changes[entry.name] = _everything(value)
        elif entry.name.endswith("probability"):
            changes[entry.name] = 1.0
    return replace(config, **changes)


def _shown(value: Any) -> str:
    if isinstance(value, tuple):
        return "..".join(f"{end:g}" for end in dict.fromkeys(value))
    return f"{value:g}" if isinstance(value, float) else str(value)


def _values(drawn: Batch) -> Iterator[str]:
    """Names of what was drawn, with the shape of what is more than one number."""
    for entry in fields(drawn):
        value = getattr(drawn, entry.name)
        if isinstance(value, Batch):
            yield f"`{entry.name}`: {', '.join(_values(value))}"
        elif isinstance(value, Tensor):
            shape = tuple(value.shape[1:])
            if entry.name == "key":
                yield "a random field"
            elif shape == (PAINT_CODES,):
                yield f"`{entry.name}` per tissue"
            else:
                yield f"`{entry.name}`" + (f" ({' x '.join(map(str, shape))})" if shape else "")
