"""Slices belong together by patient, contrast, place and pixels: identifiers alone are not believed."""

import shutil

import numpy as np
import pytest
from dicom_files import SPACING, edit, found, only, scan, write_frames, write_series

from synthspine.shards.readers.dicom import read_dicom
from synthspine.shards.readers.folder import SpiderError

UIDS = ("StudyInstanceUID", "FrameOfReferenceUID", "SeriesInstanceUID", "SOPInstanceUID")
BETWEEN = np.arange(5) * SPACING[0] + 2.2


def _empty(number):
    return dict.fromkeys(UIDS, "")


def _missing(number):
    return dict.fromkeys(UIDS)


def _equal(number):
    return dict.fromkeys(UIDS, "1.2.3")


def _own(number):
    return {name: f"1.2.{place}.{number}" for place, name in enumerate(UIDS)}


ANONYMISED = pytest.mark.parametrize("uids", [_empty, _missing, _equal, _own])


def write(folder, uids, seed, **more):
    """A series whose identifiers an anonymiser has changed; ``values`` of the files by name."""
    values = more.pop("values", {})
    paths = write_series(folder, scan(seed=seed), prefix=f"s{seed}", **more)
    for number, path in enumerate(paths):
        edit(path, PatientName="", InstanceNumber=number + 1, **(uids(10 * seed + number) | values))
    return paths


def arrays(folder):
    series, errors = found(folder)
    assert errors == []
    return [read_dicom(entry).array for entry in series]


def same(volumes, seeds):
    expected = [scan(seed=seed) for seed in seeds]
    return len(volumes) == len(seeds) and all(
        sum(np.array_equal(volume, one) for volume in volumes) == 1 for one in expected
    )


@ANONYMISED
def test_a_series_is_whole_whatever_became_of_its_identifiers(tmp_path, uids):
    write(tmp_path, uids, 1)
    assert np.array_equal(read_dicom(only(tmp_path)).array, scan(seed=1))


@ANONYMISED
@pytest.mark.parametrize(
    ("first", "second"),
    [
        ({"PatientID": "a"}, {"PatientID": "b"}),
        ({"SeriesNumber": 1}, {"SeriesNumber": 2}),
        ({"StudyDate": "20200101"}, {"StudyDate": "20210101"}),
        ({"EchoTime": 10.0}, {"EchoTime": 100.0}),
        ({"ScanningSequence": "SE"}, {"ScanningSequence": "GR"}),
    ],
)
@pytest.mark.parametrize("positions", [np.arange(5) * SPACING[0], BETWEEN, BETWEEN + 19.8])
def test_two_patients_or_contrasts_are_two_volumes(tmp_path, uids, first, second, positions):
    write(tmp_path, uids, 1, values=first)
    write(tmp_path, uids, 2, values=second, positions=positions)
    assert same(arrays(tmp_path), (1, 2))


@ANONYMISED
@pytest.mark.parametrize("positions", [np.arange(5) * SPACING[0], BETWEEN, np.arange(5) * SPACING[0] + 1])
@pytest.mark.parametrize("without", ["InstanceNumber", "SpacingBetweenSlices", "both"])
def test_two_scans_that_only_their_folders_tell_apart_are_two_volumes(tmp_path, uids, positions, without):
    more = dict.fromkeys(("InstanceNumber", "SpacingBetweenSlices") if without == "both" else (without,))
    for seed, place in ((1, np.arange(5) * SPACING[0]), (2, positions)):
        for number, path in enumerate(write(tmp_path / str(seed) / "s", uids, seed, positions=place)):
            edit(path, **more)
            (path.parent / f"{number}").mkdir()
            path.rename(path.parent / f"{number}" / path.name)
    assert same(arrays(tmp_path), (1, 2))


@ANONYMISED
def test_two_scans_that_nothing_tells_apart_are_refused(tmp_path, uids):
    write(tmp_path, uids, 1)
    write(tmp_path, uids, 2)
    series, (error,) = found(tmp_path)
    assert series == []
    assert "several images at one position" in str(error)


@ANONYMISED
def test_two_scans_between_one_another_that_nothing_tells_apart_are_refused(tmp_path, uids):
    write(tmp_path, uids, 1)
    write(tmp_path, uids, 2, positions=BETWEEN)
    series, (error,) = found(tmp_path)
    assert series == []
    assert "two images with the instance number 1" in str(error)


@ANONYMISED
def test_two_scans_at_two_places_in_the_plane_are_two_volumes(tmp_path, uids):
    write(tmp_path, uids, 1)
    for number, path in enumerate(write(tmp_path, uids, 2, positions=BETWEEN)):
        place = np.array((30 - BETWEEN[number], -40.0, 50.0))
        edit(path, ImagePositionPatient=place.tolist())
    assert same(arrays(tmp_path), (1, 2))


def test_identifiers_still_separate_two_scans(tmp_path):
    for seed in (1, 2):
        write(tmp_path, lambda number: {"SeriesInstanceUID": f"1.{number // 10}"}, seed)
    assert same(arrays(tmp_path), (1, 2))


def test_a_slice_without_an_identifier_belongs_to_its_series(tmp_path):
    paths = write_series(tmp_path, scan(seed=1))
    edit(paths[2], SeriesInstanceUID=None, SOPInstanceUID=None)
    assert same(arrays(tmp_path), (1,))


@ANONYMISED
def test_copies_in_another_folder_change_nothing(tmp_path, uids):
    for path in write(tmp_path / "a", uids, 1)[:2]:
        # Two blank slices, as at the edge of a scan.
        edit(path, PixelData=bytes(2400))
    shutil.copytree(tmp_path / "a", tmp_path / "b")
    expected = scan(seed=1)
    expected[:2] = 0
    assert np.array_equal(read_dicom(only(tmp_path)).array, expected)


@ANONYMISED
def test_blank_slices_of_two_scans_are_not_copies(tmp_path, uids):
    for seed in (1, 2):
        edit(write(tmp_path / str(seed), uids, seed)[0], PixelData=bytes(2400))
    assert [volume.shape[0] for volume in arrays(tmp_path)] == [5, 5]


def test_copies_of_a_file_of_many_frames_change_nothing(tmp_path):
    write_frames(tmp_path / "a" / "x.dcm", scan())
    shutil.copytree(tmp_path / "a", tmp_path / "b")
    assert np.array_equal(read_dicom(only(tmp_path)).array, scan())


@ANONYMISED
def test_a_missing_slice_does_not_make_two_series(tmp_path, uids):
    for number, path in enumerate(write(tmp_path, uids, 1)):
        edit(path, AcquisitionNumber=number % 2)
        (tmp_path / str(number % 2)).mkdir(exist_ok=True)
        path.rename(tmp_path / str(number % 2) / path.name)
        if number == 1:
            (tmp_path / "1" / path.name).unlink()
    with pytest.raises(SpiderError, match="is a file missing"):
        read_dicom(only(tmp_path))
