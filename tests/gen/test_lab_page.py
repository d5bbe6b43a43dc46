"""The examples of docs/lab.md, as written."""

import re
from pathlib import Path

import numpy as np
import pytest
import torch

from synthspine.shards.readers.spider import write_mha
from synthspine.train.model.checkpoint import load_model
from synthspine.train.model.pretrained import PRETRAINED

ROOT = Path(__file__).parents[2]
EXAMPLES = re.findall(r"```python\n(.*?)```", (ROOT / "docs" / "lab.md").read_text("utf-8"), re.DOTALL)


@pytest.fixture
def in_a_folder(tmp_path, monkeypatch):
    """A folder with a mask in SPIDER values."""
    mask = np.zeros((3, 60, 48), dtype=np.int16)
    mask[:, 10:22, 16:26], mask[:, 22:25, 16:26], mask[:, 6:56, 28:32] = 2, 202, 100
    write_mha(mask, (4.0, 2.0, 2.0), "PIR", tmp_path / "mask.nii.gz")
    monkeypatch.chdir(tmp_path)


def run(example):
    names = {}
    exec(compile(example, "docs/lab.md", "exec"), names)
    return names


def test_the_weights_are_loaded():
    pytest.importorskip("safetensors", reason="safetensors is not installed; run make setup")
    names = run(EXAMPLES[0].replace("models/pretrained", str(PRETRAINED.parent)))
    assert names["model"].scheme == load_model(PRETRAINED).scheme


def test_the_example_of_torchio_gives_the_same_picture_twice(in_a_folder):
    pytest.importorskip("torchio", reason="torchio is not installed: pip install 'synthspine[interop]'")
    names = run(EXAMPLES[1])
    assert torch.equal(names["subject"].image.data, names["again"].image.data)


def test_the_example_of_monai_gives_a_batch(in_a_folder):
    pytest.importorskip("monai", reason="monai is not installed: pip install 'synthspine[interop]'")
    batch = run(EXAMPLES[2])["batch"]
    assert batch["image"].shape == batch["label"].shape and batch["image"].std() > 0.05
