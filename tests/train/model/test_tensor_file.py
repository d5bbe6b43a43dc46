"""Weights as safetensors, alone and in a folder in the layout of Hugging Face."""

import json
import math
import shutil

import pytest
import torch

safetensors = pytest.importorskip("safetensors", reason="safetensors is not installed; run make setup")

from safetensors.torch import load_file, save_file  # noqa: E402

from synthspine.gen import label_scheme  # noqa: E402
from synthspine.train.model.checkpoint import (  # noqa: E402
    Checkpoint,
    CheckpointError,
    load_checkpoint,
    load_model,
    save_checkpoint,
)
from synthspine.train.model.unet import seeded_unet  # noqa: E402


@pytest.fixture
def saved(tmp_path):
    network = seeded_unet(1, num_classes=4, base_features=4)
    checkpoint = Checkpoint(
        state_dict=network.state_dict(),
        architecture=network.architecture,
        model="A",
        config=json.dumps({"lr": 0.1}),
        step=3,
        validation_dice=math.nan,
        spacing_mm=1.0,
        scheme=label_scheme("structures").to_dict(),
    )
    path = tmp_path / "weights.safetensors"
    save_checkpoint(path, checkpoint)
    return path, checkpoint


def test_both_formats_hold_the_same(saved, tmp_path):
    path, checkpoint = saved
    save_checkpoint(tmp_path / "weights.pth", checkpoint)
    first, second = load_checkpoint(path), load_checkpoint(tmp_path / "weights.pth")
    assert all(torch.equal(first.state_dict[name], value) for name, value in second.state_dict.items())
    for name in ("architecture", "model", "config", "step", "spacing_mm", "scheme"):
        assert getattr(first, name) == getattr(second, name)
    assert first.label_scheme() == second.label_scheme()  # in order, too
    assert math.isnan(first.validation_dice)
    before = path.read_bytes()
    save_checkpoint(path, first)
    assert path.read_bytes() == before


def test_other_programs_read_the_weights(saved):
    path, checkpoint = saved
    assert load_file(path).keys() == checkpoint.state_dict.keys()


def test_a_folder_is_read_by_its_one_file_or_by_the_usual_name(saved):
    path, checkpoint = saved
    (path.parent / "README.md").write_text("# card")
    assert load_model(path.parent).checkpoint.step == checkpoint.step
    shutil.copy(path, path.with_name("model.safetensors"))
    path.write_bytes(b"damaged")
    assert load_model(path.parent).checkpoint.step == checkpoint.step
    path.with_name("model.safetensors").rename(path.with_name("another.safetensors"))
    with pytest.raises(CheckpointError, match=r"holds 2 .safetensors files"):
        load_model(path.parent)


def test_a_damaged_file_is_refused_by_name(saved):
    path, _ = saved
    whole = path.read_bytes()
    flipped = bytearray(whole)
    flipped[-100] ^= 4
    for content in (bytes(flipped), whole[:-1], whole[:100], b""):
        path.write_bytes(content)
        with pytest.raises(CheckpointError, match=r"weights.safetensors: damaged"):
            load_checkpoint(path)


def test_the_weights_of_another_program_are_refused(saved, tmp_path):
    _, checkpoint = saved
    other = tmp_path / "other.safetensors"
    save_file(checkpoint.state_dict, other)
    with pytest.raises(CheckpointError, match="does not say what network"):
        load_checkpoint(other)
