"""The command that segments scans, as a process."""

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk
from dicom_files import AXIAL, write_series
from limits import file_size_limit

from synthspine.train.model.checkpoint import SNAPSHOT_FORMAT, write_payload

ROOT = Path(__file__).parents[3]


def run(*arguments):
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    words = [word if isinstance(word, bytes) else str(word) for word in arguments]
    command = [sys.executable, "eval/predict.py", *words]
    return subprocess.run(
        command, cwd=ROOT, env=environment, capture_output=True, encoding="utf-8", check=False
    )


def test_command_writes_and_says_where(tmp_path, checkpoint, image_file):
    image = image_file()
    result = run(image, "--checkpoint", checkpoint, "--output-dir", tmp_path / "out")
    assert result.returncode == 0, result.stderr
    assert f"wrote {tmp_path / 'out' / '7_t1_seg.mha'}" in result.stdout
    assert "predict: 100%" in result.stderr and "1/1" in result.stderr


def test_command_names_the_checkpoint_of_a_training_snapshot(tmp_path, image_file):
    snapshot = tmp_path / "model_a_synthetic_last-00000120.pth"
    write_payload(snapshot, {"format": SNAPSHOT_FORMAT})
    result = run(image_file(), "--checkpoint", snapshot, "--output-dir", tmp_path / "out")
    assert result.returncode == 1
    (line,) = [line for line in result.stderr.splitlines() if "error" in line]
    assert f"{snapshot}: a training snapshot" in line and "model_a_synthetic_best.pth" in line
    assert "Traceback" not in result.stderr


def test_command_tells_failed_scans_at_the_end(tmp_path, checkpoint, image_file):
    wrong = tmp_path / "text.mha"
    wrong.write_text("this is text")
    result = run(wrong, image_file(), "--checkpoint", checkpoint, "--output-dir", tmp_path / "out")
    assert result.returncode == 1
    assert f"wrote {tmp_path / 'out' / '7_t1_seg.mha'}" in result.stdout
    *_, failed, error = result.stderr.splitlines()
    assert failed.startswith(f"failed: {wrong}: cannot be read")
    assert error == "error: 1 of 2 scans could not be predicted"
    assert "Traceback" not in result.stderr


def test_command_says_in_one_line_what_is_wrong_with_the_checkpoint(tmp_path, image_file):
    wrong = tmp_path / "text.pth"
    wrong.write_text("this is text")
    result = run(image_file(), "--checkpoint", wrong, "--output-dir", tmp_path / "out")
    assert result.returncode == 1
    (line,) = [line for line in result.stderr.splitlines() if "error" in line]
    assert str(wrong) in line
    assert "Traceback" not in result.stderr


@pytest.mark.slow
def test_command_exports_without_a_scan(tmp_path, checkpoint):
    result = run("--checkpoint", checkpoint, "--onnx", tmp_path / "net.onnx")
    assert result.returncode == 0, result.stderr
    assert result.stdout == f"wrote {tmp_path / 'net.onnx'}\n"
    assert (tmp_path / "net.onnx").stat().st_size > 10_000


def test_a_mask_that_is_cut_off_leaves_the_older_one(tmp_path, checkpoint, image_file):
    image, out = image_file(), tmp_path / "out"
    first = run(image, "--checkpoint", checkpoint, "--output-dir", out)
    assert first.returncode == 0, first.stderr
    before = {path.name: path.read_bytes() for path in out.iterdir()}
    with file_size_limit(100):
        again = run(image, "--checkpoint", checkpoint, "--output-dir", out)
    assert again.returncode == 1
    assert (
        "wrote" not in again.stdout and "File too large" in again.stderr and "Traceback" not in again.stderr
    )
    assert {path.name: path.read_bytes() for path in out.iterdir()} == before


def test_command_asks_for_a_spacing_that_is_not_given_and_takes_it(tmp_path, checkpoint, image_file):
    image, out = image_file(), tmp_path / "out"
    image.write_bytes(image.read_bytes().replace(b"ElementSpacing", b"Comment", 1))
    asked = run(image, "--checkpoint", checkpoint, "--output-dir", out)
    assert asked.returncode == 1
    assert f"failed: {image}: gives no voxel size; tell it with --spacing-mm Z Y X" in asked.stderr
    told = run(image, "--checkpoint", checkpoint, "--output-dir", out, "--spacing-mm", 4, 1.5, 1.25)
    assert told.returncode == 0, told.stderr
    assert json.loads((out / "7_t1_seg.json").read_text())["spacing_mm"] == [4.0, 1.5, 1.25]
    assert sitk.ReadImage(str(out / "7_t1_seg.mha")).GetSpacing() != (1.0, 1.0, 1.0)


def test_a_name_that_is_no_text_is_told_and_the_others_go_on(tmp_path, checkpoint, image_file):
    folder = tmp_path / "in"
    folder.mkdir()
    image_file().rename(folder / "7_t1.mha")
    os.link(folder / "7_t1.mha", os.fsencode(folder) + b"/m\xe4dchen.mha")
    result = run(folder, "--checkpoint", checkpoint, "--output-dir", tmp_path / "out")
    assert result.returncode == 1
    assert f"wrote {tmp_path / 'out' / '7_t1_seg.mha'}" in result.stdout
    *_, failed, error = result.stderr.splitlines()
    assert failed == f"failed: {folder}/m\\udce4dchen.mha: the name is not text in UTF-8; rename it"
    assert error == "error: 1 of 2 scans could not be predicted"
    named = run(os.fsencode(folder) + b"/m\xe4dchen.mha", "--checkpoint", checkpoint)
    assert named.returncode == 1 and "the name is not text in UTF-8" in named.stderr


def test_broken_series_that_are_not_sagittal_are_no_failure(tmp_path, checkpoint):
    array = np.random.default_rng(0).integers(0, 1000, (4, 60, 50)).astype(np.int16)
    study, out = tmp_path / "study", tmp_path / "out"
    write_series(study, array, uid="1.1", number="3", description="T1 sag")
    write_series(study, array, uid="1.2", number="4", axes=AXIAL, positions=[0.0, 0.0, 4.0, 90.0])
    scout = write_series(study, array, uid="1.3", number="1", description="Scout")
    scout[0].write_bytes(scout[0].read_bytes()[:-500])
    result = run(study, "--checkpoint", checkpoint, "--output-dir", out, "--always", "--format", "nii.gz")
    assert result.returncode == 0, result.stderr
    assert f"wrote {out / 'study_3-T1-sag_seg.nii.gz'}" in result.stdout
    skipped = [line for line in result.stdout.splitlines() if line.startswith("skipped: ")]
    assert len(skipped) == 2 and "axial slices" in skipped[1] and "localizer (series 1 Scout)" in skipped[0]
    assert "\r" not in result.stderr and "failed" not in result.stderr
