"""Which code made a run: the digest that trainings are told apart by, short enough for a file's name.

All of ``gen`` and ``train`` counts, but no comment. Scoring does not: the checkpoints can be scored again.
"""

from pathlib import Path

from synthspine.train.code_version import ROOT, code_version

from benchmarks.reality_arms import HASH_DIGITS


def code_hash(root: Path = ROOT) -> str:
    """Beginning of :func:`train.code_version.code_version`, which is read once per process.

    Args:
        root: folder of the repository.

    Raises:
        OSError: a source cannot be read.
    """
    return code_version(root)[:HASH_DIGITS]
