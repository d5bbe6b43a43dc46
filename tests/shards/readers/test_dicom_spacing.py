"""A spacing that the headers do not give is asked for, never taken as 1 mm."""

import pytest
from dicom_files import SPACING, edit, found, only, scan, write_frames, write_series

from synthspine.shards.readers.dicom import read_dicom
from synthspine.shards.readers.folder import SpiderError

GIVEN = (5.0, 0.6, 0.7)


@pytest.mark.parametrize(
    ("values", "reason"),
    [
        ({"PixelSpacing": None}, "has no PixelSpacing;"),
        ({"PixelSpacing": b""}, "has no PixelSpacing;"),
        ({"PixelSpacing": [0, 0]}, r"has a PixelSpacing of 0.0\\0.0, but two lengths"),
        ({"PixelSpacing": [0.8, 0]}, r"has a PixelSpacing of 0.8\\0"),
        ({"PixelSpacing": [-0.8, 0.9]}, "has a PixelSpacing of -0.8"),
        ({"PixelSpacing": b"nan\\nan "}, "has a PixelSpacing of nan"),
        ({"PixelSpacing": b"about 1 "}, "has a PixelSpacing of about 1"),
        ({"PixelSpacing": 0.8}, "has a PixelSpacing of 0.8, but two"),
        (
            {"PixelSpacing": None, "ImagerPixelSpacing": [0.3, 0.3]},
            "has no PixelSpacing, only ImagerPixelSpacing",
        ),
    ],
)
def test_a_pixel_size_that_is_not_there_is_asked_for(tmp_path, values, reason):
    paths = write_series(tmp_path, scan())
    for path in paths:
        edit(path, **values)
    series = only(tmp_path)
    with pytest.raises(SpiderError, match=reason) as caught:
        read_dicom(series)
    assert "--spacing-mm Z Y X" in str(caught.value)
    assert caught.value.path in paths
    volume = read_dicom(series, GIVEN)
    assert volume.spacing_mm == pytest.approx(GIVEN)
    assert (volume.array == scan()).all()


def test_the_pixel_size_of_many_frames_is_asked_for(tmp_path):
    write_frames(tmp_path / "a.dcm", scan(), spacing=None)
    with pytest.raises(SpiderError, match=r"has no PixelSpacing; .*--spacing-mm Z Y X"):
        read_dicom(only(tmp_path))
    assert read_dicom(only(tmp_path), GIVEN).spacing_mm == pytest.approx(GIVEN)


@pytest.mark.parametrize("gap", [None, 0, b"nan "])
def test_one_slice_without_a_distance_is_asked_for(tmp_path, gap):
    (path,) = write_series(tmp_path / "one", scan(1))
    edit(path, SpacingBetweenSlices=gap)
    write_frames(tmp_path / "many" / "a.dcm", scan(1), gap=None, SliceThickness=4)
    series, errors = found(tmp_path)
    assert errors == []
    for entry in series:
        with pytest.raises(
            SpiderError, match=r"one slice without .*SpacingBetweenSlices.*--spacing-mm Z Y X"
        ):
            read_dicom(entry)
        assert read_dicom(entry, GIVEN).spacing_mm == pytest.approx(GIVEN)


def test_one_slice_with_a_distance_is_measured(tmp_path):
    write_series(tmp_path, scan(1))
    assert read_dicom(only(tmp_path)).spacing_mm == pytest.approx(SPACING)


def test_a_given_spacing_is_that_of_the_volume_whatever_the_rows_of_the_slices(tmp_path):
    # Columns of the image run to inferior, rows to posterior.
    write_series(tmp_path, scan(), axes=((0.0, 0.0, -1.0), (0.0, 1.0, 0.0)))
    volume = read_dicom(only(tmp_path), GIVEN)
    assert volume.array.shape == (5, 30, 40)
    assert volume.spacing_mm == pytest.approx(GIVEN)


def test_a_given_spacing_does_not_hide_a_missing_slice(tmp_path):
    write_series(tmp_path, scan())[2].unlink()
    with pytest.raises(SpiderError, match="is a file missing"):
        read_dicom(only(tmp_path), GIVEN)
