"""``segment_scan``: the mask that the command writes, in memory."""

from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk

from synthspine import segment_scan
from synthspine.eval.prediction.options import PredictOptions
from synthspine.eval.prediction.prediction import predict
from synthspine.shards.readers.spider import read_image, read_values, write_mha

SPACING_MM = (4.0, 0.8, 0.9)


@pytest.fixture
def scan(tmp_path):
    draw = np.random.Generator(np.random.PCG64(0))
    write_mha(draw.integers(0, 1000, (3, 90, 70)).astype(np.int16), SPACING_MM, "PIR", tmp_path / "7_t1.mha")
    return tmp_path / "7_t1.mha"


@pytest.fixture
def written(tmp_path, scan, save_untrained, monkeypatch):
    """Checkpoint, and the mask file that the command writes with it."""
    # Otherwise nothing is labelled in noise.
    monkeypatch.setattr("synthspine.eval.segmentation.segment.shows_spine", lambda *_: True)
    checkpoint = save_untrained(tmp_path / "a.pth", sure=100)
    options = PredictOptions(images=(scan,), checkpoint=checkpoint, output_dir=tmp_path / "out", device="cpu")
    (prediction,) = predict(options)
    return checkpoint, prediction.files[0]


def test_the_mask_is_that_of_the_command_for_a_file_and_an_image(scan, written):
    checkpoint, path = written
    expected = sitk.ReadImage(str(path))
    assert sitk.GetArrayViewFromImage(expected).any()
    alone = scan.parent / "alone"
    alone.mkdir()
    (alone / scan.name).hardlink_to(scan)
    for given in (str(scan), alone, sitk.ReadImage(str(scan))):
        mask = segment_scan(given, checkpoint=checkpoint, device="cpu")
        assert mask.GetPixelID() == sitk.sitkInt16
        assert mask.GetDirection() == expected.GetDirection() and mask.GetSpacing() == expected.GetSpacing()
        assert (sitk.GetArrayFromImage(mask) == sitk.GetArrayFromImage(expected)).all()


def test_an_array_gives_an_array_and_needs_its_spacing(scan, written):
    checkpoint, path = written
    volume = read_image(scan)
    mask = segment_scan(volume.array, spacing_mm=SPACING_MM, checkpoint=checkpoint, device="cpu")
    assert mask.dtype == np.int16 and (mask == read_values(path).array).all()
    with pytest.raises(
        ValueError, match=r"an array of shape \(3, 90, 70\): want \(Z, H, W\), and its spacing_mm"
    ):
        segment_scan(volume.array)


def test_what_is_no_single_scan_is_refused_in_one_line(scan, tmp_path):
    (tmp_path / "two").mkdir()
    for name in ("a.mha", "b.mha"):
        (tmp_path / "two" / name).write_bytes(scan.read_bytes())
    (tmp_path / "none").mkdir()
    for given, reason in (
        (tmp_path / "two", "two: holds 2 scans; name one"),
        (tmp_path / "none", "none: no .* series in it"),
        (Path("nothing.mha"), "nothing.mha: no such file"),
        (sitk.Image(8, 8, sitk.sitkInt16), "scan: has 2 dimensions and 1 channels; want 3 and 1"),
        (sitk.Image(4, 32, 32, sitk.sitkInt16), "scan: every voxel is 0"),
    ):
        with pytest.raises(ValueError, match=reason):
            segment_scan(given)
