"""Public names of a package that are loaded on first use, so that importing one does not import them all."""

import ast
import sys
from collections.abc import Callable
from importlib import import_module
from pathlib import Path
from typing import Any


def on_first_use(package: str) -> Callable[[str], Any]:
    """The ``__getattr__`` of a package: loads the names that its ``__init__`` imports for type checkers.

    The ``__init__`` of the package has them below ``if TYPE_CHECKING:``.
    """
    module = sys.modules[package]
    tree = ast.parse(Path(str(module.__file__)).read_bytes())
    source = {
        alias.name: statement.module
        for block in tree.body
        if isinstance(block, ast.If)
        for statement in block.body
        if isinstance(statement, ast.ImportFrom)
        for alias in statement.names
    }

    def load(name: str) -> Any:
        if (place := source.get(name)) is None:
            raise AttributeError(f"module {package!r} has no attribute {name!r}")
        value = getattr(import_module(place), name)
        setattr(module, name, value)
        return value

    return load
