"""The one command, ``synthspine``: its subcommands, and what each of them needs to be installed."""

import os
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import numpy as np
import pytest

from synthspine.__main__ import COMMANDS, main
from synthspine.shards.readers.spider import write_mha
from synthspine.train.model.pretrained import PRETRAINED
from synthspine.train.release import digest_file

ROOT = Path(__file__).parents[1]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
EXTRAS = ("shards", "train", "eval", "serve", "s3", "onnx")
WITHOUT_EXTRAS = """
import runpy, sys
class Missing:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in {missing}:
            raise ModuleNotFoundError(f"No module named {{name!r}}", name=name)
sys.meta_path.insert(0, Missing())
runpy.run_module("synthspine", run_name="__main__", alter_sys=True)
"""


def of_extras():
    """Import names of the packages of all extras."""
    lines = [line for extra in EXTRAS for line in PROJECT["optional-dependencies"][extra]]
    names = {re.split(r"[>\[]", line)[0].replace("-", "_").lower() for line in lines}
    return names - {"synthspine"}


def told(capsys, monkeypatch, *words):
    """Exit status and output of ``synthspine`` with some words."""
    monkeypatch.setattr(sys, "argv", ["synthspine", *words])
    try:
        status = main()
    except SystemExit as end:
        status = end.code
    return status, "".join(capsys.readouterr())


@pytest.fixture
def slices(tmp_path):
    """A scan and a label map of one slice each."""
    draw = np.random.Generator(np.random.PCG64(0))
    write_mha(
        draw.integers(0, 1000, (1, 64, 48)).astype(np.int16), (4.0, 2.0, 2.0), "LPS", tmp_path / "scan.mha"
    )
    labels = np.zeros((1, 64, 48), dtype=np.uint8)
    labels[0, 20:30, 10:24], labels[0, 10:50, 28:33] = 1, 100
    write_mha(labels, (4.0, 2.0, 2.0), "LPS", tmp_path / "labels.mha")
    return tmp_path


@pytest.mark.parametrize("words", [(), ("--help",)])
def test_the_help_names_every_command_and_what_it_does(capsys, monkeypatch, words):
    status, text = told(capsys, monkeypatch, *words)
    assert status == 0
    for name, (_, about) in COMMANDS.items():
        assert f"{name} " in text and about in text


def test_the_version_names_package_weights_and_torch(capsys, monkeypatch):
    digest = digest_file(PRETRAINED).read_text()[:12]
    status, text = told(capsys, monkeypatch, "--version")
    assert status == 0
    assert text.startswith(f"synthspine {PROJECT['version']}, weights synthspine_a3.pth {digest}, torch 2.")


def test_an_unknown_command_is_refused_with_the_known_ones(capsys, monkeypatch):
    status, text = told(capsys, monkeypatch, "predikt")
    assert status == 2 and "predikt" in text and "predict" in text


def test_a_command_gets_its_words_and_its_own_name(capsys, monkeypatch):
    status, text = told(capsys, monkeypatch, "config", "t1", "--format", "yaml")
    assert status == 0 and "measured_weight: 1.0" in text
    status, text = told(capsys, monkeypatch, "config", "--help")
    assert status == 0 and "usage: synthspine config" in text


@pytest.mark.parametrize(("command", "extra"), [("shards", "shards"), ("train", "train"), ("demo", "eval")])
def test_a_missing_extra_is_named(capsys, monkeypatch, command, extra):
    monkeypatch.setitem(COMMANDS, command, ("not_there", ""))
    status, text = told(capsys, monkeypatch, command)
    assert status == 1
    assert text == f"error: synthspine.not_there is not installed: pip install 'synthspine[{extra}]'\n"


@pytest.mark.parametrize("words", [("predict", "scan.mha", "--overlay"), ("synth", "labels.mha")])
def test_prediction_and_rendering_need_no_extra(slices, words):
    program = WITHOUT_EXTRAS.format(missing=of_extras())
    done = subprocess.run(
        [sys.executable, "-c", program, *words],
        cwd=slices,
        env=os.environ | {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    assert "wrote results/" in done.stdout
