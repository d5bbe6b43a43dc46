"""Which code made a run: a hash that comments and documentation do not change."""

import ast
import hashlib
from functools import cache
from pathlib import Path

from benchmarks.reality_arms import HASH_DIGITS

ROOT = Path(__file__).resolve().parents[1]
TRAINING = ("augment", "ema", "feed", "instance_norm", "loss", "schedule", "step", "unet")
"""Modules of ``train`` that the weights depend on; all of ``gen`` counts too."""


@cache
def code_hash(root: Path = ROOT) -> str:
    """Hash of the modules that decide about samples and weights, short, hexadecimal; read once per process.

    Args:
        root: folder of the repository.
    """
    files = [*sorted((root / "gen").glob("*.py")), *(root / "train" / f"{name}.py" for name in TRAINING)]
    digest = hashlib.sha256()
    for file in files:
        digest.update(f"{file.relative_to(root)}\n{_bare(file.read_text(encoding='utf-8'))}\n".encode())
    return digest.hexdigest()[:HASH_DIGITS]


def _bare(text: str) -> str:
    """The syntax tree of a module without texts that stand alone."""
    tree = ast.parse(text)
    for node in ast.walk(tree):
        body = getattr(node, "body", None)
        if isinstance(body, list):
            node.body = [entry for entry in body if not _is_text(entry)] or [ast.Pass()]  # type: ignore[attr-defined]
    return ast.dump(tree)


def _is_text(node: ast.AST) -> bool:
    return (
        isinstance(node, ast.Expr)
        and isinstance(node.value, ast.Constant)
        and isinstance(node.value.value, str)
    )
