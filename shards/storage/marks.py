"""Marks in files by which the program knows that it wrote them, as long as nobody changes what they hold."""

import re
from hashlib import blake2b

_MARK = re.compile(rb"SynthSpine [a-z]+ [0-9a-f]{32}")
_HEX_BYTES = 16


def mark(kind: str, content: bytes) -> str:
    """The mark of a file of that kind (one word in lower case): ASCII, short enough for every header.

    NIfTI has 80 bytes for a description. ``content`` is what the mark vouches for; not the whole file,
    because the mark is a part of that.
    """
    return f"SynthSpine {kind} {blake2b(content, digest_size=_HEX_BYTES).hexdigest()}"


def find_mark(header: bytes) -> str | None:
    """The first mark in the header of a file, None if it has none."""
    found = _MARK.search(header)
    return found[0].decode() if found else None
