"""Which code trains: a digest that a comment does not change."""

import ast
import hashlib
from functools import cache
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
PACKAGES = ("gen", "train")
"""They make the samples and take the steps; what comes of the others, the sets, has digests of its own."""


@cache
def code_version(root: Path = ROOT) -> str:
    """SHA-256 of the sources of ``PACKAGES`` below ``root``, hexadecimal, without comments and docstrings.

    It is kept after the first call, so that it is that of the code which runs, whatever is pulled meanwhile.

    Raises:
        OSError: a source cannot be read.
    """
    whole = hashlib.sha256()
    for package in PACKAGES:
        for path in sorted((root / package).rglob("*.py")):
            whole.update(f"{path.relative_to(root).as_posix()}\n{_statements(path)}\n".encode())
    return whole.hexdigest()


def _statements(path: Path) -> str:
    """What a source does, in an order of its own: the syntax tree without strings that stand alone."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    for node in ast.walk(tree):
        body = getattr(node, "body", None)
        if isinstance(body, list):
            node.body = [entry for entry in body if not _is_text(entry)]  # type: ignore[attr-defined]
    return ast.dump(tree)


def _is_text(node: ast.stmt) -> bool:
    return (
        isinstance(node, ast.Expr)
        and isinstance(node.value, ast.Constant)
        and isinstance(node.value.value, str)
    )
