"""Measurements that were made before: one small file each, known by everything that they depend on.

A key holds the digest of the checkpoint, the identity of the set, the slices, the change of the input, and a
digest of the code and the versions that measure. An entry that cannot be read, was cut off or changed, or
belongs to another key is measured again.
"""

import ast
import hashlib
import json
from functools import cache
from importlib import metadata
from pathlib import Path
from typing import Any

from synthspine.shards.format.manifest import digest_of
from synthspine.shards.storage.atomic import write_text

ROOT = Path(__file__).parents[1]
PACKAGES = ("gen", "shards", "train", "eval")
SOFTWARE = ("torch", "numpy", "scipy", "monai")
"""Packages that numbers may depend on."""


class Cache:
    """Values by key in a folder.

    Args:
        folder: where the entries lie; made when the first is written.
        fresh: find nothing, and write everything anew.
    """

    def __init__(self, folder: Path, *, fresh: bool = False) -> None:
        self._folder = folder
        self._fresh = fresh

    def find(self, key: dict[str, Any]) -> Any | None:
        """The value that was kept under a key; None where there is none that can be trusted."""
        if self._fresh:
            return None
        try:
            entry = json.loads(self._file(key).read_text(encoding="utf-8"))
            whole = entry["key"] == key and entry["sha256"] == digest_of(entry["value"])
            return entry["value"] if whole else None
        except (OSError, ValueError, KeyError, TypeError):
            return None

    def keep(self, key: dict[str, Any], value: Any) -> None:
        """Write a value, whole or not at all.

        Args:
            key: JSON-able.
            value: JSON-able and not None, without nan.

        Raises:
            OSError: it cannot be written.
        """
        entry = {"key": key, "sha256": digest_of(value), "value": value}
        write_text(self._file(key), json.dumps(entry, allow_nan=False) + "\n")

    def _file(self, key: dict[str, Any]) -> Path:
        return self._folder / f"{digest_of(key)[:40]}.json"


def file_digest(path: Path) -> str:
    """SHA-256 of a file, hexadecimal."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def is_file_of(path: Path, sha256: str) -> bool:
    """Whether a file is there and is the one that was written, and not another one under its name."""
    return path.is_file() and file_digest(path) == sha256


@cache
def code_version(*modules: str) -> str:
    """Digest of modules, of all that they import from the project, and of the versions of what they use."""
    whole = hashlib.sha256()
    for name in sorted(modules_behind(modules)):
        path = _source(name)
        if path is not None:
            whole.update(f"{name}:{file_digest(path)}\n".encode())
    for name in SOFTWARE:
        whole.update(f"{name} {metadata.version(name)}\n".encode())
    return whole.hexdigest()


def modules_behind(names: tuple[str, ...]) -> set[str]:
    """These modules of the project and all that they import, by their sources."""
    found: set[str] = set()
    waiting = list(names)
    while waiting:
        name = waiting.pop()
        path = _source(name)
        if name in found or path is None:
            continue
        found.add(name)
        waiting += _imported(path)
    return found


@cache
def _imported(path: Path) -> tuple[str, ...]:
    """What a source may import, wherever in it the statement stands."""
    names: list[str] = []
    # Imports are statements: expressions, most of a tree, need not be looked into.
    waiting: list[ast.AST] = [ast.parse(path.read_text(encoding="utf-8"))]
    while waiting:
        node = waiting.pop()
        if isinstance(node, ast.ImportFrom) and node.module:
            names += [node.module, *(f"{node.module}.{alias.name}" for alias in node.names)]
        elif isinstance(node, ast.Import):
            names += [alias.name for alias in node.names]
        waiting += [
            child
            for block in ("body", "orelse", "finalbody", "handlers", "cases")
            for child in _block(node, block)
        ]
    return tuple(names)


def _block(node: ast.AST, name: str) -> list[ast.AST]:
    """Statements below a node; the body of a lambda is an expression and no list."""
    found = getattr(node, name, [])
    return found if isinstance(found, list) else []


def _source(module: str) -> Path | None:
    """Source of a module of the project; None for anything else."""
    if module.partition(".")[0] not in PACKAGES:
        return None
    path = ROOT.joinpath(*module.split("."))
    return next((p for p in (path.with_suffix(".py"), path / "__init__.py") if p.is_file()), None)
