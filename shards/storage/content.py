"""Content that is checked before it is used: its length, and its SHA-256."""

import hashlib

LARGEST_TEXT = 64 * 2**20
"""Bytes of a manifest, a split or a note, at most; nobody reads more."""


class WrongContent(ValueError):
    """Content of another size or SHA-256 than requested; the text says which."""


def checked_content(content: bytes, sha256: str, size: int) -> bytes:
    """The same content.

    Raises:
        WrongContent: it is not of that size, in bytes, or not of that SHA-256.
    """
    if len(content) != size:
        raise WrongContent(f"{len(content)} bytes instead of {size}")
    if hashlib.sha256(content).hexdigest() != sha256:
        raise WrongContent("SHA-256 differs")
    return content


def check_size(size: int, most: int | None) -> None:
    """Raise WrongContent if there are more than ``most`` bytes, before they are read; None: any number."""
    if most is not None and size > most:
        raise WrongContent(f"more than {most} bytes")
