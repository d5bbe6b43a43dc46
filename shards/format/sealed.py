"""JSON documents that carry their own digest, so that a change after they were written is noticed."""

from typing import Any

from synthspine.gen.core.documents import parse_json
from synthspine.shards.format.provenance import digest_of

SEAL = "sha256"
"""Entry of a sealed document: SHA-256 of its other entries (:func:`shards.format.provenance.digest_of`)."""


class BrokenSeal(ValueError):
    """A document without its digest, or with that of other entries; the text says which."""


def sealed(fields: dict[str, Any]) -> dict[str, Any]:
    """The same document with its digest."""
    return {**fields, SEAL: digest_of(fields)}


def unsealed(fields: dict[str, Any]) -> dict[str, Any]:
    """A sealed document without its digest.

    Raises:
        BrokenSeal: it has no digest, or not its own.
    """
    inner = {name: value for name, value in fields.items() if name != SEAL}
    if len(inner) == len(fields):
        raise BrokenSeal("it has no SHA-256 of its own")
    if fields[SEAL] != digest_of(inner):
        raise BrokenSeal("its SHA-256 is not that of its entries: it was changed after it was written")
    return inner


def read_sealed(content: bytes) -> dict[str, Any]:
    """The entries of a sealed document that was read.

    Raises:
        ValueError: not JSON, or out of its bounds (:mod:`gen.core.documents`), or no object.
        BrokenSeal: as of :func:`unsealed`.
    """
    fields = parse_json(content)
    if not isinstance(fields, dict):
        raise ValueError("an object is expected")
    return unsealed(fields)
