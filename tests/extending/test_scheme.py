"""The page on label schemes: its file is trained by the command, and gives targets in Python."""

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from extending_page import ROOT, block

from synthspine.gen import SpineSynthGenerator
from synthspine.gen.core.anatomy import CANAL, IGNORE, disc_code, vertebra_code
from synthspine.shards.readers.spider import write_mha
from synthspine.train import load_model

NAMES = ("background", "vertebral body", "posterior elements", "sacrum", "disc", "canal")


@pytest.fixture
def scheme(tmp_path: Path) -> Path:
    """The file of the page."""
    text = block("A label scheme", "yaml")
    path = tmp_path / "bones.yaml"
    path.write_text(text, encoding="utf-8")
    return path


def spine() -> np.ndarray:
    """Two vertebrae with arches, their discs and a canal, dense codes, ``(64, 48)``."""
    codes = np.zeros((64, 48), dtype=np.uint8)
    for rank, top in ((2, 8), (1, 24)):
        codes[top : top + 12, 8:20] = codes[top + 4 : top + 12, 30:36] = vertebra_code(rank)
        codes[top + 12 : top + 16, 8:20] = disc_code(rank)
    codes[4:56, 22:28] = CANAL
    return codes


def test_the_command_trains_the_scheme_and_the_checkpoint_knows_it(tmp_path, scheme):
    values = np.zeros(256, dtype=np.int16)
    values[[1, 2, 31, 32, CANAL]] = 1, 2, 201, 202, 100
    mask = np.repeat(values[spine()][None], 3, axis=0)
    for patient in range(1, 5):
        write_mha(mask, (4.0, 4.0, 4.0), "LPS", tmp_path / "data" / "masks" / f"{patient}_t1.mha")
    command = [
        *(
            sys.executable,
            "train/main.py",
            "--model",
            "A",
            "--scheme",
            scheme,
            "--data-dir",
            tmp_path / "data",
        ),
        *("--shards-dir", tmp_path / "shards", "--save-dir", tmp_path / "saved", "--device", "cpu"),
        *("--epochs", 2, "--base-features", 4, "--batch-size", 4, "--validation-samples", 4),
        *("--precision", "fp32", "--spacing-mm", 4, "--shape", 64, 48, "--no-tensorboard"),
    ]
    done = subprocess.run(
        [*map(str, command)],
        cwd=ROOT,
        env=os.environ | {"OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    model = load_model(tmp_path / "saved" / "model_a_synthetic_best.pth")
    assert model.scheme.class_names == NAMES and model.scheme.structure_names == ("bone", "disc", "canal")
    with torch.inference_mode():
        assert model(torch.rand(1, 1, 64, 48)).shape == (1, len(NAMES), 64, 48)
    header = (tmp_path / "saved" / "model_a_synthetic_log.csv").read_text().splitlines()[0]
    assert "dice_bone,dice_disc,dice_canal,dice" in header


def test_the_generator_gives_its_targets(scheme):
    generator = SpineSynthGenerator("T1", labels="dense", targets=scheme)
    _, targets = generator.sample(spine(), indices=range(8))
    assert set(np.unique(targets)) == {*range(len(NAMES)), IGNORE}
