import shutil

import numpy as np
import pytest
from dicom_files import AXIAL, ORIGIN, SPACING, found, only, scan, write_enhanced, write_series

from synthspine.shards.readers.dicom import read_dicom
from synthspine.shards.readers.folder import SpiderError
from synthspine.shards.readers.spider import UnsuitableError, read_image, write_like


def test_a_series_is_one_volume_in_this_projects_orientation(tmp_path):
    write_series(tmp_path, scan())
    series = only(tmp_path)
    assert (series.name, series.folder, len(series.files)) == ("3-T2-TSE-sag", tmp_path, 5)
    volume = read_dicom(series)
    # The slices run to the right, the rows down, the columns back, as they were written.
    assert np.array_equal(volume.array, scan())
    np.testing.assert_allclose(volume.spacing_mm, SPACING, rtol=1e-4)


def test_the_grid_has_the_position_of_the_patient(tmp_path):
    write_series(tmp_path, scan())
    reference = read_dicom(only(tmp_path)).reference
    np.testing.assert_allclose(reference.TransformIndexToPhysicalPoint((0, 0, 0)), ORIGIN, atol=1e-3)
    last = reference.TransformIndexToPhysicalPoint((29, 39, 4))
    expected = np.add(ORIGIN, (-4 * SPACING[0], 29 * SPACING[2], -39 * SPACING[1]))
    np.testing.assert_allclose(last, expected, atol=1e-3)


def test_slices_are_ordered_by_position_not_by_name(tmp_path):
    positions = [8.8, 0.0, 17.6, 4.4, 13.2]
    write_series(tmp_path, scan(), positions=positions)
    volume = read_dicom(only(tmp_path))
    assert np.array_equal(volume.array, scan()[np.argsort(positions)])


def test_a_mask_is_written_on_the_grid_of_the_series(tmp_path):
    write_series(tmp_path / "in", scan())
    volume = read_dicom(only(tmp_path / "in"))
    write_like(volume.array.astype(np.int16), volume.reference, tmp_path / "out.mha")
    assert np.array_equal(read_image(tmp_path / "out.mha").array, volume.array)


def test_several_series_of_a_folder_are_separated(tmp_path):
    write_series(tmp_path, scan(seed=1), uid="1.1", number="3", description="T1")
    write_series(tmp_path, scan(seed=2), uid="1.2", number="4", description="T2")
    series, errors = found(tmp_path)
    assert errors == []
    assert [entry.name for entry in series] == ["3-T1", "4-T2"]
    for seed, entry in enumerate(series, 1):
        assert np.array_equal(read_dicom(entry).array, scan(seed=seed))


def test_a_series_spread_over_folders_is_one(tmp_path):
    for number, path in enumerate(write_series(tmp_path / "all", scan())):
        place = tmp_path / "all" / str(number)
        place.mkdir()
        path.rename(place / path.name)
    series = only(tmp_path)
    assert series.folder == tmp_path / "all"
    assert np.array_equal(read_dicom(series).array, scan())


def test_other_files_are_skipped(tmp_path):
    write_series(tmp_path, scan())
    (tmp_path / "notes.txt").write_text("not an image")
    (tmp_path / "report.pdf").write_bytes(b"%PDF-1.4")
    (tmp_path / "empty").write_bytes(b"")
    # What a DICOMDIR starts with: the preamble and a class that is no image.
    (tmp_path / "DICOMDIR").write_bytes(bytes(128) + b"DICM" + b"1.2.840.10008.1.3.10" + bytes(200))
    assert len(only(tmp_path).files) == 5


def test_a_copy_of_the_files_changes_nothing(tmp_path):
    write_series(tmp_path / "a", scan())
    shutil.copytree(tmp_path / "a", tmp_path / "b")
    assert len(only(tmp_path).files) == 5


def test_orientations_of_one_series_are_separated_and_only_the_sagittal_one_is_used(tmp_path):
    write_series(tmp_path, scan(3), uid="1.7", prefix="1.7.1")
    write_series(tmp_path, scan(2), uid="1.7", prefix="1.7.2", axes=AXIAL)
    (series,), (error,) = found(tmp_path)
    assert (len(series.files), series.folder) == (3, tmp_path)
    assert isinstance(error, UnsuitableError) and error.path == tmp_path / "3-T2-TSE-sag"


def test_echoes_at_one_position_are_separated(tmp_path):
    for echo, seed in (("20", 1), ("80", 2)):
        write_series(tmp_path, scan(seed=seed), uid="1.8", prefix=f"1.8.{echo}", tag_0018_0081=echo)
    series, errors = found(tmp_path)
    assert errors == []
    volumes = [read_dicom(entry).array for entry in series]
    assert np.array_equal(volumes[0], scan(seed=1))
    assert np.array_equal(volumes[1], scan(seed=2))


def test_images_at_one_position_that_no_tag_separates_are_refused(tmp_path):
    for part in ("1.8.1", "1.8.22"):
        write_series(tmp_path, scan(), uid="1.8", prefix=part)
    series, (error,) = found(tmp_path)
    assert series == []
    assert "several images at one position" in str(error)


def test_many_frames_in_one_file(tmp_path):
    write_enhanced(tmp_path / "volume.dcm", scan())
    volume = read_dicom(only(tmp_path))
    assert np.array_equal(volume.array, scan())
    np.testing.assert_allclose(volume.spacing_mm, SPACING, rtol=1e-4)


def test_axial_slices_that_lie_close_are_read_as_sagittal_ones(tmp_path):
    write_series(tmp_path, scan(30), axes=AXIAL, positions=np.arange(30) * 1.0)
    assert read_dicom(only(tmp_path)).array.shape == (30, 30, 40)


def test_a_missing_slice_is_noticed(tmp_path):
    write_series(tmp_path, scan())[2].unlink()
    with pytest.raises(SpiderError, match=r"4.40 to 8.80 mm apart.*is a file missing"):
        read_dicom(only(tmp_path))


def test_a_sheared_stack_is_noticed(tmp_path):
    write_series(tmp_path, scan(), drift=2.0)
    with pytest.raises(SpiderError, match="shifted in-plane"):
        read_dicom(only(tmp_path))


def test_a_truncated_image_is_reported(tmp_path):
    paths = write_series(tmp_path, scan())
    paths[0].write_bytes(paths[0].read_bytes()[:1500])
    series, (error,) = found(tmp_path)
    assert error.path == paths[0]
    assert "truncated" in error.reason
    assert len(series) == 1


def test_another_modality_is_unsuitable(tmp_path):
    write_series(tmp_path, scan(2), tag_0008_0060="CT")
    series, errors = found(tmp_path)
    assert series == []
    (error,) = errors
    assert isinstance(error, UnsuitableError) and "modality CT" in str(error)
    assert "and 1 more images beside it" in error.reason


def test_a_picture_without_a_position_is_unsuitable(tmp_path):
    (path,) = write_series(tmp_path, scan(1))
    # The position's tag becomes one that nobody knows, as in a screenshot.
    path.write_bytes(path.read_bytes().replace(b"\x20\x00\x32\x00\x0a", b"\x20\x00\x33\x00\x0a"))
    series, (error,) = found(tmp_path)
    assert series == []
    assert isinstance(error, UnsuitableError)
    assert "no position in the patient" in str(error)


def test_the_array_outlives_the_volume(tmp_path):
    write_series(tmp_path, scan())
    array = read_dicom(only(tmp_path)).array
    more = [np.full(array.shape, -1, dtype=np.float32) for _ in range(50)]
    assert np.array_equal(array, scan())
    assert len(more) == 50


def test_the_patients_name_is_not_used(tmp_path):
    write_series(tmp_path, scan(), description="", number="")
    assert only(tmp_path).name == "series"
