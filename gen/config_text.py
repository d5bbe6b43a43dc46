"""Configurations as text: YAML or JSON in and out, and the difference between two of them."""

import dataclasses
import difflib
import hashlib
import json
import typing
from typing import Any, TypeVar

import yaml

Config = TypeVar("Config")


def config_to_json(config: Any) -> str:
    """A configuration dataclass as JSON with sorted keys."""
    return json.dumps(dataclasses.asdict(config), sort_keys=True)


def config_hash(config: Any) -> str:
    """SHA-256 of the JSON form, hexadecimal: equal for equal configurations."""
    return hashlib.sha256(config_to_json(config).encode()).hexdigest()


def config_to_yaml(config: Any) -> str:
    """A configuration dataclass as YAML, in the order of its fields, ranges on one line."""
    return yaml.safe_dump(
        json.loads(json.dumps(dataclasses.asdict(config))), sort_keys=False, default_flow_style=None
    )


def config_from_text(text: str, base: Config) -> Config:
    """``base`` with the values that YAML or JSON text names.

    Args:
        text: YAML, of which JSON is a part; what it leaves out stays as in ``base``.
        base: a configuration dataclass.

    Raises:
        TypeError: a value of the wrong kind.
        ValueError: not YAML, an unknown key (the message names the nearest valid one), or a value out of
            bounds.
    """
    if not isinstance(text, str):
        raise TypeError(f"the configuration is {text!r}; want text")
    try:
        values = yaml.safe_load(text)
    except yaml.YAMLError as error:
        raise ValueError(f"the configuration is not YAML or JSON: {error}") from error
    return _changed(base, {} if values is None else values, "")


def config_diff(config: Any, base: Any) -> list[str]:
    """What ``config`` changes against ``base``, one line per value: ``noise.probability: 0.9 -> 0.0``."""
    ours, theirs = _flat(config), _flat(base)
    return [
        f"{name}: {_short(theirs[name])} -> {_short(ours[name])}"
        for name in ours
        if ours[name] != theirs[name]
    ]


def _changed(base: Config, values: Any, path: str) -> Config:
    if not isinstance(values, dict):
        raise TypeError(f"{path or 'the configuration'} is {values!r}; want names with values")
    hints = typing.get_type_hints(type(base))
    changes = {}
    for name, value in values.items():
        where = f"{path}.{name}" if path else str(name)
        if name not in hints:
            raise ValueError(f"there is no setting {where!r}; {_nearest(str(name), list(hints))}")
        present = getattr(base, name)
        changes[name] = (
            _changed(present, value, where) if dataclasses.is_dataclass(present) else _plain(value)
        )
    try:
        return dataclasses.replace(base, **changes)  # type: ignore[type-var]
    except (TypeError, ValueError) as error:
        raise type(error)(f"{path}: {error}" if path and path not in str(error) else str(error)) from error


def _plain(value: Any) -> Any:
    """Lists of text as tuples, all the way down."""
    return tuple(_plain(entry) for entry in value) if isinstance(value, list) else value


def _nearest(name: str, known: list[str]) -> str:
    close = difflib.get_close_matches(name, known, n=1, cutoff=0.4)
    return f"did you mean {close[0]!r}?" if close else f"there are {', '.join(known)}"


def _flat(config: Any, path: str = "") -> dict[str, Any]:
    flat: dict[str, Any] = {}
    for entry in dataclasses.fields(config):
        value = getattr(config, entry.name)
        name = f"{path}{entry.name}"
        flat |= _flat(value, f"{name}.") if dataclasses.is_dataclass(value) else {name: value}
    return flat


def _short(value: Any) -> str:
    return (
        f"{value[0]:g}..{value[1]:g}"
        if _is_range(value)
        else f"{value:g}"
        if isinstance(value, float)
        else str(value)
    )


def _is_range(value: Any) -> bool:
    return isinstance(value, tuple) and len(value) == 2 and all(isinstance(end, int | float) for end in value)
