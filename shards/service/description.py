"""What the OpenAPI description says beyond the routes."""

from importlib import metadata
from typing import Any, get_args

from synthspine.gen.presets import PRESETS
from synthspine.shards.reading.rendered import SHA256_HEADER
from synthspine.shards.service.settings import SLIDERS, Features, Show, dotted_settings

_ABOUT = f"""Synthetic lumbar-spine MRI, rendered on demand. A shard is a function of (configuration, label
maps, seed, number) alone: every replica with the same versions and kind of device sends the same bytes.
Its ETag is a digest of all that determines it, and `{SHA256_HEADER}` the SHA-256 of the whole shard."""


def describe(token: bool) -> dict[str, Any]:
    """Title, version and text of the service."""
    access = " Data needs a bearer token." if token else ""
    return {
        "title": "SynthSpine",
        "version": metadata.version("synthspine"),
        "description": _ABOUT.replace("\n", " ") + access,
    }


def _parameter(name: str, text: str, schema: dict[str, Any]) -> dict[str, Any]:
    return {"name": name, "in": "query", "required": False, "description": text, "schema": schema}


def _kind(value: Any) -> dict[str, Any]:
    """Schema of a setting, by its value in the preset ``spine``; a range is text: ``[low,high]``."""
    if isinstance(value, bool):
        return {"type": "boolean", "default": value}
    if isinstance(value, int | float):
        return {"type": "number", "default": value}
    return {"type": "string", "default": value if isinstance(value, str) else str(value)}


def _preview_parameters() -> list[dict[str, Any]]:
    whole = {"type": "integer", "minimum": 0}
    return [
        _parameter("preset", "Base of the configuration; default: the service's", {"enum": list(PRESETS)}),
        _parameter(
            "features", "none: label maps in place, one grey per tissue", {"enum": list(get_args(Features))}
        ),
        *(
            _parameter(name, text, {"type": "number", "minimum": least, "maximum": greatest})
            for name, (text, least, greatest) in SLIDERS.items()
        ),
        _parameter("seed", "Seed of the draw; default: the service's", whole),
        _parameter("index", "Number of the sample", whole),
        _parameter("map", "Number of the label map", whole),
        _parameter("show", "What the picture shows", {"enum": list(get_args(Show))}),
        *(
            _parameter(name, "A setting of the generator (docs/generator.md)", _kind(value))
            for name, value in dotted_settings().items()
        ),
    ]


PREVIEW_PARAMETERS: dict[str, Any] = {
    "openapi_extra": {"parameters": _preview_parameters()},
    "responses": {
        200: {"description": "The picture", "content": {"image/png": {}}},
        400: {"description": "An unknown parameter, or a value out of bounds"},
        503: {"description": "Too much waits; Retry-After says when to come again"},
    },
}
CONFIG_PARAMETERS: dict[str, Any] = {"openapi_extra": {"parameters": _preview_parameters()}}
REFUSED: dict[int | str, dict[str, Any]] = {
    "4XX": {"description": "Refused; the text says why: 401 token, 404 name, 413 body, 414 and 431 length"}
}
MANIFEST_ANSWERS: dict[int | str, dict[str, Any]] = {
    200: {"description": "The manifest", "content": {"application/json": {}}},
    304: {"description": "Unchanged (If-None-Match)"},
}
SHARD_ANSWERS: dict[int | str, dict[str, Any]] = {
    200: {"description": "The shard, with its length", "content": {"application/x-tar": {}}},
    206: {"description": "A part of it (Range)"},
    304: {"description": "Unchanged (If-None-Match); nothing is rendered"},
    404: {"description": "No such set or shard"},
    412: {"description": "Another ETag than that of If-Match"},
    416: {"description": "The range begins behind the end"},
    500: {"description": "It could not be rendered; told before the first byte"},
    503: {"description": "Too much waits; Retry-After says when to come again"},
}
