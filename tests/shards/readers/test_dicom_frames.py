"""Files of many frames: every frame is an image of its own."""

import numpy as np
import pydicom
import pytest
from dicom_files import AXIAL, SAGITTAL, SPACING, edit, found, only, scan, write_frames, write_series

from synthspine.eval.prediction.volumes import structure_volumes
from synthspine.gen.core.schemes import RANKS
from synthspine.shards.readers.dicom import read_dicom
from synthspine.shards.readers.folder import SpiderError
from synthspine.shards.readers.spider import UnsuitableError

POSITIONS = np.arange(5) * SPACING[0]


@pytest.mark.parametrize("order", [(0, 1, 2, 3, 4), (4, 3, 2, 1, 0), (2, 0, 4, 1, 3)])
def test_frames_in_any_order_are_one_volume(tmp_path, order):
    order = list(order)
    write_frames(tmp_path / "a.dcm", scan()[order], positions=POSITIONS[order])
    volume = read_dicom(only(tmp_path))
    assert np.array_equal(volume.array, scan())
    np.testing.assert_allclose(volume.spacing_mm, SPACING, rtol=1e-4)
    expected = np.array((30.0, -20.0, 50.0))
    np.testing.assert_allclose(volume.reference.TransformIndexToPhysicalPoint((0, 0, 0)), expected, atol=1e-3)


def test_volumes_in_ml_are_those_of_the_positions_not_of_the_stated_distance(tmp_path):
    write_frames(tmp_path / "a.dcm", scan(), positions=np.arange(5) * 4.0, gap=0.4)
    volume = read_dicom(only(tmp_path))
    codes = np.zeros(volume.array.shape, dtype=np.uint8)
    codes[1:4, 10:20, 10:20] = 1
    (vertebra,) = structure_volumes(codes, volume.spacing_mm, RANKS)
    assert vertebra.volume_ml == pytest.approx(300 * 4.0 * SPACING[1] * SPACING[2] / 1000, rel=1e-6)


def test_every_frame_has_a_slope_of_its_own(tmp_path):
    slopes, intercepts = [1, 2, 0.5, 0.125, 3.25], [0, -100, 7, 0.5, 0]
    write_frames(tmp_path / "a.dcm", scan(), slopes=slopes, intercepts=intercepts)
    expected = scan() * np.array(slopes)[:, None, None] + np.array(intercepts)[:, None, None]
    assert np.array_equal(read_dicom(only(tmp_path)).array, expected.astype(np.float32))


def test_echoes_of_one_file_are_two_volumes(tmp_path):
    both = np.stack([scan(seed=1), scan(seed=2)], axis=1).reshape(10, 40, 30)
    echoes = [20, 80] * 5
    write_frames(tmp_path / "a.dcm", both, positions=np.repeat(POSITIONS, 2), echoes=echoes)
    series, errors = found(tmp_path)
    assert errors == []
    assert len({entry.name for entry in series}) == 2
    for seed, entry in enumerate(series, 1):
        assert np.array_equal(read_dicom(entry).array, scan(seed=seed))


def test_of_the_orientations_of_one_file_the_sagittal_one_is_read(tmp_path):
    axes = [SAGITTAL] * 3 + [AXIAL] * 2
    write_frames(tmp_path / "a.dcm", scan(), positions=[0, 4, 8, 0, 5], frame_axes=axes)
    (series,), (error,) = found(tmp_path)
    assert np.array_equal(read_dicom(series).array, scan()[:3])
    assert isinstance(error, UnsuitableError) and "axial slices 5.0 mm apart" in error.reason


def test_times_of_one_file_are_two_volumes(tmp_path):
    both = np.concatenate([scan(seed=1), scan(seed=2)])
    contents = [{"DimensionIndexValues": [time, place]} for time in (1, 2) for place in range(1, 6)]
    write_frames(tmp_path / "a.dcm", both, positions=[*POSITIONS] * 2, contents=contents)
    series, errors = found(tmp_path)
    assert errors == []
    assert [read_dicom(entry).array.tolist() for entry in series] == [
        scan(seed=1).tolist(),
        scan(seed=2).tolist(),
    ]


def test_a_missing_frame_is_noticed(tmp_path):
    keep = [0, 1, 3, 4]
    write_frames(tmp_path / "a.dcm", scan()[keep], positions=POSITIONS[keep])
    with pytest.raises(SpiderError, match=r"4.40 to 8.80 mm apart.*between frames 2 and 3 of a\.dcm"):
        read_dicom(only(tmp_path))


def test_every_second_slice_missing_is_noticed_by_the_stated_distance(tmp_path):
    write_frames(tmp_path / "a.dcm", scan(), positions=np.arange(5) * 8.8, SliceThickness=4.0)
    with pytest.raises(SpiderError, match=r"8.80 mm apart, but 4.40 mm according to their headers"):
        read_dicom(only(tmp_path))


@pytest.mark.parametrize("missing", range(10))
def test_a_frame_missing_in_one_echo_is_noticed(tmp_path, missing):
    keep = [number for number in range(10) if number != missing]
    both = np.concatenate([scan(seed=1), scan(seed=2)])[keep]
    positions, echoes = np.tile(POSITIONS, 2)[keep], np.repeat([20, 80], 5)[keep]
    write_frames(tmp_path / "a.dcm", both, positions=positions, echoes=echoes)
    series, errors = found(tmp_path)
    volumes = []
    for entry in series:
        try:
            volumes.append(read_dicom(entry).array)
        except SpiderError as error:
            errors.append(error)
    assert len(errors) == 1
    assert "missing" in errors[0].reason
    assert np.array_equal(volumes, [scan(seed=2 if missing < 5 else 1)])


@pytest.mark.parametrize("thickness", [None, 4.0])
def test_three_slices_without_the_middle_one_are_noticed(tmp_path, thickness):
    write_frames(tmp_path / "a.dcm", scan(2), positions=[0, 8.8], SliceThickness=thickness)
    with pytest.raises(SpiderError, match=r"8\.80 mm apart, but 4.40 mm"):
        read_dicom(only(tmp_path))


@pytest.mark.parametrize("numbers", [(2, 3, 4, 5), (1, 3, 5, 7), (5, 4, 3, 2)])
def test_numbers_of_a_stack_tell_of_missing_frames(tmp_path, numbers):
    contents = [{"InStackPositionNumber": number} for number in numbers]
    write_frames(tmp_path / "a.dcm", scan(4), contents=contents)
    with pytest.raises(SpiderError, match=f"slices {numbers[0]} to {numbers[-1]} of a stack, 4 in all"):
        read_dicom(only(tmp_path))


@pytest.mark.parametrize("numbers", [(1, 2, 3, 4), (4, 3, 2, 1), (1, 1, 1, 1), (1, 2, 5, 7), (1, 1, 2, 2)])
def test_whole_stacks_and_numbers_that_say_nothing_are_read(tmp_path, numbers):
    contents = [{"InStackPositionNumber": number} for number in numbers]
    write_frames(tmp_path / "a.dcm", scan(4), contents=contents)
    assert np.array_equal(read_dicom(only(tmp_path)).array, scan(4))


def test_a_frame_that_stands_twice_is_read_once(tmp_path):
    order = [0, 1, 2, 2, 3, 4]
    write_frames(tmp_path / "a.dcm", scan()[order], positions=POSITIONS[order])
    assert np.array_equal(read_dicom(only(tmp_path)).array, scan())


def test_two_frames_at_one_position_are_refused(tmp_path):
    write_frames(tmp_path / "a.dcm", scan(), positions=[0, 4.4, 4.4, 8.8, 13.2])
    series, (error,) = found(tmp_path)
    assert series == []
    assert "several images at one position (frames 2 and 3 of a.dcm)" in str(error)


def test_shifted_frames_are_refused(tmp_path):
    path = write_frames(tmp_path / "a.dcm", scan())
    dataset = pydicom.dcmread(path)
    for number, group in enumerate(dataset.PerFrameFunctionalGroupsSequence):
        place = group.PlanePositionSequence[0]
        place.ImagePositionPatient = np.add(place.ImagePositionPatient, (0, 2 * number, 0)).tolist()
    dataset.save_as(path)
    with pytest.raises(SpiderError, match="shifted in-plane"):
        read_dicom(only(tmp_path))


def test_one_frame_has_the_stated_distance(tmp_path):
    write_frames(tmp_path / "a.dcm", scan(1), gap=5.5)
    assert read_dicom(only(tmp_path)).spacing_mm == pytest.approx((5.5, *SPACING[1:]))


def test_a_slice_may_be_a_file_of_one_frame(tmp_path):
    for number in (3, 0, 4, 1, 2):
        write_frames(tmp_path / f"{number}.dcm", scan()[[number]], positions=POSITIONS[[number]])
    for number, path in enumerate(sorted(tmp_path.iterdir())):
        edit(path, SOPInstanceUID=f"1.9.{number}")
    assert np.array_equal(read_dicom(only(tmp_path)).array, scan())


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"NumberOfFrames": 6}, "holds 6 frames, but describes 5"),
        ({"NumberOfFrames": 10**9}, "holds 1000000000 frames, but describes 5"),
        ({"PerFrameFunctionalGroupsSequence": None}, "holds 5 frames without a position for each"),
        ({"PixelData": scan(4).tobytes()}, "2400 bytes of its pixels are missing"),
        ({"SamplesPerPixel": 3}, "colour pictures"),
        ({"Rows": None}, "Rows is not there; a whole number above 0"),
        ({"Rows": 60000, "Columns": 60000}, "slices of 60000 x 60000 pixels; at most"),
        ({"Columns": 0}, "Columns is 0; a whole number above 0"),
    ],
)
def test_a_file_that_contradicts_itself_is_refused_by_name(tmp_path, change, reason):
    edit(write_frames(tmp_path / "a.dcm", scan()), **change)
    series, (error,) = found(tmp_path)
    assert series == []
    assert error.path == tmp_path / "a.dcm"
    assert reason in error.reason


@pytest.mark.parametrize(
    ("name", "value", "reason"),
    [
        ("ImagePositionPatient", b"nan\\0\\0 ", "ImagePositionPatient is nan"),
        ("ImagePositionPatient", b"1e9\\0\\0 ", "ImagePositionPatient is 1e9"),
        ("ImagePositionPatient", b"1\\2 ", "ImagePositionPatient is 1\\2; 3 numbers"),
        ("ImageOrientationPatient", None, "ImageOrientationPatient is not there"),
        ("ImageOrientationPatient", [0, 1, 0, 0, 0, 0], "two perpendicular unit vectors"),
        ("ImageOrientationPatient", [0, 1, 0, 0, 0.7, -0.7], "two perpendicular unit vectors"),
        ("RescaleSlope", 0, "a slope other than 0"),
        ("RescaleSlope", b"inf ", "a slope other than 0"),
    ],
)
def test_absurd_geometry_and_slopes_are_refused_by_name(tmp_path, name, value, reason):
    paths = write_series(tmp_path, scan())
    edit(paths[2], **{name: value})
    errors = found(tmp_path)[1]
    assert [error.path for error in errors] == [paths[2]]
    assert reason in errors[0].reason


@pytest.mark.filterwarnings("error")
def test_values_that_are_too_large_are_refused(tmp_path):
    write_frames(tmp_path / "a.dcm", scan(), slopes=[1, 1, 1e38, 1, 1])
    with pytest.raises(SpiderError, match="not finite"):
        read_dicom(only(tmp_path))


def test_the_shorter_echo_is_the_first_part(tmp_path):
    for seed, echo in ((1, 80), (2, 20)):
        write_frames(tmp_path / f"{seed}.dcm", scan(seed=seed), echoes=[echo] * 5, SeriesNumber=4)
    series, errors = found(tmp_path)
    assert errors == []
    assert [entry.name for entry in series] == ["4-1", "4-2"]
    assert np.array_equal(read_dicom(series[0]).array, scan(seed=2))
