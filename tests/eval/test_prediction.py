import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk

from eval.prediction import PredictionError, PredictOptions, predict
from gen.anatomy import spider_values
from shards.spider import write_mha

ROOT = Path(__file__).parents[2]


@pytest.fixture
def checkpoint(tmp_path, save_untrained):
    return save_untrained(tmp_path / "a.pth")


@pytest.fixture
def image_file(tmp_path):
    draw = np.random.Generator(np.random.PCG64(0))

    def write(name="7_t1.mha", storage="LPS", slices=3):
        array = draw.integers(0, 1000, (slices, 90, 70)).astype(np.int16)
        path = tmp_path / name
        if name.endswith(".nii.gz"):
            write_mha(array, (4.0, 0.8, 0.9), storage, tmp_path / "turn.mha")
            sitk.WriteImage(sitk.ReadImage(str(tmp_path / "turn.mha")), str(path))
        else:
            write_mha(array, (4.0, 0.8, 0.9), storage, path)
        return path

    return write


@pytest.mark.parametrize("storage", ["LPS", "PIR"])
@pytest.mark.parametrize("name", ["7_t1.mha", "7_t1.nii.gz"])
def test_mask_lies_on_the_images_own_grid(tmp_path, checkpoint, image_file, name, storage):
    image = image_file(name, storage)
    options = PredictOptions(images=(image,), checkpoint=checkpoint, output_dir=tmp_path / "out")
    (written,) = predict(options)
    assert written == tmp_path / "out" / name.replace("7_t1", "7_t1_seg")
    expected, got = sitk.ReadImage(str(image)), sitk.ReadImage(str(written))
    assert got.GetSize() == expected.GetSize()
    np.testing.assert_allclose(got.GetSpacing(), expected.GetSpacing(), rtol=1e-6)
    np.testing.assert_allclose(got.GetDirection(), expected.GetDirection(), atol=1e-6)
    np.testing.assert_allclose(got.GetOrigin(), expected.GetOrigin(), atol=1e-4)


def test_mask_holds_spider_values(tmp_path, checkpoint, image_file):
    options = PredictOptions(
        images=(image_file(),), checkpoint=checkpoint, output_dir=tmp_path / "out", min_island_mm2=0
    )
    (written,) = predict(options)
    mask = sitk.ReadImage(str(written))
    assert mask.GetPixelID() == sitk.sitkInt16
    assert set(np.unique(sitk.GetArrayFromImage(mask))) <= set(spider_values().tolist())


def test_one_slice_is_a_volume(tmp_path, checkpoint, image_file):
    image = image_file(slices=1)
    (written,) = predict(PredictOptions(images=(image,), checkpoint=checkpoint, output_dir=tmp_path / "out"))
    assert sitk.ReadImage(str(written)).GetSize() == sitk.ReadImage(str(image)).GetSize()


def test_storage_does_not_change_the_answer(tmp_path, checkpoint):
    array = np.random.Generator(np.random.PCG64(1)).integers(0, 1000, (3, 96, 80)).astype(np.int16)
    answers = []
    for storage in ("LPS", "PIR"):
        write_mha(array, (4.0, 1.0, 1.0), storage, tmp_path / f"{storage}.mha")
        options = PredictOptions(
            images=(tmp_path / f"{storage}.mha",), checkpoint=checkpoint, output_dir=tmp_path / "out"
        )
        (written,) = predict(options)
        turned = sitk.DICOMOrient(sitk.ReadImage(str(written)), "PIR")
        answers.append(sitk.GetArrayFromImage(turned))
    assert np.array_equal(*answers)


def test_images_of_one_name_do_not_overwrite_each_other(tmp_path, checkpoint):
    options = PredictOptions(images=(Path("a/7_t1.mha"), Path("b/7_t1.mha")), checkpoint=checkpoint)
    with pytest.raises(PredictionError, match=r"a/7_t1.mha would both be written"):
        list(predict(options))


def run(*arguments):
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    command = [sys.executable, "eval/predict.py", *map(str, arguments)]
    return subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)


def test_command_writes_and_says_where(tmp_path, checkpoint, image_file):
    image = image_file()
    result = run(image, "--checkpoint", checkpoint, "--output-dir", tmp_path / "out")
    assert result.returncode == 0, result.stderr
    assert f"wrote {tmp_path / 'out' / '7_t1_seg.mha'}" in result.stdout


@pytest.mark.parametrize("broken", ["image", "checkpoint"])
def test_command_says_in_one_line_what_is_wrong(tmp_path, checkpoint, image_file, broken):
    image = image_file()
    wrong = tmp_path / ("text.mha" if broken == "image" else "text.pth")
    wrong.write_text("this is text")
    image, checkpoint = (wrong, checkpoint) if broken == "image" else (image, wrong)
    result = run(image, "--checkpoint", checkpoint, "--output-dir", tmp_path / "out")
    assert result.returncode == 1
    (line,) = [line for line in result.stderr.splitlines() if "error" in line]
    assert str(wrong) in line
    assert "Traceback" not in result.stderr
