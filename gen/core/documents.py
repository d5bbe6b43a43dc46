"""Reading files that others wrote: regular files alone, of bounded size; JSON and YAML of bounded depth.

A FIFO, a device without end, a sparse file, or text nested thousands deep would otherwise cost time or memory
without end before anything can be checked.
"""

import json
import os
import stat
from codecs import BOM_UTF8
from collections import Counter
from io import BufferedReader
from pathlib import Path
from typing import Any

import orjson
import yaml

MOST_BYTES = 64 << 20
"""Largest JSON document."""
MOST_YAML_BYTES = 256 << 10
"""Largest YAML document, about 25 times a whole configuration of the generator; its reader is slow."""
MOST_DEPTH = 32
"""Deepest nesting of lists and objects."""
MOST_VALUES = 2_000_000
"""Most values of a document, with what aliases of YAML repeat."""


class UnfitFile(OSError):
    """What is at a path is no regular file, or holds too much.

    Attributes:
        held: bytes that it holds, if it holds too much.
    """

    def __init__(self, text: str, held: int | None = None) -> None:
        super().__init__(text)
        self.held = held


def open_regular(path: Path) -> BufferedReader:
    """A regular file, open for reading; as :func:`read_regular`."""
    # Opening a FIFO would otherwise wait for somebody who writes.
    descriptor = os.open(path, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0))
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        os.close(descriptor)
        raise UnfitFile("is not a regular file")
    return os.fdopen(descriptor, "rb")


def read_regular(path: Path, most_bytes: int | None = None) -> bytes:
    """The content of a regular file; symbolic links are followed.

    Raises:
        UnfitFile: a folder, a FIFO or a device, or more than ``most_bytes``; nothing is read then.
        OSError: it cannot be read.
    """
    with open_regular(path) as file:
        if most_bytes is None:
            return file.read()
        size = os.fstat(file.fileno()).st_size
        content = file.read(size + 1) if size <= most_bytes else b""
        if len(content) > size:
            # It grows while it is read, or does not say its size.
            content += file.read(max(0, most_bytes + 1 - len(content)))
        held = max(size, len(content))
    if held > most_bytes:
        raise UnfitFile(f"holds {held} bytes, at most {most_bytes} are expected", held)
    return content


def read_text(path: Path, most_bytes: int = MOST_BYTES) -> str:
    """The text of a regular file in UTF-8.

    Raises:
        OSError: as of :func:`read_regular`.
        ValueError: it is not UTF-8.
    """
    return read_regular(path, most_bytes).decode("utf-8-sig")


def parse_json(content: bytes | str, *, by_hand: bool = False) -> Any:
    """The value of a JSON document in UTF-8.

    One that may be written by hand has no name twice, of which JSON would keep the last one.

    Raises:
        ValueError: not JSON (also NaN and infinities), or too large, too deep or of too many values.
    """
    content = (content.encode() if isinstance(content, str) else content).removeprefix(BOM_UTF8)
    _check_size(len(content), MOST_BYTES)
    # Every value is alone in the document or stands after one of these.
    opened = content.count(b"[") + content.count(b"{")
    _check_number(1 + opened + content.count(b",") + content.count(b":"))
    value = orjson.loads(content)
    if opened > MOST_DEPTH:
        _check_values(value)
    if by_hand:
        json.loads(content, object_pairs_hook=_check_names)
    return value


def _check_names(pairs: list[tuple[str, Any]]) -> None:
    if twice := [name for name, count in Counter(name for name, _ in pairs).items() if count > 1]:
        raise ValueError(f'"{twice[0]}" is given twice')


def parse_yaml(text: str) -> Any:
    """The value of a YAML document, of which JSON is a part.

    Raises:
        ValueError: not YAML, a name given twice, or too large, too deep or of too many values.
    """
    _check_size(len(text), MOST_YAML_BYTES)
    try:
        value = yaml.load(text, Loader=_BoundedLoader)
    except yaml.YAMLError as error:
        raise ValueError(f"not YAML or JSON: {' '.join(str(error).split())}") from error
    _check_values(value)
    return value


class _BoundedLoader(yaml.SafeLoader):
    """Stops at the depth limit, before the time that nesting costs grows with its square."""

    _depth = 0

    def compose_node(self, parent: Any, index: Any) -> Any:
        self._depth += 1
        _check_depth(self._depth - 1)
        node = super().compose_node(parent, index)
        self._depth -= 1
        return node

    def flatten_mapping(self, node: Any) -> None:
        # Merges of merges multiply before the values can be counted.
        if any(key.tag == "tag:yaml.org,2002:merge" for key, _ in node.value):
            raise yaml.YAMLError("merges (<<) are not read; write the values out")
        # YAML would keep the last one.
        names = Counter(key.value for key, _ in node.value if isinstance(key, yaml.ScalarNode))
        if twice := [name for name, count in names.items() if count > 1]:
            raise yaml.YAMLError(f"{twice[0]} is given twice")


def _check_values(value: Any) -> None:
    """Check depth and number of the values; those that are repeated count again."""
    level, number, depth = [value], 1, 0
    while inner := [each for each in level if isinstance(each, dict | list)]:
        _check_depth(depth + 1)
        number += sum(map(len, inner))
        _check_number(number)
        level = [entry for each in inner for entry in (each.values() if isinstance(each, dict) else each)]
        depth += 1


def _check_size(size: int, most: int) -> None:
    if size > most:
        raise ValueError(f"too large: {size} bytes, at most {most} are read")


def _check_depth(depth: int) -> None:
    if depth > MOST_DEPTH:
        raise ValueError(f"nested deeper than {MOST_DEPTH} levels")


def _check_number(number: int) -> None:
    if number > MOST_VALUES:
        raise ValueError(f"more than {MOST_VALUES} values")
