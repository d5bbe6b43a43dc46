"""JSON schemas of manifests and records."""

import functools
import json
from pathlib import Path
from typing import Any, Literal

import jsonschema

_FOLDER = Path(__file__).with_name("schemas")


def problem(value: Any, schema: Literal["manifest", "record"]) -> str | None:
    """What is wrong with a value, in one line that names the entry; None if it follows the schema.

    Args:
        value: parsed JSON.
        schema: name of a file in ``shards/schemas``.
    """
    error = jsonschema.exceptions.best_match(_validator(schema).iter_errors(value))
    if error is None:
        return None
    where = "/".join(str(part) for part in error.absolute_path)
    text = error.message if len(error.message) <= 200 else f"{error.message[:200]}..."
    return f"{where}: {text}" if where else text


@functools.cache
def _validator(schema: str) -> Any:
    rules = json.loads((_FOLDER / f"{schema}.json").read_text(encoding="utf-8"))
    kind = jsonschema.validators.validator_for(rules)
    kind.check_schema(rules)
    return kind(rules)
