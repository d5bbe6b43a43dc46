"""What of a study is left out with a reason, whatever its geometry."""

import numpy as np
import pytest
from dicom_files import AXIAL, edit, found, scan, write_frames, write_series

from synthspine.shards.readers.dicom import read_dicom
from synthspine.shards.readers.spider import SpiderError, UnsuitableError

CAPTURE = "1.2.840.10008.5.1.4.1.1.7"


@pytest.mark.parametrize(
    ("tags", "reason"),
    [
        ({"tag_0018_0015": "KNEE"}, "another part of the body, BodyPartExamined KNEE"),
        ({"tag_0018_0015": "C SPINE"}, "another part of the body"),
        ({"description": "3 Plane LOC"}, "localizer (series 3 3 Plane LOC)"),
        ({"description": "AAHead_Scout"}, "localizer"),
        ({"tag_0008_0008": "ORIGINAL\\PRIMARY\\LOCALIZER"}, "localizer"),
        ({"tag_0008_0008": "DERIVED\\SECONDARY\\SCREEN SAVE"}, "screenshot"),
        ({"tag_0008_0016": CAPTURE}, "screenshot or another secondary capture"),
    ],
)
def test_what_the_header_names_is_left_out_before_its_geometry_is_judged(tmp_path, tags, reason):
    array = scan()
    # Two images at one place, and one that is cut off.
    paths = write_series(tmp_path, array, **tags, positions=[0.0, 0.0, 4.4, 30.0, 31.0])
    paths[1].write_bytes(paths[1].read_bytes()[:-300])
    series, (error,) = found(tmp_path)
    assert series == [] and isinstance(error, UnsuitableError)
    assert reason in error.reason and "and 4 more images" in error.reason
    assert error.path in paths


@pytest.mark.parametrize("part", ["", "LSPINE", "SPINE", "L-SPINE", "ABDOMEN", "TSPINE", "BACK", "KNOE"])
@pytest.mark.parametrize("description", ["T2 TSE sag", "local shim", "block"])
def test_what_may_show_the_lumbar_spine_is_read(tmp_path, part, description):
    write_series(tmp_path, scan(), tag_0018_0015=part, description=description)
    (series,), errors = found(tmp_path)
    assert errors == [] and read_dicom(series).array.shape == (5, 40, 30)


@pytest.mark.parametrize("axes", [AXIAL, ((1.0, 0.0, 0.0), (0.0, 0.0, -1.0))])
def test_slices_of_another_plane_are_left_out_whatever_is_wrong_with_them(tmp_path, axes):
    paths = write_series(tmp_path, scan(6), axes=axes, positions=[0.0, 0.0, 4.4, 8.8, 30.0, 90.0], drift=3.0)
    paths[3].write_bytes(paths[3].read_bytes()[:-500])
    edit(paths[4], RescaleSlope="0")
    series, errors = found(tmp_path)
    assert series == [] and all(isinstance(error, UnsuitableError) for error in errors)
    told = {error.reason for error in errors}
    assert any("slices" in reason and "apart; sagittal slices are needed" in reason for reason in told)
    assert any("pixels are missing; it is no sagittal slice" in reason for reason in told)


def test_a_sagittal_series_that_is_cut_off_is_still_an_error(tmp_path):
    paths = write_series(tmp_path, scan())
    paths[0].write_bytes(paths[0].read_bytes()[:-500])
    _, (error,) = found(tmp_path)
    assert type(error) is SpiderError


def test_a_series_over_time_is_left_out_and_two_times_are_two_volumes(tmp_path):
    for times, count in ((6, 0), (2, 2)):
        array = np.concatenate([scan(seed=time) for time in range(times)])
        contents = [{"TemporalPositionIndex": time + 1} for time in range(times) for _ in range(5)]
        positions = np.tile(np.arange(5) * 4.4, times)
        write_frames(tmp_path / f"{times}" / "a.dcm", array, positions=positions, contents=contents)
        series, errors = found(tmp_path / f"{times}")
        assert len(series) == count
        if not count:
            assert "holds 6 images at one place" in errors[0].reason
            assert isinstance(errors[0], UnsuitableError)


def test_other_files_of_a_study_with_an_unsuitable_series_are_read(tmp_path):
    write_series(tmp_path, scan(), uid="1.1", number="3")
    write_series(tmp_path, scan(3), uid="1.2", number="1", description="localizer")
    (series,), (error,) = found(tmp_path)
    assert (series.uid, series.description, len(series.files)) == ("1.1", "T2 TSE sag", 5)
    assert "localizer" in error.reason
