"""The hash of the code follows what decides about samples and weights, and not what comes after them."""

import ast
from pathlib import Path

import pytest
from synthspine.train.code_version import ROOT, code_version

from benchmarks.reality_code import code_hash

OF_THE_STEP = sorted(
    f"{node.module.replace('.', '/')}.py"
    for node in ast.parse((ROOT / "train" / "step.py").read_text(encoding="utf-8")).body
    if isinstance(node, ast.ImportFrom) and node.module is not None and node.module.startswith("train.")
)
DECIDING = [
    *OF_THE_STEP,
    "train/step.py",
    "train/answer.py",
    "train/augment.py",
    "train/feed.py",
    "gen/noise.py",
]
SCORING = [
    "eval/degrade.py",
    "eval/metrics.py",
    "benchmarks/reality_scoring.py",
    "benchmarks/reality_table.py",
]
STATEMENT = "\nADDED = 1\n"


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """Copies of the modules that are named here."""
    for name in (*DECIDING, *SCORING):
        copy = tmp_path / name
        copy.parent.mkdir(parents=True, exist_ok=True)
        copy.write_text((ROOT / name).read_text(encoding="utf-8"), encoding="utf-8")
    return tmp_path


def changed(project: Path, name: str, text: str) -> bool:
    """Whether the hash is another one once a module ends in some text."""
    before = fresh_hash(project)
    with (project / name).open("a", encoding="utf-8") as file:
        file.write(text)
    return fresh_hash(project) != before


def fresh_hash(project: Path) -> str:
    # Of the code that runs it is read once; here it changes.
    code_version.cache_clear()
    return code_hash(project)


def test_the_step_imports_what_it_is_known_to_need():
    assert {"train/deep_supervision.py", "train/loss.py", "train/unet.py"} <= set(OF_THE_STEP)


@pytest.mark.parametrize("name", DECIDING)
def test_a_statement_that_decides_about_the_weights_changes_the_hash(project, name):
    assert changed(project, name, STATEMENT)


@pytest.mark.parametrize("name", DECIDING[:2])
def test_a_comment_does_not_change_the_hash(project, name):
    assert not changed(project, name, "# only said\n")


@pytest.mark.parametrize("name", SCORING)
def test_scoring_does_not_change_the_hash(project, name):
    assert not changed(project, name, STATEMENT)


def test_the_hash_is_short_enough_for_the_name_of_a_file():
    assert len(code_hash()) == 12
