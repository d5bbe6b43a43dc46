"""A released model: half precision, no paths, a digest that fits; and what happens when it does not."""

import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from synthspine.shards.storage.atomic import file_digest
from synthspine.train.model.checkpoint import (
    Checkpoint,
    CheckpointError,
    load_checkpoint,
    load_model,
    save_checkpoint,
)
from synthspine.train.model.unet import UNet
from synthspine.train.release import check_digest, digest_file, mixed, release, without_paths

ROOT = Path(__file__).resolve().parents[2]
CONFIG = {
    "lr": 0.003,
    "save_dir": "/home/somebody/models",
    "generator": "ab12",
    "shards": {"data_dir": "/home/somebody/spider", "split": "/home/somebody/split.json", "seed": 42},
}


@pytest.fixture
def source(tmp_path: Path) -> Path:
    torch.manual_seed(0)
    network = UNet(num_classes=4)
    path = tmp_path / "best.pth"
    save_checkpoint(
        path,
        Checkpoint(
            state_dict=network.state_dict(),
            architecture=network.architecture,
            model="A",
            config=json.dumps(CONFIG),
            step=7,
            validation_dice=0.5,
            spacing_mm=1.0,
        ),
    )
    return path


def test_the_copy_is_small_and_answers_the_same(source: Path, tmp_path: Path) -> None:
    target = tmp_path / "models" / "released.pth"
    release(source, target)
    assert target.stat().st_size < 0.6 * source.stat().st_size
    image = torch.rand(2, 1, 64, 48, generator=torch.Generator().manual_seed(1))
    with torch.no_grad():
        was, now = (load_model(path)(image).softmax(1) for path in (source, target))
    assert now.dtype == torch.float32
    assert (was - now).abs().max() < 0.01
    assert not torch.equal(was, now)


def test_the_other_format_and_the_bundle_hold_the_same(source: Path, tmp_path: Path) -> None:
    packed = release(source, tmp_path / "released.pth", tmp_path / "bundle")
    other = tmp_path / "released.safetensors"
    check_digest(other)
    bundled = torch.load(tmp_path / "bundle" / "models" / "model.pt", weights_only=True)
    for name, value in load_model(other).state_dict().items():
        assert torch.equal(value, packed.state_dict[name].float())
        assert torch.equal(value, bundled[name])


def test_no_path_is_left_and_all_else_stays(source: Path, tmp_path: Path) -> None:
    packed = release(source, tmp_path / "released.pth")
    assert "somebody" not in packed.config
    assert json.loads(packed.config) == {"lr": 0.003, "generator": "ab12", "shards": {"seed": 42}}
    assert (packed.model, packed.step, packed.spacing_mm) == ("A", 7, 1.0)
    assert b"somebody" not in (tmp_path / "released.pth").read_bytes()


def test_the_digest_fits_until_a_byte_changes(source: Path, tmp_path: Path) -> None:
    target = tmp_path / "released.pth"
    release(source, target)
    check_digest(target)
    data = bytearray(target.read_bytes())
    data[len(data) // 2] ^= 1
    target.write_bytes(data)
    with pytest.raises(CheckpointError, match=r"released\.pth: SHA-256 is"):
        check_digest(target)
    digest_file(target).unlink()
    with pytest.raises(CheckpointError, match="no released model"):
        check_digest(target)


def test_a_configuration_without_paths_is_left_alone() -> None:
    assert json.loads(without_paths('{"a": [1, 2], "b": {"c": null}}')) == {"a": [1, 2], "b": {"c": None}}


def test_the_command_says_what_it_wrote(source: Path, tmp_path: Path) -> None:
    command = [sys.executable, "train/release.py", str(source), str(tmp_path / "released.pth")]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert "wrote" in done.stdout
    bad = subprocess.run(
        [*command[:2], str(tmp_path / "none.pth"), command[3]], cwd=ROOT, capture_output=True, text=True
    )
    assert bad.returncode == 1
    assert "none.pth: no such checkpoint" in bad.stderr


def test_weights_of_checkpoints_are_mixed_by_their_shares(source: Path, tmp_path: Path) -> None:
    first = load_checkpoint(source)
    others = []
    for factor, patients in ((2, ["7"]), (10, ["3", "8"])):
        more = {name: factor * value for name, value in first.state_dict.items()}
        config = json.dumps(CONFIG | {"train_patients": patients})
        others.append(tmp_path / f"{factor}.pth")
        save_checkpoint(others[-1], replace(first, state_dict=more, config=config))
    target = tmp_path / "mixed.pth"
    release(source, target, mix=((others[0], 0.25), (others[1], 0.5)))
    for name, value in load_model(target).state_dict().items():
        torch.testing.assert_close(value, 5.75 * first.state_dict[name], atol=1e-3, rtol=1e-3)
    config = json.loads(load_checkpoint(target).config)
    assert config["train_patients"] == ["3", "7", "8"]
    assert config["mixed_with"] == [
        {"sha256": file_digest(path), "share": share} for path, share in zip(others, (0.25, 0.5), strict=True)
    ]


def test_what_cannot_be_mixed_is_refused(source: Path) -> None:
    first = load_checkpoint(source)
    other = replace(first, architecture=first.architecture | {"levels": 4})
    with pytest.raises(CheckpointError, match="same network"):
        mixed(first, [(other, 0.5)])
    for shares in ([1.5], [-0.5], [0.6, 0.4], [float("nan")]):
        with pytest.raises(ValueError, match="above 0"):
            mixed(first, [(first, share) for share in shares])


def test_shares_are_given_on_the_command_line(source: Path, tmp_path: Path) -> None:
    command = [sys.executable, "train/release.py", str(source), str(tmp_path / "mixed.pth"), "--mix"]
    done = subprocess.run(
        [*command, str(source), "0.25", str(source), "0.5"], cwd=ROOT, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    assert [
        part["share"] for part in json.loads(load_checkpoint(tmp_path / "mixed.pth").config)["mixed_with"]
    ] == [0.25, 0.5]
