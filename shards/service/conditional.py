"""Conditions and ranges of a request, as RFC 9110 has them: what is asked for of a file of known length."""

import re

_RANGE = re.compile(r"bytes\s*=\s*(\d{0,18})\s*-\s*(\d{0,18})\s*", re.IGNORECASE)
_TAG = re.compile(r'(?:W/)?("[^"]*")')


class Unsatisfiable(Exception):
    """No byte of the file lies in the range."""


def names_tag(header: str | None, etag: str) -> bool:
    """Whether an ``If-None-Match`` or ``If-Match`` header names this ETag, or any."""
    if header is None:
        return False
    return header.strip() == "*" or etag in _TAG.findall(header)


def asked_range(header: str | None, if_range: str | None, etag: str, size: int) -> tuple[int, int] | None:
    """First byte and end (excluded) of the part that is asked for, None for the whole file.

    Several ranges, other units and what cannot be read are ignored, as the standard allows; so is a range of
    another version (``If-Range``).

    Args:
        header: ``Range``.
        if_range: ``If-Range``; only a strong ETag can hold.
        etag: of the file.
        size: of the file, bytes.

    Raises:
        Unsatisfiable: the range begins behind the end.
    """
    found = _RANGE.fullmatch(header.strip()) if header else None
    if found is None or (if_range is not None and if_range.strip() != etag):
        return None
    first, last = found.groups()
    if not first and not last:
        return None
    if not first:
        length = min(int(last), size)
        start, stop = size - length, size
    else:
        start, stop = int(first), min(int(last) + 1, size) if last else size
        if last and int(last) < start:
            return None
    if start >= size or start >= stop:
        raise Unsatisfiable
    return start, stop
